"""Videos with a depth map for every frame: ScanNet, as its exporter lays it out, and anything laid out alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

LISTS = {"train": "scannetv2_train.txt", "val": "scannetv2_val.txt"}
"""Split to the file that lists its scans."""
EXPECTED = (
    "ScanNet as its exporter lays it out: SCAN/color/0.jpg, 1.jpg, ... and SCAN/depth/0.png, ... (16 bits, millimetres)"
    f" at any depth, and {' and '.join(LISTS.values())}"
)


@dataclass(frozen=True)
class DepthVideo:
    """One scan."""

    folder: Path
    frames: tuple[tuple[Path, Path], ...]
    """Picture and depth map of every frame that has both, in order."""


@dataclass(frozen=True)
class DepthVideos:
    """Scans by split."""

    videos: Mapping[str, tuple[DepthVideo, ...]]
    missing: int = 0
    """Scans that are listed and not there."""


def depth_videos(root: Path) -> DepthVideos:
    """Read a folder of ScanNet; see EXPECTED.

    Raises:
        ValueError: a list or a split is missing.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"depth: no folder at {root}")
    scans = {path.parent.name: path.parent for path in sorted(root.rglob("depth")) if (path.parent / "color").is_dir()}
    videos: dict[str, tuple[DepthVideo, ...]] = {}
    listed = 0
    for split, name in LISTS.items():
        lists = sorted(root.rglob(name))
        names = lists[0].read_text(encoding="utf-8").split() if lists else []
        listed += len(names)
        videos[split] = tuple(DepthVideo(scans[each], _frames(scans[each])) for each in names if each in scans)
        if not videos[split]:
            raise ValueError(f"{root}: got no scan of {split}, expected {EXPECTED}")
    return DepthVideos(videos, listed - sum(map(len, videos.values())))


def read_depth(path: Path) -> npt.NDArray[np.uint16]:
    """A depth map [H, W] in millimetres; 0 where it is not known.

    Raises:
        ValueError: it is no picture of one channel of 16 bits.
    """
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.ndim != 2 or depth.dtype != np.uint16:
        got = "nothing" if depth is None else f"{depth.dtype} {depth.shape}"
        raise ValueError(f"{path}: got {got}, expected a depth map of one channel of 16 bits in millimetres")
    return depth.astype(np.uint16, copy=False)


def _frames(scan: Path) -> tuple[tuple[Path, Path], ...]:
    depths = {path.stem: path for path in (scan / "depth").glob("*.png")}
    colours = [path for path in (scan / "color").iterdir() if path.suffix.lower() in (".jpg", ".png")]
    pairs = [(path, depths[path.stem]) for path in colours if path.stem in depths and path.stem.isdecimal()]
    return tuple(sorted(pairs, key=lambda pair: int(pair[0].stem)))
