"""`rvm eval table`: results of several models as one table, and as bars."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.evaluation.plots import plot_bars
    from rvm_training.evaluation.result import load_results
    from rvm_training.evaluation.table import tabulate

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="files that `rvm eval` wrote, or folders of such")
    parser.add_argument("--out", type=Path, help="folder to write table.md and table.png to as well")
    args = parser.parse_args(arguments)
    table = tabulate(load_results(args.results))
    print(table.markdown(), end="")
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "table.md").write_text(table.markdown(), encoding="utf-8")
        bars = {
            title: {model: values[index] for model, values in table.rows} for index, title in enumerate(table.columns)
        }
        plot_bars(args.out / "table.png", bars, title="results, in percent")
    return 0
