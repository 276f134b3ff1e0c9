"""Small folders laid out as DAVIS, JHMDB and VIP, made of synthetic scenes: to try the protocols without a download.

Figures on them compare models with each other; they are not those of the datasets. The scenes' photographs are those
that training never sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

from rvm_training.mask_files import save_mask
from rvm_training.synthetic.generate import SceneConfig, random_scene
from rvm_training.synthetic.scene import Scene

U8 = npt.NDArray[np.uint8]

LEAST_SHARE = 0.01
"""Share of the first frame that an object must cover to be marked there."""
JOINTS = 15
"""Of a pose in JHMDB."""
CLASSES = 20
"""Of VIP, background among them."""
ACTION = "move"
"""The one action of the JHMDB-like folder."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """How much is made."""

    videos: int = 4
    """Videos of each dataset."""
    frames: int = 24
    """Frames of a video."""
    height: int = 240
    """Rows in pixels."""
    width: int = 426
    """Columns in pixels."""
    seed: int = 0
    """Of the scenes; each video's differs."""

    def __post_init__(self) -> None:
        """Refuse what no protocol takes."""
        if self.videos < 1 or self.frames < 3:
            raise ValueError(f"got {self.videos} videos of {self.frames} frames, expected at least 1 of 3")
        if min(self.height, self.width) < 32:
            raise ValueError(f"got {self.height}x{self.width}, expected sides of at least 32 pixels")


def write_davis(root: Path, config: BenchmarkConfig = BenchmarkConfig()) -> None:
    """Write sequences as DAVIS-2017 has them: objects of the first frame keep their labels, all else is background.

    Args:
        root: folder, made where it is missing.
        config: how much.

    Raises:
        OSError: it cannot be written.
    """
    names = []
    for index, scene in enumerate(_scenes(config, "davis")):
        name = f"scene-{index:02d}"
        order = np.zeros(256, np.uint8)
        order[_marked(scene)] = np.arange(1, 1 + len(_marked(scene)))
        _write_frames(root / "JPEGImages" / "480p" / name, scene, config.frames, ".jpg")
        _write_masks(root / "Annotations" / "480p" / name, scene, config.frames, order)
        names.append(name)
    for year in ("2016", "2017"):
        _write_list(root / "ImageSets" / year / "val.txt", names)


def write_vip(root: Path, config: BenchmarkConfig = BenchmarkConfig()) -> None:
    """Write videos as VIP has them: every object is of one of 19 classes, those that come later as well.

    Args:
        root: folder, made where it is missing.
        config: how much.

    Raises:
        OSError: it cannot be written.
    """
    names = []
    for index, scene in enumerate(_scenes(config, "vip")):
        name = f"videos{index}"
        rng = np.random.default_rng([config.seed, index])
        classes = np.zeros(256, np.uint8)
        classes[1:CLASSES] = rng.permutation(np.arange(1, CLASSES))
        _write_frames(root / "Images" / name, scene, config.frames, ".jpg")
        _write_masks(root / "Annotations" / "Category_ids" / name, scene, config.frames, classes)
        names.append(name)
    _write_list(root / "lists" / "val_videos.txt", names)


def write_jhmdb(root: Path, config: BenchmarkConfig = BenchmarkConfig()) -> None:
    """Write videos as JHMDB has them: 15 points of the largest object's surface are the joints.

    Args:
        root: folder, made where it is missing.
        config: how much.

    Raises:
        OSError: it cannot be written.
    """
    lines = []
    for index, scene in enumerate(_scenes(config, "jhmdb")):
        name = f"video_{index:02d}"
        mask = scene.mask(0)
        label = max(_marked(scene), key=lambda each: np.count_nonzero(mask == each))
        rows, columns = np.nonzero(mask == label)
        chosen = np.random.default_rng([config.seed, index]).choice(len(rows), JOINTS, replace=False)
        points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float64)
        positions, _ = scene.tracks(points, 0, np.arange(config.frames))
        _write_frames(root / "Rename_Images" / ACTION / name, scene, config.frames, ".png")
        folder = root / "joint_positions" / ACTION / name
        folder.mkdir(parents=True, exist_ok=True)
        # MATLAB counts from 1: [2, joints, frames].
        savemat(folder / "joint_positions.mat", {"pos_img": positions.transpose(2, 0, 1).astype(np.float64) + 1})
        lines.append(f"{name}.avi 2")
    _write_list(root / "splits" / f"{ACTION}_test_split1.txt", lines)


WRITERS: dict[str, Callable[..., None]] = {
    "davis": write_davis,
    "jhmdb": write_jhmdb,
    "vip": write_vip,
}
"""Name of a layout to what writes it."""


def _scenes(config: BenchmarkConfig, name: str) -> Iterator[Scene]:
    """Scenes with something to mark on the first frame, as many as wanted; others for every layout."""
    settings = SceneConfig(objects=(1, 4), noise_square_share=0.0, still_share=0.0, held_out=True)
    rng = np.random.default_rng([config.seed, *name.encode()])
    for _ in range(config.videos):
        while not _marked(scene := random_scene(rng, config.height, config.width, settings)):
            pass
        yield scene


def _marked(scene: Scene) -> list[int]:
    """Labels of the objects that are large enough in the first frame."""
    counts = np.bincount(scene.mask(0).ravel(), minlength=1)
    return [label for label in range(1, len(counts)) if counts[label] >= LEAST_SHARE * counts.sum()]


def _write_frames(folder: Path, scene: Scene, count: int, suffix: str) -> None:
    _emptied(folder)
    for t in range(count):
        Image.fromarray(scene.frame(t)).save(folder / f"{t:05d}{suffix}", quality=95)  # PNG has none.


def _write_masks(folder: Path, scene: Scene, count: int, labels: U8) -> None:
    _emptied(folder)
    for t in range(count):
        save_mask(folder / f"{t:05d}.png", labels[scene.mask(t)])


def _emptied(folder: Path) -> None:
    """Make a video's folder, without the frames that an earlier run wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("[0-9]*.*"):
        path.unlink()


def _write_list(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
