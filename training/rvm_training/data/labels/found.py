"""What every format comes down to: pictures, the class of each of their pixels, and what the classes are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

IGNORE = 65535
"""In place of a class: pixels that do not count."""
BACKGROUND = "background"
"""Class of pixels that nobody marked, in formats that mark shapes."""
PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
"""Split to the names that folders and files give it."""

U16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Picture:
    """A picture with labels."""

    path: Path
    labels: Callable[[tuple[int, int]], U16]
    """Classes [H, W] of its pixels, by its rows and columns; IGNORE where they do not count. Raises ValueError."""
    split: str | None = None
    """`train` or `val`, where the dataset says so."""


@dataclass(frozen=True)
class Labelled:
    """Pictures and what their classes mean."""

    names: tuple[str, ...]
    """Of the classes, in the order of their numbers in `Picture.labels`."""
    pictures: tuple[Picture, ...]
    ids: tuple[int, ...] = ()
    """What the dataset calls them; empty where it counts from 0."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """Red, green and blue of each; empty where it says none."""
    left_out: int = 0
    """Marks that give no region (boxes, points, lines), and pictures that are not there or without a region."""


class Pictures:
    """Finds the pictures that a file of labels names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] = {}
        for path in picture_files(root):
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, near: Path) -> Path | None:
        """The picture of a name that may have folders.

        Args:
            name: as the file of labels says it.
            near: folder of that file.

        Returns:
            The picture, or None where there is none.

        Raises:
            ValueError: several have that name, and no folder tells them apart.
        """
        path = Path(name)
        found = self._by_name.get(path.name, [])
        for folder in (near, near / "images", self._root, self._root / "images"):
            if folder / path in found:
                return folder / path
        fitting = [each for each in found if each.parts[-len(path.parts) :] == path.parts] or found
        if len(fitting) > 1:
            raise ValueError(f"{near}: got {name}, which {fitting[0]} and {fitting[1]} may be; give it with its folder")
        return fitting[0] if fitting else None


def picture_files(root: Path) -> list[Path]:
    """Pictures at any depth, in order of their paths."""
    found = [Path(parent, name) for parent, _, names in os.walk(root, followlinks=True) for name in names]
    return sorted(path for path in found if path.suffix.lower() in PICTURE_SUFFIXES)


def split_of(parts: Sequence[str]) -> str | None:
    """Which split a path's parts speak of, the last one first."""
    for part in reversed(parts):
        words = part.lower().replace(".", "_").replace("-", "_").split("_")
        for split, names in SPLITS.items():
            if any(word.startswith(name) and word.rstrip("0123456789") in names for word in words for name in names):
                return split
    return None


def with_background(categories: Mapping[int, str]) -> tuple[tuple[str, ...], tuple[int, ...], dict[int, int]]:
    """Classes of categories and of what nobody marked.

    Args:
        categories: number to name.

    Returns:
        (names, ids, class of each category). A category that is called background is that.
    """
    named = {number: name for number, name in categories.items() if name.lower() != BACKGROUND}
    order = sorted(named)
    ids = (0, *order) if 0 not in named else tuple(range(len(order) + 1))
    classes = {number: order.index(number) + 1 if number in named else 0 for number in categories}
    return (BACKGROUND, *(named[number] for number in order)), ids, classes
