"""Label Studio's JSON: polygons and brush strokes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from rvm_training.data.labels.found import U16, Labelled, Picture, Pictures, split_of, with_background
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
    """Read exports; of a task with several annotations the first that was not cancelled counts.

    Args:
        files: path and content of each.
        root: folder below which the pictures lie.

    Raises:
        ValueError: a file is malformed.
    """
    tasks = [(path, task) for path, content in files.items() for task in content]
    try:
        names = sorted({_name(each) for _, task in tasks for each in _results(task)[0]})
        numbered = dict(enumerate(names, start=1))
        titles, ids, classes = with_background(numbered)
        numbers = {name: classes[number] for number, name in numbered.items()}
        finder = Pictures(root)
        pictures, left_out = [], 0
        for path, task in tasks:
            results, others = _results(task)
            found = _find(task, finder, path.parent)
            left_out += others
            if found is None or not results:
                left_out += 1
                continue
            shapes = [(numbers[_name(each)], each["type"], each["value"]) for each in results]
            split = split_of(path.relative_to(root).parts) or split_of(found.relative_to(root).parts[:-1])
            pictures.append(Picture(found, partial(_painted, shapes), split))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{root}: its export of Label Studio is malformed ({error!r})") from error
    return Labelled(titles, tuple(pictures), ids, left_out=left_out)


def _results(task: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """Regions of a task, and how many marks are none."""
    done = [each for each in task["annotations"] if not each.get("was_cancelled")]
    marks = done[0]["result"] if done else []
    regions = [each for each in marks if each.get("type") in REGIONS and each["value"].get(each["type"])]
    return regions, len(marks) - len(regions)


def _name(result: Mapping[str, Any]) -> str:
    return str(result["value"][result["type"]][0])


def _find(task: Mapping[str, Any], finder: Pictures, near: Path) -> Path | None:
    """The picture: named by a path or an address, perhaps with what Label Studio puts before uploads."""
    for value in task["data"].values():
        if not isinstance(value, str):
            continue
        address = urlsplit(value)
        path = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
        for name in (path, Path(path).name, re.sub(r"^[0-9a-f]{8}-", "", Path(path).name)):
            if name and (found := finder.find(name, near)):
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
