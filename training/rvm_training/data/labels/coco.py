"""COCO's instances, as COCO, CVAT, Label Studio and Roboflow write them."""

from __future__ import annotations

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
    """Read files of instances, one for each split or one for all.

    Args:
        files: path and content of each.
        root: folder below which the pictures lie.

    Raises:
        ValueError: a file is malformed, or the files' categories differ.
    """
    pictures: list[Picture] = []
    categories: dict[int, str] = {}
    left_out = 0
    finder = Pictures(root)
    for path, content in files.items():
        try:
            mine = {int(each["id"]): str(each["name"]) for each in content["categories"]}
            if categories and mine != categories:
                raise ValueError(f"got categories {mine}, expected {categories} as in the files before")
            categories = mine
            _, _, classes = with_background(categories)
            marks: dict[int, list[tuple[float, int, Any]]] = {}
            for each in content["annotations"]:
                if not each.get("segmentation"):
                    left_out += 1
                    continue
                mark = (float(each.get("area", 0)), classes[int(each["category_id"])], each["segmentation"])
                marks.setdefault(each["image_id"], []).append(mark)
            for image in content["images"]:
                found = finder.find(str(image["file_name"]), path.parent)
                # The small ones last: they would be hidden otherwise.
                shapes = sorted(marks.get(image["id"], []), key=lambda mark: -mark[0])
                if found is None or not shapes:
                    left_out += 1
                    continue
                split = split_of(path.relative_to(root).parts) or split_of(found.relative_to(root).parts[:-1])
                pictures.append(Picture(found, partial(_painted, [mark[1:] for mark in shapes]), split))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: is malformed as instances of COCO ({error!r})") from error
    names, ids, _ = with_background(categories)
    return Labelled(names, tuple(pictures), ids, left_out=left_out)


def _painted(shapes: Sequence[tuple[int, Any]], size: tuple[int, int]) -> U16:
    labels = np.zeros(size, np.uint16)
    for number, shape in shapes:
        labels[_mask(shape, size)] = number
    return labels


def _mask(shape: Any, size: tuple[int, int]) -> Mask:
    return coco_runs(shape, size) if isinstance(shape, Mapping) else polygons(shape, size)
