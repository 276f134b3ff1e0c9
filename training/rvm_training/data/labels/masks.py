"""Folders of masks: a picture of labels for every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_training.data.labels.found import IGNORE, U16, Labelled, Picture, picture_files, split_of, stem_of
from rvm_training.data.splits import split_called
from rvm_training.data.walk import files_below

FOLDERS = (("images", "masks"), ("images", "labels"), ("images", "annotations"), ("JPEGImages", "SegmentationClass"),
           ("JPEGImages", "Annotations"))  # fmt: skip
"""Names of the folders of pictures and of masks."""
NAMES = ("labels.txt", "classes.txt", "labelmap.txt")
"""Files that may name the classes: a name a line, in the order of the values, or CVAT's name:red,green,blue::"""
UNLABELLED = 255
"""Value of pixels that do not count, in masks of 8 bits with other values than 0 and this one."""
VOID = (224, 224, 192)
"""Colour of pixels that do not count, in VOC's masks in colours."""

Colour = tuple[int, int, int]


def read_masks(root: Path) -> Labelled | None:
    """Read pictures and masks of the same names; None where there are none.

    Raises:
        ValueError: the classes' names are malformed, or masks in colours have no labelmap.txt.
        OSError: a file cannot be read.
    """
    pairs, alone = _pairs(root)
    if not pairs:
        return None
    names, colours = _names(root)
    table = {colour: index for index, colour in enumerate(colours)}
    values: tuple[int, ...] = tuple(range(len(names)))
    if not table and len(names) in (0, 2):
        found = sorted({int(value) for _, mask in pairs for value in np.unique(_raw(mask))})
        if found == [0, UNLABELLED]:  # Black and white: 255 is what was marked.
            values, names = (0, UNLABELLED), names or ("background", "marked")
        elif not names:
            values = tuple(value for value in found if value != UNLABELLED)
            names = tuple(f"class {value}" for value in values)
    lists = _lists(root)
    pictures = tuple(
        Picture(
            picture,
            mask,
            partial(_labels, mask, values, table),
            lists.get(picture.stem) or split_of(picture, root),
        )
        for picture, mask in pairs
    )
    return Labelled(names, pictures, values, colours, {"pictures without a mask": alone} if alone else {})


def _pairs(root: Path) -> tuple[list[tuple[Path, Path]], int]:
    """Pictures with their masks, and how many have none."""
    files = picture_files(root)
    for pictures, masks in FOLDERS:
        masked = {path: _key(path, root, masks) for path in files if path.suffix.lower() == ".png"}
        by_key = {key: path for path, key in masked.items() if key is not None}
        keys = {path: key for path in files if (key := _key(path, root, pictures)) is not None}
        pairs = [(path, by_key[key]) for path, key in keys.items() if key in by_key]
        if pairs:
            return pairs, len(keys) - len(pairs)
    return [], 0


def _key(path: Path, root: Path, folder: str) -> tuple[str, ...] | None:
    """The path without that folder and the suffix, which a picture and its mask have in common."""
    parts = path.relative_to(root).with_suffix("").parts
    if folder not in parts[:-1]:
        return None
    at = parts.index(folder)
    return parts[:at] + parts[at + 1 :]


def _lists(root: Path) -> dict[str, str]:
    """Split of each picture that VOC's lists name: ImageSets/Segmentation/train.txt and its like."""
    splits: dict[str, str] = {}
    for path in sorted(files_below(root)):
        if path.suffix == ".txt" and path.parts[-3:-1] == ("ImageSets", "Segmentation"):
            split = split_called(path.stem)
            names = [line.strip().strip("\"'") for line in path.read_text(encoding="utf-8-sig").splitlines()]
            if split is not None:
                splits |= {stem_of(name): split for name in names if name}
    return splits


def _names(root: Path) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    found = sorted(files_below(root))
    files = [path for name in NAMES for path in found if path.name == name]
    if not files:
        return (), ()
    lines = [line.strip() for line in files[0].read_text(encoding="utf-8-sig").splitlines()]
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


def _labels(mask: Path, values: Sequence[int], table: Mapping[Colour, int], size: tuple[int, int]) -> U16:
    found = _by_colour(mask, table) if table else _raw(mask)
    if found.shape != size:
        raise ValueError(f"{mask}: got {found.shape[0]}x{found.shape[1]}, expected {size[0]}x{size[1]}, its picture's")
    if table:
        return found.astype(np.uint16)
    order = np.full(IGNORE + 1, -1, np.int32)
    order[[UNLABELLED, IGNORE]] = IGNORE
    order[list(values)] = np.arange(len(values))
    labels = order[found]
    if (labels < 0).any():
        raise ValueError(f"{mask}: got the value {found[labels < 0][0]}, expected one of {list(values)[:20]}")
    return labels.astype(np.uint16)


def _raw(mask: Path) -> npt.NDArray[np.int64]:
    """Values [H, W] of a mask of one channel."""
    with Image.open(mask) as image:
        if image.mode not in ("1", "L", "P", "I", "I;16"):
            raise ValueError(f"{mask}: got colours, expected one channel, or a labelmap.txt that names them")
        array = np.asarray(image).astype(np.int64)
    if array.min() < 0 or array.max() > IGNORE:
        raise ValueError(f"{mask}: got values {array.min()}..{array.max()}, expected 0..{IGNORE}")
    return array


def _by_colour(mask: Path, table: Mapping[Colour, int]) -> npt.NDArray[np.int64]:
    """Classes [H, W] of a mask in colours, its own or those of its palette."""
    with Image.open(mask) as image:
        packed = np.asarray(image.convert("RGB")).astype(np.int64) @ (65536, 256, 1)
    known = {_packed(colour): index for colour, index in {VOID: IGNORE, **table}.items()}
    found, inverse = np.unique(packed, return_inverse=True)
    if unknown := [value for value in found.tolist() if value not in known]:
        colour = (unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255)
        raise ValueError(f"{mask}: got the colour {colour}, expected one of {list(table)}")
    return np.array([known[value] for value in found.tolist()])[inverse].reshape(packed.shape)


def _packed(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
