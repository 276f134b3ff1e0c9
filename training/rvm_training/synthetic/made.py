"""Folders of data that were made here, told from those of other people: only the first are written over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

MARK = ".made_by_rvm"
"""File in such a folder, with FINISHED in it when all is there."""
FINISHED = "finished\n"


def is_made(folder: Path) -> bool:
    """Whether all of a folder was made here."""
    mark = folder / MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == FINISHED


def make(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder's data anew.

    Args:
        folder: where. What was made there before is removed first: clips of two makings would mix.
        write: writes the data into it.

    Raises:
        ValueError: there is something in it that was not made here.
        OSError: it cannot be written.
    """
    mark = folder / MARK
    if mark.is_file():
        shutil.rmtree(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: got a folder with other files in it, expected a new or empty one")
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    write(folder)
    mark.write_text(FINISHED, encoding="utf-8")
