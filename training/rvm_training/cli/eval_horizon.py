"""`rvm eval horizon`: J&F over the first 16, 32, ... frames of DAVIS-like videos, and a plot of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from rvm_training.cli.eval_arguments import add_davis, add_models, add_out, announce, data_name, models, watched


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.evaluation import datasets
    from rvm_training.evaluation.horizon import HORIZONS, evaluate_horizon, long_enough
    from rvm_training.evaluation.plots import plot_curves
    from rvm_training.evaluation.propagation import DAVIS

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    add_davis(parser)
    add_models(parser, size_help="frames are resized to it (default: the protocol's)")
    parser.add_argument("--frames", type=int, nargs="+", default=HORIZONS, help=f"default: {HORIZONS}")
    add_out(parser)
    args = parser.parse_args(arguments)
    videos = datasets.davis(args.data, year=args.year, split=args.split, only=args.only)
    kept = long_enough(videos, args.frames)
    print(f"{len(kept)} of {len(videos)} videos have {args.frames[-1]} frames or more")
    settings = replace(DAVIS, size=args.size or DAVIS.size)
    name = data_name(args)
    results = []
    for model in models(args, settings.size):
        results.append(
            evaluate_horizon(model, kept, data=name, horizons=args.frames, protocol=settings, progress=watched)
        )
        announce(results[-1], args.out)
    path = args.out / "horizon.png"
    plot_curves(path, results, "frames", ["relative"], title=f"J&F relative to that over {args.frames[0]} frames")
    print(path)
    return 0
