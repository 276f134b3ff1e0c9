"""COCO's instances, as COCO, CVAT, Label Studio and Roboflow write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rvm_training.data.labels.found import U16, Labelled, Picture, Pictures, split_of, with_background
from rvm_training.data.labels.shapes import Mask, coco_runs, polygons


def is_coco(content: Any) -> bool:
    """Whether this is the content of such a file."""
    return isinstance(content, Mapping) and {"images", "annotations", "categories"} <= content.keys()


def read_coco(files: Mapping[Path, Any], root: Path) -> Labelled:
    """Read files of instances, one for each split or one for all; categories without a region are no classes.

    Args:
        files: path and content of each.
        root: folder below which the pictures lie.

    Raises:
        ValueError: a file is malformed, or the files' categories differ.
    """
    categories: dict[int, str] = {}
    used: set[int] = set()
    for path, content in files.items():
        try:
            mine = {int(each["id"]): str(each["name"]) for each in content["categories"]}
            used |= {int(each["category_id"]) for each in content["annotations"] if each.get("segmentation")}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: is malformed as instances of COCO ({error!r})") from error
        if categories and mine != categories:
            raise ValueError(
                f"{path}: got other categories than {next(iter(files))}, expected the same; keep the files of one kind"
            )
        categories = mine
    if unknown := used - categories.keys():
        raise ValueError(f"{root}: got marks of the category {min(unknown)}, expected one of {sorted(categories)}")
    names, ids, classes = with_background({number: categories[number] for number in used})
    finder, left_out = Pictures(root), Counter[str]()
    pictures: list[Picture] = []
    for path, content in files.items():
        try:
            pictures += _of_file(path, content, classes, finder, root, left_out)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: is malformed as instances of COCO ({error!r})") from error
    return Labelled(names, tuple(pictures), ids, left_out=+left_out)


def _of_file(
    path: Path, content: Any, classes: Mapping[int, int], finder: Pictures, root: Path, left_out: Counter[str]
) -> list[Picture]:
    marks: dict[Any, list[tuple[float, int, Any]]] = {}
    for each in content["annotations"]:
        if each.get("segmentation"):
            mark = (float(each.get("area") or 0), classes[int(each["category_id"])], each["segmentation"])
            marks.setdefault(each["image_id"], []).append(mark)
        else:
            left_out["marks without a region"] += 1
    pictures = []
    for image in content["images"]:
        found = finder.find(str(image["file_name"]), path.parent, split=split_of(path, root))
        # The small ones last: they would be hidden otherwise.
        shapes = sorted(marks.get(image["id"], []), key=lambda mark: -mark[0])
        if found is None or not shapes:
            left_out["pictures not found" if found is None else "pictures without a region"] += 1
            continue
        split = split_of(path, root) or split_of(found, root)
        size = (int(image["height"]), int(image["width"])) if "height" in image and "width" in image else None
        pictures.append(Picture(found, path, partial(_painted, [mark[1:] for mark in shapes]), split, size))
    return pictures


def _painted(shapes: Sequence[tuple[int, Any]], size: tuple[int, int]) -> U16:
    labels = np.zeros(size, np.uint16)
    for number, shape in shapes:
        labels[_mask(shape, size)] = number
    return labels


def _mask(shape: Any, size: tuple[int, int]) -> Mask:
    if isinstance(shape, Mapping):
        return coco_runs(shape, size)
    # One polygon is sometimes written without the list around it.
    return polygons(shape if isinstance(shape[0], (list, tuple)) else [shape], size)
