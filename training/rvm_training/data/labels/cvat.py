"""CVAT's own XML, version 1.1, for images and for videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from rvm_training.data.labels.found import U16, Labelled, Picture, Pictures, picture_files, split_of, with_background
from rvm_training.data.labels.shapes import polygons, runs

REGIONS = ("polygon", "mask")
OTHERS = ("box", "polyline", "points", "cuboid", "ellipse", "skeleton")
"""Marks that give no exact region."""


@dataclass(frozen=True)
class Shape:
    """A polygon or a mask of one picture."""

    element: ElementTree.Element
    number: int
    """Class."""

    @property
    def order(self) -> int:
        """Greater ones lie above."""
        return int(self.element.get("z_order", "0"))


def read_cvat(files: Sequence[Path], root: Path) -> Labelled:
    """Read files of annotations; unmarked pixels are background.

    Args:
        files: XML files.
        root: folder below which the pictures lie.

    Raises:
        ValueError: a file is malformed, or the files' labels differ.
        OSError: a file cannot be read.
    """
    finder = Pictures(root)
    pictures: list[Picture] = []
    labels: dict[str, tuple[int, int, int] | None] = {}
    left_out = 0
    for path in files:
        try:
            document = ElementTree.parse(path).getroot()
            mine = {
                _text(each, "name"): _colour(each.findtext("color")) for each in document.findall("meta//labels/label")
            }
            if labels and mine != labels:
                raise ValueError(f"got labels {sorted(mine)}, expected {sorted(labels)} as in the files before")
            labels = mine
            numbers = _numbers(labels)
            left_out += sum(len(document.findall(f".//{name}")) for name in OTHERS)
            by_picture: dict[Path, list[Shape]] = {}
            for image in document.findall("image"):
                found = finder.find(_attribute(image, "name"), path.parent)
                left_out += found is None
                if found is not None:
                    by_picture[found] = [
                        Shape(each, numbers[_attribute(each, "label")]) for each in image if each.tag in REGIONS
                    ]
            for found, shapes in _of_tracks(document, numbers, path.parent):
                by_picture.setdefault(found, []).extend(shapes)
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise ValueError(f"{path}: is malformed as annotations of CVAT ({error})") from error
        for found, shapes in by_picture.items():
            if not shapes:
                left_out += 1
                continue
            split = split_of(found.relative_to(root).parts[:-1])
            pictures.append(Picture(found, partial(_painted, sorted(shapes, key=lambda shape: shape.order)), split))
    names, ids, _ = with_background(dict(enumerate(labels, start=1)))
    colours = [labels.get(name) for name in names[1:]]
    known = tuple(colour for colour in colours if colour is not None)
    return Labelled(
        names, tuple(pictures), ids, ((0, 0, 0), *known) if len(known) == len(colours) else (), left_out=left_out
    )


def _numbers(labels: dict[str, tuple[int, int, int] | None]) -> dict[str, int]:
    _, _, classes = with_background(dict(enumerate(labels, start=1)))
    return {name: classes[number] for number, name in enumerate(labels, start=1)}


def _of_tracks(document: ElementTree.Element, numbers: dict[str, int], folder: Path) -> list[tuple[Path, list[Shape]]]:
    """Shapes of tracks by frame. Frames are numbered in the names of the pictures, or are the pictures in order."""
    tracks = document.findall("track")
    if not tracks:
        return []
    files = picture_files(folder)
    numbered = {int(match[1]): path for path in files if (match := re.search(r"(\d+)$", path.stem))}
    frames = numbered if len(numbered) == len(files) else dict(enumerate(files))
    by_frame: dict[Path, list[Shape]] = {path: [] for path in frames.values()}
    for track in tracks:
        number = numbers[_attribute(track, "label")]
        for each in track:
            if each.tag in REGIONS and each.get("outside") != "1":
                by_frame[frames[int(_attribute(each, "frame"))]].append(Shape(each, number))
    return list(by_frame.items())


def _painted(shapes: Sequence[Shape], size: tuple[int, int]) -> U16:
    labels = np.zeros(size, np.uint16)
    for shape in shapes:
        element = shape.element
        if element.tag == "polygon":
            points = [
                float(number) for point in _attribute(element, "points").split(";") for number in point.split(",")
            ]
            labels[polygons([points], size)] = shape.number
            continue
        left, top, width, height = (int(_attribute(element, name)) for name in ("left", "top", "width", "height"))
        lengths = [int(length) for length in _attribute(element, "rle").split(",")]
        window = labels[top : top + height, left : left + width]
        if window.shape != (height, width):
            raise ValueError(f"got a mask at {left}, {top} of {width}x{height}, expected it within {size[1]}x{size[0]}")
        window[runs(lengths, (height, width))] = shape.number
    return labels


def _attribute(element: ElementTree.Element, name: str) -> str:
    if (value := element.get(name)) is None:
        raise ValueError(f"got <{element.tag}> without {name}")
    return value


def _text(element: ElementTree.Element, name: str) -> str:
    if not (text := element.findtext(name)):
        raise ValueError(f"got <{element.tag}> without {name}")
    return text


def _colour(text: str | None) -> tuple[int, int, int] | None:
    match = re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text or "")
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None
