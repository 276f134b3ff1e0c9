"""Videos whose objects have boxes with identities: the Waymo Open Dataset's camera boxes (perception, version 2)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from rvm_training.data.splits import SPLITS

FRONT = 1
"""Number of the front camera, the one that the protocol looks through."""
SEGMENT, TIME, CAMERA = "key.segment_context_name", "key.frame_timestamp_micros", "key.camera_name"
OBJECT = "key.camera_object_id"
IMAGE = "[CameraImageComponent].image"
BOX = tuple(f"[CameraBoxComponent].box.{each}" for each in ("center.x", "center.y", "size.x", "size.y"))
"""Columns of a box: its centre and its sides, in pixels."""
EXPECTED = (
    "the Waymo Open Dataset, version 2: training/camera_image/*.parquet, training/camera_box/*.parquet, and the same "
    "below validation/"
)


@dataclass(frozen=True)
class Segment:
    """Twenty seconds of one drive."""

    images: Path
    boxes: Path
    times: tuple[int, ...]
    """Of the front camera's frames, in microseconds."""


def segments(root: Path) -> Mapping[str, tuple[Segment, ...]]:
    """Segments by split.

    Raises:
        ValueError: a split is missing, or a file is no table of the dataset.
        OSError: a file cannot be read.
    """
    found = {split: _segments(root, SPLITS[split]) for split in ("train", "val")}
    for split, each in found.items():
        if not each:
            raise ValueError(f"{root}: got no segment of {split}, expected {EXPECTED}")
    return found


def read_images(segment: Segment, times: Sequence[int]) -> list[npt.NDArray[np.uint8]]:
    """Frames RGB [H, W, 3] of the front camera at some times.

    Raises:
        ValueError: a frame is missing or no picture.
        OSError: the file cannot be read.
    """
    pictures: dict[int, bytes] = {}
    for rows in _rows(segment.images, [TIME, IMAGE], 4):
        pictures |= {row[TIME]: row[IMAGE] for row in rows if row[TIME] in times}
        if len(pictures) == len(times):
            break
    frames = []
    for time in times:
        if time not in pictures:
            raise ValueError(f"{segment.images}: got no picture at {time} microseconds, expected one")
        with Image.open(io.BytesIO(pictures[time])) as image:
            frames.append(np.asarray(image.convert("RGB")))
    return frames


def read_boxes(segment: Segment, times: Sequence[int]) -> dict[str, npt.NDArray[np.float64]]:
    """Boxes of every object at some times: (left, top, right, bottom) in pixels [T, 4], NaN where it is not labelled.

    Raises:
        ValueError: the file is no table of the dataset.
        OSError: it cannot be read.
    """
    place = {time: index for index, time in enumerate(times)}
    found: dict[str, npt.NDArray[np.float64]] = {}
    for rows in _rows(segment.boxes, [TIME, OBJECT, *BOX], 4096):
        for row in rows:
            if (index := place.get(row[TIME])) is not None:
                x, y, width, height = (float(row[name]) for name in BOX)
                box = x - width / 2, y - height / 2, x + width / 2, y + height / 2
                found.setdefault(row[OBJECT], np.full((len(times), 4), np.nan))[index] = box
    return found


def _segments(root: Path, names: Sequence[str]) -> tuple[Segment, ...]:
    folders = [root / name for name in names if (root / name / "camera_image").is_dir()]
    found = []
    for images in sorted(path for folder in folders for path in (folder / "camera_image").glob("*.parquet")):
        boxes = images.parent.parent / "camera_box" / images.name
        if boxes.is_file():  # Not every segment of the dataset has labels.
            times = {row[TIME] for rows in _rows(images, [TIME], 4096) for row in rows}
            if times:
                found.append(Segment(images, boxes, tuple(sorted(times))))
    return tuple(found)


def _rows(path: Path, columns: Sequence[str], at_once: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of the front camera, a few at a time: a segment's pictures are hundreds of megabytes."""
    try:
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(at_once, columns=[CAMERA, *columns]):
                yield [row for row in batch.to_pylist() if row[CAMERA] == FRONT]
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"{path}: is no table of {EXPECTED} ({error})") from error
