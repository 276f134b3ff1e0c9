"""`rvm bench-features`: the rate of `rvm features` over that of its bare engine, on this machine."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from rvm_training.cli.arguments import add_engine, add_recordings_of, chosen_engine


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.benchmark.offline import compare
    from rvm_training.offline.features import Target
    from rvm_training.offline.recordings import recordings

    parser = argparse.ArgumentParser(prog="rvm bench-features", description=__doc__)
    add_recordings_of(parser)
    add_engine(parser)
    parser.add_argument("--batch", type=int, default=1, help="cameras at once (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("."), help="disk that is written to (default: here)")
    args = parser.parse_args(arguments)
    engine = chosen_engine(args, cameras=args.batch)
    found = recordings(args.inputs, cameras=dict(args.camera), rate_hz=args.rate)
    result = compare(found, engine, Target(args.out), args.batch, args.rounds)
    print(json.dumps({"bare": result.bare, "whole": result.whole, "shares": result.shares}, indent=2))
    print(
        f"{engine.info.kind} {engine.info.arithmetic} on {engine.info.place}, {args.batch} at once: median "
        f"{statistics.median(result.whole):.1f} frames a second, bare {statistics.median(result.bare):.1f}; "
        f"{statistics.median(result.shares):.1%} of the bare engine's rate "
        f"({min(result.shares):.1%} to {max(result.shares):.1%} in single rounds)"
    )
    return 0
