"""Label Studio's JSON: polygons and brush strokes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from rvm_training.data.labels.found import (
    PICTURE_SUFFIXES,
    U16,
    Labelled,
    Picture,
    Pictures,
    named_classes,
    split_of,
)
from rvm_training.data.labels.shapes import brush, polygons

REGIONS = ("polygonlabels", "brushlabels")


def is_label_studio(content: Any) -> bool:
    """Whether this is the content of such a file."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, Mapping) and "data" in task and "annotations" in task for task in content)
    )


def read_label_studio(files: Mapping[Path, Any], root: Path) -> Labelled:
    """Read exports; of a task with several annotations the first with a region counts, cancelled ones do not.

    Args:
        files: path and content of each.
        root: folder below which the pictures lie.

    Raises:
        ValueError: a file is malformed.
    """
    left_out = Counter[str]()
    try:
        tasks = [(path, task, _regions(task, left_out)) for path, content in files.items() for task in content]
        names = sorted({_name(each) for _, _, regions in tasks for each in regions})
        titles, ids, numbers = named_classes(names)
        finder = Pictures(root)
        pictures = []
        for path, task, regions in tasks:
            found = _find(task, finder, path.parent)
            if found is None or not regions:
                left_out["pictures not found" if found is None else "pictures without a region"] += 1
                continue
            shapes = [(numbers[_name(each)], str(each["type"]), each["value"]) for each in regions]
            split = split_of(path, root) or split_of(found, root)
            pictures.append(Picture(found, path, partial(_painted, shapes), split, _size(regions[0])))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{root}: its export of Label Studio is malformed ({error!r})") from error
    return Labelled(titles, tuple(pictures), ids, left_out=+left_out)


def _regions(task: Mapping[str, Any], left_out: Counter[str]) -> list[Mapping[str, Any]]:
    """Marks of a task that are regions."""
    regions: list[Mapping[str, Any]] = []
    for each in task["annotations"]:
        if each.get("was_cancelled"):
            continue
        marks = each.get("result") or []
        mine = [mark for mark in marks if mark.get("type") in REGIONS and mark["value"].get(mark["type"])]
        left_out["marks without a region"] += len(marks) - len(mine)
        regions = regions or mine
    return regions


def _name(result: Mapping[str, Any]) -> str:
    return str(result["value"][result["type"]][0])


def _size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = result.get("original_height"), result.get("original_width")
    return None if height is None or width is None else (int(height), int(width))


def _find(task: Mapping[str, Any], finder: Pictures, near: Path) -> Path | None:
    """The picture: named by a path or an address, perhaps with what Label Studio puts before uploads."""
    for value in task["data"].values():
        if not isinstance(value, str):
            continue
        address = urlsplit(value)
        path = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
        if Path(path).suffix.lower() not in PICTURE_SUFFIXES:
            continue  # Other fields of a task may be called like a picture.
        for name in (path, Path(path).name, re.sub(r"^[0-9a-f]{8}-", "", Path(path).name)):
            if found := finder.find(name, near):
                return found
    return None


def _painted(shapes: Sequence[tuple[int, str, Mapping[str, Any]]], size: tuple[int, int]) -> U16:
    labels = np.zeros(size, np.uint16)
    for number, kind, value in shapes:
        if kind == "polygonlabels":
            points = np.asarray(value["points"], float) * [size[1] / 100, size[0] / 100]  # In percent.
            labels[polygons([points.ravel().tolist()], size)] = number
        else:
            labels[brush(value["rle"], size)] = number
    return labels
