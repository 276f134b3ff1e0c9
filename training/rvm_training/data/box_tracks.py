"""Videos whose objects have boxes with identities: the Waymo Open Dataset's camera boxes (perception, version 2)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from PIL import Image

SPLITS = {"train": ("training", "train"), "val": ("validation", "val")}
"""Split to the names that its folder may have."""
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
    found = {split: _segments(root, names) for split, names in SPLITS.items()}
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
    table = _table(segment.images, [TIME, IMAGE], times)
    pictures = dict(zip(table[TIME].to_pylist(), table[IMAGE].to_pylist(), strict=True))
    frames = []
    for time in times:
        with Image.open(io.BytesIO(pictures[time])) as image:
            frames.append(np.asarray(image.convert("RGB")))
    return frames


def read_boxes(segment: Segment, times: Sequence[int]) -> dict[str, npt.NDArray[np.float64]]:
    """Boxes of every object at some times: (left, top, right, bottom) in pixels [T, 4], NaN where it is not labelled.

    Raises:
        ValueError: the file is no table of the dataset.
        OSError: it cannot be read.
    """
    table = _table(segment.boxes, [TIME, OBJECT, *BOX], times)
    place = {time: index for index, time in enumerate(times)}
    centres_sides = np.stack([table[name].to_numpy() for name in BOX], axis=1).reshape(-1, 2, 2)
    corners = np.concatenate(
        [centres_sides[:, 0] - centres_sides[:, 1] / 2, centres_sides[:, 0] + centres_sides[:, 1] / 2], axis=1
    )
    found: dict[str, npt.NDArray[np.float64]] = {}
    for name, time, box in zip(table[OBJECT].to_pylist(), table[TIME].to_pylist(), corners, strict=True):
        found.setdefault(name, np.full((len(times), 4), np.nan))[place[time]] = box
    return found


def _segments(root: Path, names: Sequence[str]) -> tuple[Segment, ...]:
    folders = [root / name for name in names if (root / name / "camera_image").is_dir()]
    found = []
    for images in sorted(path for folder in folders for path in (folder / "camera_image").glob("*.parquet")):
        boxes = images.parent.parent / "camera_box" / images.name
        if boxes.is_file():  # Not every segment of the dataset has labels.
            times = _table(images, [TIME])[TIME].to_pylist()
            found.append(Segment(images, boxes, tuple(sorted(times))))
    return tuple(found)


def _table(path: Path, columns: Sequence[str], times: Sequence[int] | None = None) -> pa.Table:
    """Rows of the front camera, at some times or all."""
    chosen = pa.compute.field(CAMERA) == FRONT
    if times is not None:
        chosen &= pa.compute.field(TIME).isin(list(times))
    try:
        return pa.parquet.read_table(path, columns=list(columns), filters=chosen)
    except pa.ArrowException as error:
        raise ValueError(f"{path}: is no table of {EXPECTED} ({error})") from error
