"""`rvm curves`: what several training runs measured on the way, in one picture, and their last values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvm_training.cli.eval_arguments import named


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.pretraining.curve import draw_beside, read_metrics  # matplotlib

    parser = argparse.ArgumentParser(prog="rvm curves", description=__doc__)
    parser.add_argument("runs", nargs="+", type=_named, metavar="[NAME=]RUN", help="folders of runs, and their names")
    parser.add_argument(
        "--metrics", nargs="+", default=["train/loss", "val/psnr"], help="columns of metrics.csv (default: %(default)s)"
    )
    parser.add_argument("--log", action="store_true", help="logarithmic vertical axes")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="picture (default: %(default)s)")
    args = parser.parse_args(arguments)
    runs = {name: read_metrics(folder) for name, folder in args.runs}
    for name, metrics in runs.items():
        if missing := [metric for metric in args.metrics if metric not in metrics]:
            raise ValueError(f"{name}: got no {', '.join(missing)}, expected some of {', '.join(metrics) or 'nothing'}")
        ends = {metric: max(metrics[metric].items()) for metric in args.metrics}
        print(f"{name}:", ", ".join(f"{metric} {value:.4g} at step {step}" for metric, (step, value) in ends.items()))
    draw_beside(runs, args.metrics, args.out, logarithmic=args.log)
    print(args.out)
    return 0


def _named(text: str) -> tuple[str, Path]:
    name, folder = named(text)
    path = Path(folder)
    if not (path / "metrics").is_dir():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected the folder of a run, which has metrics/ in it")
    return name or path.resolve().name, path
