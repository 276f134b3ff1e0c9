"""Folders of masks: a picture of labels for every picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_training.data.labels.found import IGNORE, U16, Labelled, Picture, picture_files, split_of

FOLDERS = (("images", "masks"), ("images", "labels"), ("images", "annotations"), ("JPEGImages", "SegmentationClass"),
           ("JPEGImages", "Annotations"))  # fmt: skip
"""Names of the folders of pictures and of masks."""
NAMES = ("labels.txt", "classes.txt", "labelmap.txt")
"""Files that may name the classes: a name a line, in the order of the values, or CVAT's name:red,green,blue::"""
UNLABELLED = 255
"""Value of pixels that do not count, in masks of 8 bits."""


def read_masks(root: Path) -> Labelled | None:
    """Read pictures and masks of the same names; None where there are none.

    Raises:
        ValueError: the classes' names are malformed, or masks in colours have no labelmap.txt.
        OSError: a file cannot be read.
    """
    pairs = _pairs(root)
    if not pairs:
        return None
    names, colours = _names(root)
    values: tuple[int, ...] = tuple(range(len(names)))
    if not names:
        found = sorted({int(value) for _, mask in pairs for value in np.unique(_values(mask, {}))} - {IGNORE})
        values, names = tuple(found), tuple(f"class {value}" for value in found)
    table = {colour: index for index, colour in enumerate(colours)}
    pictures = tuple(
        Picture(picture, partial(_labels, mask, values, table), split_of(picture.relative_to(root).parts[:-1]))
        for picture, mask in pairs
    )
    return Labelled(names, pictures, values, colours)


def _pairs(root: Path) -> list[tuple[Path, Path]]:
    pairs = []
    files = picture_files(root)
    for pictures, masks in FOLDERS:
        by_key = {key: path for path in files if path.suffix == ".png" and (key := _key(path, root, masks))}
        for path in files:
            if (key := _key(path, root, pictures)) in by_key and key is not None:
                pairs.append((path, by_key[key]))
        if pairs:
            return pairs
    return pairs


def _key(path: Path, root: Path, folder: str) -> tuple[str, ...] | None:
    """The path without that folder and the suffix, which a picture and its mask have in common."""
    parts = path.relative_to(root).with_suffix("").parts
    if folder not in parts[:-1]:
        return None
    at = parts.index(folder)
    return parts[:at] + parts[at + 1 :]


def _names(root: Path) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    files = [path for name in NAMES for path in sorted(root.rglob(name))]
    if not files:
        return (), ()
    lines = [line.strip() for line in files[0].read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not any(":" in line for line in lines):
        return tuple(lines), ()
    names, colours = [], []
    for line in lines:
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(value) for value in rest.split(":")[0].split(","))
        except ValueError as error:
            raise ValueError(f"{files[0]}: got {line!r}, expected name:red,green,blue::") from error
        names.append(name)
        colours.append((red, green, blue))
    return tuple(names), tuple(colours)


def _labels(mask: Path, values: Sequence[int], table: dict[tuple[int, int, int], int], size: tuple[int, int]) -> U16:
    found = _values(mask, table)
    if found.shape != size:
        raise ValueError(f"{mask}: got {found.shape[0]}x{found.shape[1]}, expected {size[0]}x{size[1]}, its picture's")
    order = np.full(IGNORE + 1, -1, np.int32)
    order[list(values)], order[IGNORE] = np.arange(len(values)), IGNORE
    labels = order[found]
    if (labels < 0).any():
        raise ValueError(f"{mask}: got the value {found[labels < 0][0]}, expected one of {list(values)[:20]}")
    return labels.astype(np.uint16)


def _values(mask: Path, table: dict[tuple[int, int, int], int]) -> npt.NDArray[np.int64]:
    """Values [H, W]; IGNORE where they do not count."""
    with Image.open(mask) as image:
        array = np.asarray(image if image.mode in ("1", "L", "P", "I", "I;16") else image.convert("RGB"))
    if array.ndim == 2:
        values = array.astype(np.int64)
        if array.dtype == np.uint8:
            values[values == UNLABELLED] = IGNORE
        return values
    if not table:
        raise ValueError(f"{mask}: got colours, expected one channel, or a labelmap.txt that names them")
    packed = array.astype(np.int64) @ (65536, 256, 1)
    known = {red * 65536 + green * 256 + blue: index for (red, green, blue), index in table.items()}
    found, inverse = np.unique(packed, return_inverse=True)
    if unknown := [value for value in found.tolist() if value not in known]:
        value = unknown[0]
        raise ValueError(
            f"{mask}: got the colour {(value >> 16, value >> 8 & 255, value & 255)}, expected one of {list(table)}"
        )
    return np.array([known[value] for value in found.tolist()])[inverse].reshape(packed.shape)
