"""`rvm eval report`: one HTML page of a folder of results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(protocol: str, arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    from rvm_training.evaluation.report import write_report

    parser = argparse.ArgumentParser(prog=f"rvm eval {protocol}", description=__doc__)
    parser.add_argument("folder", type=Path, help="what `rvm eval ... --out` wrote to")
    parser.add_argument("--title", default="rvm evaluation", help="of the page (default: %(default)s)")
    args = parser.parse_args(arguments)
    print(write_report(args.folder, title=args.title))
    return 0
