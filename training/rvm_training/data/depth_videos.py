"""Videos with a depth map for every frame: ScanNet, as its exporter lays it out, and anything laid out alike."""

from __future__ import annotations

import os
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
    numbers: npt.NDArray[np.int32]
    """Of the frames that have both a picture and a depth map, in order."""
    digits: int
    """Of the files' names at least: 1 for `0.jpg`, 6 for `000000.jpg`."""
    suffix: str
    """Of the pictures."""

    def frame(self, index: int) -> tuple[Path, Path]:
        """Picture and depth map of a frame, counted without gaps."""
        name = f"{self.numbers[index]:0{self.digits}d}"
        return self.folder / "color" / f"{name}{self.suffix}", self.folder / "depth" / f"{name}.png"


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
    scans, files = _found(root)
    videos: dict[str, tuple[DepthVideo, ...]] = {}
    listed = 0
    for split, name in LISTS.items():
        names = files[name].read_text(encoding="utf-8").split() if name in files else []
        listed += len(names)
        videos[split] = tuple(_scan(scans[each]) for each in names if each in scans)
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


def _found(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Folders of scans and other files by their names; what is in a scan is not looked through."""
    scans: dict[str, Path] = {}
    files: dict[str, Path] = {}
    for parent, folders, names in os.walk(root, followlinks=True):
        if {"color", "depth"} <= set(folders):
            scans[Path(parent).name] = Path(parent)
            folders.clear()
        else:
            files |= {name: Path(parent, name) for name in names}
    return scans, files


def _scan(folder: Path) -> DepthVideo:
    depths = {name[:-4] for name in os.listdir(folder / "depth") if name.endswith(".png")}
    colours = [Path(name) for name in os.listdir(folder / "color")]
    mine = [path for path in colours if path.stem in depths and path.stem.isdecimal()]
    suffixes, lengths = {path.suffix for path in mine}, {len(path.stem) for path in mine}
    if len(suffixes) > 1:
        raise ValueError(f"{folder}: got pictures of the kinds {sorted(suffixes)}, expected one")
    padded = any(path.stem.startswith("0") and len(path.stem) > 1 for path in mine)
    numbers = np.array(sorted(int(path.stem) for path in mine), np.int32)
    return DepthVideo(folder, numbers, max(lengths) if padded else 1, suffixes.pop() if suffixes else "")
