"""Types of command-line arguments that several subcommands take."""

from __future__ import annotations

import argparse
import re


def size(text: str) -> tuple[int, int]:
    """Height and width from a text like `480x640`."""
    if not (match := re.fullmatch(r"(\d+)x(\d+)", text)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected HEIGHTxWIDTH, for example 480x640")
    return int(match[1]), int(match[2])
