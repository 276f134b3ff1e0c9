"""`python -m rvm_ros.bench`: what ROS costs around the engine, with the node, a camera and a receiver as processes."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rvm_model.weights import UNTRAINED_SMALL
from rvm_ros.bench import report
from rvm_ros.bench.actor import BenchError
from rvm_ros.bench.network import shallow_weights
from rvm_ros.bench.session import SUBSCRIBED, Case, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status, which does not depend on the figures."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if "features" not in args.outputs:
        parser.error(f"--outputs: got {' '.join(args.outputs)}, expected features among them, which the split is of")
    command = shlex.join(["python", "-m", "rvm_ros.bench", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        results = []
        for case in _cases(args):
            results.append(run(case))
            print(f"\n{report.text(results[-1])}\n", flush=True)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if args.out is not None:
        print("written:", *report.write(results, command, args.out))
    return 0


def _cases(args: argparse.Namespace) -> list[Case]:
    common = Case(
        name="",
        model=args.model,
        engine=args.engine,
        size=tuple(args.size),
        rate_hz=args.rate or 30.0,
        rounds=args.rounds,
        seconds=args.seconds,
        outputs=tuple(args.outputs),
    )
    if args.model:
        return [replace(common, name=f"{Path(args.model).name} at {common.rate_hz:g} Hz")]
    shallow = replace(common, name=f"shallow network at {common.rate_hz:g} Hz", model=shallow_weights())
    slow = replace(common, name=f"{UNTRAINED_SMALL} at 5 Hz", model=UNTRAINED_SMALL, rate_hz=5.0)
    return [shallow] if args.rate else [shallow, slow]


def _parser() -> argparse.ArgumentParser:
    case = Case(name="", model="")
    parser = argparse.ArgumentParser(prog="python -m rvm_ros.bench", description=__doc__)
    parser.add_argument(
        "--model",
        default="",
        help="weights, as the node's parameter (default: at 30 Hz a shallow network, which a CPU keeps up with, with "
        "feature maps as large as the small model's; then one of that model's size at 5 Hz)",
    )
    parser.add_argument(
        "--engine", default=case.engine, help="engine, as the node's parameter (default: the node's own)"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        default=case.size,
        help="the engine's input (default: %(default)s)",
    )
    parser.add_argument("--rate", type=float, help="frames per second of the camera (default: 30)")
    parser.add_argument("--seconds", type=float, default=case.seconds, help="of each phase (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=case.rounds, help="times that all phases take turns (default: %(default)s)"
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        choices=SUBSCRIBED,
        default=case.outputs,
        help="phases of the node, by which of its outputs are subscribed (default: all three)",
    )
    parser.add_argument("--out", type=Path, help="folder for node_benchmarks.md and node_benchmarks.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
