"""`rvm eval robustness`: J&F on DAVIS-like videos whose pictures get worse, and a plot of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from rvm_training.cli.eval_arguments import add_davis, add_models, add_out, announce, data_name, models, watched


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.evaluation import datasets
    from rvm_training.evaluation.corruptions import NAMES, STRENGTHS
    from rvm_training.evaluation.plots import plot_curves
    from rvm_training.evaluation.propagation import DAVIS
    from rvm_training.evaluation.robustness import evaluate_robustness

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    add_davis(parser)
    add_models(parser, size_help="frames are resized to it (default: the protocol's)")
    parser.add_argument("--corruptions", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=f"of {NAMES}")
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS, help=f"default: {STRENGTHS}")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: %(default)s)")
    add_out(parser)
    args = parser.parse_args(arguments)
    videos = datasets.davis(args.data, year=args.year, split=args.split, only=args.only)
    settings = replace(DAVIS, size=args.size or DAVIS.size)
    results = []
    for model in models(args, settings.size):
        results.append(
            evaluate_robustness(
                model, videos, data=data_name(args), names=args.corruptions, strengths=args.strengths,
                seed=args.seed, protocol=settings, progress=watched,
            )
        )  # fmt: skip
        announce(results[-1], args.out)
    path = args.out / "robustness.png"
    plot_curves(path, results, "strength", args.corruptions, title="J&F as the pictures get worse")
    print(path)
    return 0
