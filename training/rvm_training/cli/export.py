"""`rvm export`: compile a network for a runtime, compare it with the float32 network, write an engine folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rvm_model.engines.manifest import Kind, Precision, Rest
from rvm_model.engines.parity import TOLERANCE
from rvm_model.engines.tensorrt_build import PlanConfig
from rvm_training.cli.arguments import MODEL_HELP, add_recordings, size


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.export.build import export, summary  # It imports the compilers.

    parser = argparse.ArgumentParser(prog="rvm export", description=__doc__)
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    parser.add_argument("--engine", required=True, choices=get_args(Kind), help="the runtime")
    parser.add_argument("--size", type=size, metavar="HxW", help="frames (default: as the weights are made for)")
    parser.add_argument("--cameras", type=int, help="largest batch (default: 1 for tensorrt, any for the others)")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="fp32", help="of the linear layers (default: %(default)s)"
    )
    parser.add_argument(
        "--rest", choices=get_args(Rest),
        help="for int8, fp8: of attention, norms, sums (default: fp16 for tensorrt, bf16 for openvino if in the CPU)",
    )  # fmt: skip
    add_recordings(parser, compared_on="the first of --calibrate, or rendered scenes")
    tolerances = ", ".join(f"{limit:.0e} for {precision}" for precision, limit in TOLERANCE.items())
    parser.add_argument("--tolerance", type=float, help=f"largest relative error of a step (default: {tolerances})")
    parser.add_argument("--device", help="where it is built and compared (default: cuda for tensorrt, else cpu)")
    parser.add_argument("--debug-layers", action="store_true", help="above the tolerance, say which layer is off")
    plans = parser.add_argument_group("tensorrt")
    plans.add_argument("--version-compatible", action="store_true", help="later TensorRT versions run it too")
    plans.add_argument("--hardware-compatible", action="store_true", help="other GPUs from Ampere on run it too")
    plans.add_argument("--refittable", action="store_true", help="other weights can be put into the plan later")
    plans.add_argument("--refit", type=Path, metavar="DIR", help="put the weights into this engine's plan")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(arguments)
    manifest, drift = export(
        args.model, args.out, engine=args.engine, size=args.size, cameras=args.cameras, video=args.video,
        precision=args.precision, calibration=args.calibrate, rest=args.rest, tolerance=args.tolerance,
        device=args.device, debug_layers=args.debug_layers,
        plan=PlanConfig(args.version_compatible, args.hardware_compatible, args.refittable, args.refit),
    )  # fmt: skip
    print(summary(manifest, drift))
    print(f"{args.out}: {sum(path.stat().st_size for path in args.out.iterdir()) / 1e6:.1f} MB")
    return 0
