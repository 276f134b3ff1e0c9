"""`python -m rvm_ros.soak`: throw hostile messages at a node that runs, and count what comes of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rvm_ros.soak.session import SoakOptions, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; returns the exit status, which is 1 where something does not hold."""
    defaults = SoakOptions()
    parser = argparse.ArgumentParser(prog="python -m rvm_ros.soak", description=__doc__)
    parser.add_argument(
        "--messages",
        type=int,
        default=defaults.hostile,
        help="hostile messages in step, and as many frames that are taken in at the least (default: %(default)s)",
    )
    parser.add_argument(
        "--steady", type=int, default=defaults.steady, help="good frames with nothing between (default: %(default)s)"
    )
    parser.add_argument(
        "--flood", type=int, default=defaults.flood, help="hostile messages at full speed (default: %(default)s)"
    )
    parser.add_argument("--prompts", type=int, default=defaults.prompts, help="hostile prompts (default: %(default)s)")
    parser.add_argument(
        "--ends", type=int, default=defaults.ends, help="nodes that are told to end (default: %(default)s)"
    )
    parser.add_argument("--engine", default=defaults.engine, help="as the node's parameter (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of all messages (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file for the report as JSON")
    args = parser.parse_args(arguments)
    report = run(
        SoakOptions(
            hostile=args.messages,
            steady=args.steady,
            flood=args.flood,
            prompts=args.prompts,
            ends=args.ends,
            engine=args.engine,
            seed=args.seed,
        )
    )
    print(report.summary())
    if args.out is not None:
        report.write(args.out)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
