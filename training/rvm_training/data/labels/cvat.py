"""CVAT's own XML, version 1.1, for images and for videos."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from rvm_training.data.labels.found import U16, Labelled, Picture, Pictures, named_classes, picture_files, split_of
from rvm_training.data.labels.shapes import polygons, runs
from rvm_training.data.splits import split_called

REGIONS = ("polygon", "mask")
OTHERS = ("box", "polyline", "points", "cuboid", "ellipse", "skeleton")
"""Marks that give no exact region."""

Colour = tuple[int, int, int]
Shapes = list[tuple[ElementTree.Element, int]]
"""Polygons and masks of one picture, each with its class."""


def read_cvat(files: Sequence[Path], root: Path) -> Labelled:
    """Read files of annotations; unmarked pixels are background.

    Args:
        files: XML files.
        root: folder below which the pictures lie.

    Raises:
        ValueError: a file is malformed, or the files' labels differ.
        OSError: a file cannot be read.
    """
    labels: dict[str, Colour | None] = {}
    documents = {}
    for path in files:
        try:
            documents[path] = ElementTree.parse(path).getroot()
            entries = documents[path].findall("meta//labels/label")
            mine = {_text(each, "name"): _colour(each.findtext("color")) for each in entries}
        except (ElementTree.ParseError, ValueError) as error:
            raise ValueError(f"{path}: is malformed as annotations of CVAT ({error})") from error
        if labels and mine.keys() != labels.keys():
            raise ValueError(f"{path}: got labels {sorted(mine)}, expected {sorted(labels)} as in {files[0]}")
        labels = labels or mine  # Another file may have them in another order.
    names, ids, numbers = named_classes(list(labels))
    finder, left_out = Pictures(root), Counter[str]()
    pictures: list[Picture] = []
    for path, document in documents.items():
        left_out["marks without a region"] += sum(len(document.findall(f".//{name}")) for name in OTHERS)
        try:
            pictures += _of_images(path, document, numbers, finder, root, left_out)
            pictures += _of_tracks(path, document, numbers, root, left_out)
        except KeyError as error:
            raise ValueError(f"{path}: got a mark of {error}, expected one of {sorted(labels)}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    known = tuple(colour for name in names[1:] if (colour := labels.get(name)) is not None)
    colours = ((0, 0, 0), *known) if len(known) == len(names) - 1 else ()
    return Labelled(names, tuple(pictures), ids, colours, +left_out)


def _of_images(
    path: Path, document: ElementTree.Element, numbers: Mapping[str, int], finder: Pictures, root: Path,
    left_out: Counter[str],
) -> list[Picture]:  # fmt: skip
    pictures = []
    for image in document.findall("image"):
        subset = image.get("subset", "")
        found = finder.find(_attribute(image, "name"), path.parent, folders=[f"images/{subset}"] if subset else [])
        shapes = [(each, numbers[_attribute(each, "label")]) for each in image if each.tag in REGIONS]
        if found is None or not shapes:
            left_out["pictures not found" if found is None else "pictures without a region"] += 1
            continue
        shapes.sort(key=lambda shape: _order(shape[0]))
        split = split_called(subset) or split_of(found, root)
        size = (int(image.attrib["height"]), int(image.attrib["width"])) if "height" in image.attrib else None
        pictures.append(Picture(found, path, partial(_painted, shapes), split, size))
    return pictures


def _of_tracks(
    path: Path, document: ElementTree.Element, numbers: Mapping[str, int], root: Path, left_out: Counter[str]
) -> list[Picture]:
    """Pictures of `CVAT for video`, which numbers them and does not name them."""
    tracks = document.findall("track")
    if len(tasks := {track.get("task_id") for track in tracks}) > 1:
        raise ValueError(f"got tracks of {len(tasks)} tasks, expected those of one; export each task by itself")
    by_frame: dict[int, Shapes] = {}
    for track in tracks:
        for each in track:
            if each.tag in REGIONS and each.get("outside") != "1":
                shapes = by_frame.setdefault(int(_attribute(each, "frame")), [])
                shapes.append((each, numbers[_attribute(track, "label")]))
    if not by_frame:
        return []
    frames = _numbered(path, document)
    if missing := sorted(by_frame.keys() - frames.keys()):
        raise ValueError(
            f"got a mark on frame {missing[0]}, expected one of the {len(frames)} pictures beside it; export the task "
            "with its images"
        )
    left_out["pictures without a region"] += len(frames) - len(by_frame)
    return [
        Picture(
            frames[number], path, partial(_painted, sorted(shapes, key=lambda shape: _order(shape[0]))),
            split_of(frames[number], root), _video_size(document),
        )
        for number, shapes in by_frame.items()
    ]  # fmt: skip


def _numbered(path: Path, document: ElementTree.Element) -> dict[int, Path]:
    """The pictures of a task by CVAT's numbers.

    Raises:
        ValueError: they cannot be told.
    """
    folder = path.parent / "images"
    files = picture_files(folder if folder.is_dir() else path.parent)
    if _video_size(document) is not None:  # Of a video: CVAT names its frames by their numbers.
        return {int(match[1]): file for file in files if (match := re.search(r"(\d+)$", file.stem))}
    # Of pictures: their numbers are their places, and CVAT sorts names as text or by their numbers, as one chose.
    size = document.findtext("meta/task/size") or document.findtext("meta/job/size")
    by_text = sorted(files, key=lambda file: str(file.relative_to(path.parent)))
    if by_text != files or (size is not None and int(size) != len(files)):
        raise ValueError(
            f"got tracks over {size or 'some'} pictures and {len(files)} pictures beside it, expected as many, in an "
            "order that can be told; export the task as `CVAT for images 1.1`, which names them"
        )
    return dict(enumerate(files))


def _video_size(document: ElementTree.Element) -> tuple[int, int] | None:
    size = document.find("meta//original_size")
    return None if size is None else (int(_text(size, "height")), int(_text(size, "width")))


def _painted(shapes: Shapes, size: tuple[int, int]) -> U16:
    labels = np.zeros(size, np.uint16)
    for element, number in shapes:
        if element.tag == "polygon":
            points = _attribute(element, "points").replace(";", ",").split(",")
            labels[polygons([[float(value) for value in points]], size)] = number
            continue
        left, top, width, height = (int(_attribute(element, name)) for name in ("left", "top", "width", "height"))
        lengths = [int(length) for length in _attribute(element, "rle").split(",")]
        window = labels[top : top + height, left : left + width]
        if window.shape != (height, width):
            raise ValueError(f"got a mask at {left}, {top} of {width}x{height}, expected it within {size[1]}x{size[0]}")
        window[runs(lengths, (height, width))] = number
    return labels


def _order(element: ElementTree.Element) -> int:
    """Greater ones lie above."""
    return int(element.get("z_order", "0"))


def _attribute(element: ElementTree.Element, name: str) -> str:
    if (value := element.get(name)) is None:
        raise ValueError(f"got <{element.tag}> without {name}")
    return value


def _text(element: ElementTree.Element, name: str) -> str:
    if not (text := element.findtext(name)):
        raise ValueError(f"got <{element.tag}> without {name}")
    return text


def _colour(text: str | None) -> Colour | None:
    match = re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text or "")
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None
