"""`rvm export`: compile a network for a runtime, compare it with the float32 network, write an engine folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_training.cli.arguments import size


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm export", description=__doc__)
    parser.add_argument("--model", required=True, help="weights: a file, a downloaded released model, untrained:PRESET")
    parser.add_argument("--engine", required=True, choices=("onnx", "openvino"), help="the runtime")
    parser.add_argument("--size", type=size, default=(256, 256), metavar="HxW", help="frames (default: 256x256)")
    parser.add_argument("--cameras", type=int, default=1, help="largest batch (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32", help="default: %(default)s")
    parser.add_argument(
        "--rest", choices=("fp32", "bf16"),
        help="for openvino int8: arithmetic of attention, norms and sums (default: bf16 where this CPU has it)",
    )  # fmt: skip
    parser.add_argument(
        "--calibrate", type=Path, nargs="+", default=[], metavar="VIDEO", help="for int8: videos of what the robot sees"
    )
    parser.add_argument("--video", type=Path, help="real frames for the comparison (default: the first of --calibrate)")
    parser.add_argument(
        "--tolerance", type=float, help="largest relative error of a step (default: 1e-4, 2e-2 for int8)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(arguments)
    from rvm_training.export.build import export, summary  # It imports the compilers.

    manifest, drift = export(
        args.model, args.out, engine=args.engine, size=args.size, cameras=args.cameras, video=args.video,
        precision=args.precision, calibration=args.calibrate, rest=args.rest, tolerance=args.tolerance,
    )  # fmt: skip
    print(summary(manifest, drift))
    print(f"{args.out}: {sum(path.stat().st_size for path in args.out.iterdir()) / 1e6:.1f} MB")
    return 0
