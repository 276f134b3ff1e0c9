"""Clips for readouts, in folders laid out as ScanNet, Waymo and TAP-Vid, and as labelled pictures.

Small and made of simple things: they show that a readout learns, and compare encoders with each other.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from rvm_training.data.box_tracks import BOX, CAMERA, FRONT, IMAGE, OBJECT, SEGMENT, TIME
from rvm_training.data.depth_videos import LISTS
from rvm_training.mask_files import save_mask
from rvm_training.synthetic.action_clips import write_actions
from rvm_training.synthetic.clips_config import ClipsConfig
from rvm_training.synthetic.motion import Camera, Pose, Track
from rvm_training.synthetic.room import CLASSES, Room
from rvm_training.synthetic.scene import Layer, Scene
from rvm_training.synthetic.shapes import shape
from rvm_training.synthetic.textures import texture

U8 = npt.NDArray[np.uint8]
POINTS = 8
"""Points that are followed in a clip."""


def write_depth(root: Path, config: ClipsConfig = ClipsConfig()) -> None:
    """Write rooms as ScanNet's exporter does: SCAN/color/0.jpg, SCAN/depth/0.png, and the two lists.

    Raises:
        OSError: it cannot be written.
    """
    for split, name in LISTS.items():
        scans = []
        for number in config.numbers(split):
            scans.append(f"scene{number:04d}_00")
            folder = root / "scans" / scans[-1]
            for part in ("color", "depth"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            room = _room(config, number, split)
            for t in range(config.frames):
                view = room.view(t)
                Image.fromarray(view.rgb).save(folder / "color" / f"{t}.jpg", quality=95)
                cv2.imwrite(str(folder / "depth" / f"{t}.png"), np.rint(view.depth_m * 1000).astype(np.uint16))
        (root / name).write_text("".join(f"{scan}\n" for scan in scans), encoding="utf-8")


def write_segmentation(root: Path, config: ClipsConfig = ClipsConfig()) -> None:
    """Write pictures of rooms with masks: SPLIT/images, SPLIT/masks and labels.txt.

    Raises:
        OSError: it cannot be written.
    """
    for split in ("train", "val"):
        for part in ("images", "masks"):
            (root / split / part).mkdir(parents=True, exist_ok=True)
        for number in config.numbers(split):
            view = _room(config, number, split).view(config.frames / 2)
            Image.fromarray(view.rgb).save(root / split / "images" / f"{number:05d}.jpg", quality=95)
            save_mask(root / split / "masks" / f"{number:05d}.png", view.labels)
    (root / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")


def write_boxes(root: Path, config: ClipsConfig = ClipsConfig()) -> None:
    """Write moving things as Waymo's dataset has them: camera_image and camera_box, a parquet file a segment.

    Raises:
        OSError: it cannot be written.
    """
    for split, folder in (("train", "training"), ("val", "validation")):
        for part in ("camera_image", "camera_box"):
            (root / folder / part).mkdir(parents=True, exist_ok=True)
        for number, scene in _movers(config, split):
            images, boxes = [], []
            for t in range(config.frames):
                keys = {SEGMENT: f"{number}", TIME: t * 100_000, CAMERA: FRONT}
                file = io.BytesIO()
                Image.fromarray(scene.frame(t)).save(file, "JPEG", quality=95)
                images.append({**keys, IMAGE: file.getvalue()})
                mask = scene.mask(t)
                for label in np.unique(mask[mask > 0]).tolist():
                    rows, columns = np.nonzero(mask == label)
                    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
                    values = [*((low + high) / 2).tolist(), *(high - low).tolist()]
                    boxes.append({**keys, OBJECT: f"thing-{label}", **dict(zip(BOX, values, strict=True))})
            for part, rows_ in (("camera_image", images), ("camera_box", boxes)):
                pa.parquet.write_table(pa.Table.from_pylist(rows_), root / folder / part / f"{number}.parquet")


def write_points(root: Path, config: ClipsConfig = ClipsConfig()) -> None:
    """Write moving things with tracked points as TAP-Vid has them: train/clips.pkl and val/clips.pkl.

    Raises:
        OSError: it cannot be written.
    """
    for split in ("train", "val"):
        clips = {}
        for number, scene in _movers(config, split):
            rows, columns = np.nonzero(scene.mask(0))
            chosen = np.random.default_rng([config.seed, number, 5]).choice(len(rows), POINTS)
            starts = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float64)
            positions, visible = scene.tracks(starts, 0, np.arange(config.frames))
            clips[f"clip-{number:05d}"] = {
                "video": np.stack([scene.frame(t) for t in range(config.frames)]),
                # From the corner of the picture, as a share of its side.
                "points": ((positions + 0.5) / config.side).astype(np.float32),
                "occluded": ~visible,
            }
        (root / split).mkdir(parents=True, exist_ok=True)
        (root / split / "clips.pkl").write_bytes(pickle.dumps(clips))


CLIP_WRITERS: dict[str, Callable[..., None]] = {
    "classification": write_actions,
    "depth": write_depth,
    "boxes": write_boxes,
    "points": write_points,
    "segmentation": write_segmentation,
}
"""Readout to what writes clips for it."""


def _room(config: ClipsConfig, number: int, split: str) -> Room:
    rng = np.random.default_rng([config.seed, number, 3])
    return Room(rng, config.side, config.frames, held_out=split == "val")


def _movers(config: ClipsConfig, split: str) -> Iterator[tuple[int, Scene]]:
    """A bright thing that drifts over a dark ground."""
    side, last = config.side, config.frames - 1
    middle = (side - 1) / 2
    still = Camera(Pose(Track(0.0), Track(0.0)), (middle, middle))
    for number in config.numbers(split):
        rng = np.random.default_rng([config.seed, number, 4])
        ground = np.full((side, side, 3), rng.integers(0, 48, 3), np.uint8)
        size = int(side * rng.uniform(0.3, 0.45))
        x, y = (
            Track(float(side * start), float(side * way / last), 0.1 * side, 0.9 * side)
            for start, way in zip(rng.uniform(0.2, 0.8, 2), rng.uniform(-0.35, 0.35, 2), strict=True)
        )
        bright = 128 + texture(rng, size, photograph_share=0.5, held_out=split == "val") // 2
        growth = Track(0.0, float(rng.uniform(-0.3, 0.3)) / last)
        thing = Layer(bright, Pose(x, y, growth), alpha=shape(rng, size), depth=np.inf)
        layers = Layer(ground, Pose(Track(middle), Track(middle))), thing
        yield number, Scene(side, side, layers, still)
