"""What every format comes down to: pictures, the class of each of their pixels, and what the classes are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from rvm_training.data.splits import split_called
from rvm_training.data.walk import files_below

IGNORE = 65535
"""In place of a class: pixels that do not count."""
BACKGROUND = "background"
"""Class of pixels that nobody marked, in formats that mark shapes."""
PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))

U16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Picture:
    """A picture with labels."""

    path: Path
    source: Path
    """File that its labels are in."""
    paint: Callable[[tuple[int, int]], U16]
    """Makes the labels, by the picture's rows and columns."""
    split: str | None = None
    """`train`, `val` or `test`, where the dataset says so."""
    size: tuple[int, int] | None = None
    """Rows and columns of the picture, where the labels say so."""

    def labels(self, size: tuple[int, int]) -> U16:
        """Classes [H, W] of its pixels; IGNORE where they do not count.

        Args:
            size: rows and columns of the picture, upright.

        Raises:
            ValueError: its labels are of a picture of another size, or malformed.
            OSError: they cannot be read.
        """
        if self.size is not None and self.size != size:
            raise ValueError(
                f"{self.path}: got {size[0]}x{size[1]}, expected {self.size[0]}x{self.size[1]}, as {self.source} says; "
                "give the pictures that were labelled, neither scaled nor turned"
            )
        try:
            return self.paint(size)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{self.source}: its labels of {self.path.name} are malformed ({error!r})") from error
        except ValueError as error:
            raise ValueError(f"{self.source}: its labels of {self.path.name}: {error}") from error


@dataclass(frozen=True)
class Labelled:
    """Pictures and what their classes mean."""

    names: tuple[str, ...]
    """Of the classes, in the order of their numbers in the labels."""
    pictures: tuple[Picture, ...]
    ids: tuple[int, ...] = ()
    """What the dataset calls the classes, where these are numbers that a label image can hold; empty counts from 0."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """Red, green and blue of each; empty where it says none."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What was not used, in words, to how many; nothing that there is none of."""


class Pictures:
    """Finds the pictures that a file of labels names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in picture_files(root):
            self._by_stem.setdefault(_loose(path.stem), []).append(path)

    def find(self, name: str, near: Path, *, folders: Sequence[str] = (), split: str | None = None) -> Path | None:
        """The picture of a name.

        Args:
            name: as the file of labels says it: with folders or without, with a suffix or without.
            near: folder of that file.
            folders: more folders, relative to that one, in which it is looked for first.
            split: of that file; of several pictures of a name that of the same split is meant.

        Returns:
            The picture, or None where there is none.

        Raises:
            ValueError: several have that name, and neither folder nor split tells them apart.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        suffix = path.suffix.lower() if path.suffix.lower() in PICTURE_SUFFIXES else ""
        stem = PurePosixPath(path.parent, stem_of(path.name))
        found = [each for each in self._by_stem.get(_loose(stem.name), []) if suffix in ("", each.suffix.lower())]
        places = [folder / stem for folder in (*(near / each for each in folders), near, near / "images", self._root)]
        # What Label Studio writes before the name is a folder of its own machine.
        for place in (*places, self._root / "images" / stem, near / "images" / stem.name, near / stem.name):
            for each in found:
                if each.parent == place.parent and _loose(each.stem) == _loose(place.name):
                    return each
        parts = tuple(map(_loose, stem.parts))
        fitting = [each for each in found if tuple(map(_loose, each.with_suffix("").parts[-len(parts) :])) == parts]
        if len(fitting) > 1:
            alike = [each for each in fitting if split is not None and split_of(each, self._root) == split]
            if len(alike) != 1:
                raise ValueError(
                    f"{near}: got {name}, which {fitting[0]} and {fitting[1]} may be, expected one; give the names "
                    "their folders, or keep only the pictures that are labelled"
                )
            return alike[0]
        return fitting[0] if fitting else None


def picture_files(root: Path) -> list[Path]:
    """Pictures at any depth: folder by folder, in a folder by their names, numbers by their value."""
    pictures = [path for path in files_below(root) if path.suffix.lower() in PICTURE_SUFFIXES]
    return sorted(pictures, key=lambda path: (str(path.parent), in_order(path.name)))


def in_order(name: str) -> list[tuple[int, str]]:
    """Key that sorts names with numbers in them by these: 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def split_of(path: Path, root: Path) -> str | None:
    """Which split a file's folders speak of, the innermost first; or a word of its own name, if it is no picture."""
    inner = path.relative_to(root)
    for part in reversed(inner.parts[:-1]):
        if (split := split_called(part)) is not None:
            return split
    if inner.suffix.lower() in PICTURE_SUFFIXES:
        return None
    words = re.split(r"[\W_]+", inner.stem)
    splits = {split for word in words if (split := split_called(word.rstrip("0123456789"))) is not None}
    return splits.pop() if len(splits) == 1 else None


def with_background(categories: Mapping[int, str]) -> tuple[tuple[str, ...], tuple[int, ...], dict[int, int]]:
    """Classes of categories and of what nobody marked.

    Args:
        categories: number to name.

    Returns:
        (names, ids, class of each category). A category that is called background is that; of several that are called
        the same, each says its number; ids are the categories' numbers where 0 is free and a label image holds them,
        else empty.
    """
    named = {number: name for number, name in categories.items() if name.lower() != BACKGROUND}
    order = sorted(named)
    known = [named[number] for number in order]
    titles = [name if known.count(name) == 1 else f"{name} ({n})" for n, name in zip(order, known, strict=True)]
    ids = (0, *order) if all(0 < number < IGNORE for number in order) else ()
    classes = {number: order.index(number) + 1 if number in named else 0 for number in categories}
    return (BACKGROUND, *titles), ids, classes


def named_classes(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...], dict[str, int]]:
    """What `with_background` gives for labels that have names and no numbers: (names, ids, class of each label)."""
    numbered = dict(enumerate(names, start=1))
    titles, ids, classes = with_background(numbered)
    return titles, ids, {name: classes[number] for number, name in numbered.items()}


def stem_of(name: str) -> str:
    """A picture's name without its suffix; other dots stay."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in PICTURE_SUFFIXES else path.name


def _loose(name: str) -> str:
    return re.sub(r"[^-\w.]", "", name.replace(" ", "_"))  # As Label Studio names uploads.
