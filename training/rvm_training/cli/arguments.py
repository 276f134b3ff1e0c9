"""Command-line arguments that several subcommands take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def size(text: str) -> tuple[int, int]:
    """Height and width from a text like `480x640`."""
    if not (match := re.fullmatch(r"(\d+)x(\d+)", text)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected HEIGHTxWIDTH, for example 480x640")
    return int(match[1]), int(match[2])


def add_recordings(parser: argparse.ArgumentParser, *, compared_on: str) -> None:
    """Add `--calibrate` and `--video`.

    Args:
        parser: of the subcommand.
        compared_on: what the command compares on without `--video`, in words.
    """
    parser.add_argument(
        "--calibrate", type=Path, nargs="+", default=[], metavar="PATH",
        help="for 8 bits: videos and bags of what the robot sees",
    )  # fmt: skip
    parser.add_argument("--video", type=Path, help=f"video or bag to compare on (default: {compared_on})")
