"""`rvm eval cost`: time and memory against the number of frames, recurrent and with attention over all frames."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rvm_training.cli.eval_arguments import add_models, add_out, announce, networks


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.evaluation.cost import COUNTS, evaluate_cost
    from rvm_training.evaluation.plots import plot_curves

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    add_models(parser, size_help="of the frames (default: 256x256)", engines=False)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help=f"of frames (default: {COUNTS})")
    parser.add_argument("--rounds", type=int, default=3, help="measured runs of each (default: %(default)s)")
    add_out(parser)
    args = parser.parse_args(arguments)
    results = []
    for loaded in networks(args):
        results += evaluate_cost(*loaded, size=args.size or (256, 256), counts=args.counts, rounds=args.rounds)
    for result in results:
        announce(result, args.out)
    path = args.out / "cost.png"
    plot_curves(path, results, "frames", ["ms", "MB"], title="time and memory above the weights'", share=False)
    print(path)
    return 0
