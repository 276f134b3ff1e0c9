"""Folders of DAVIS, JHMDB and VIP, as their authors hand them out: videos with labels on their frames.

Nothing is read before a video's `read`. Files are sorted by name, which is by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

Frames = npt.NDArray[np.uint8]
VOID = 255
"""Value of pixels in DAVIS-2017's masks that belong to nothing."""


class DatasetError(ValueError):
    """A folder that is not laid out as its dataset."""


@dataclass(frozen=True)
class MaskVideo:
    """A video with a mask for every frame."""

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    void: int | None = None
    """Value in the masks that is taken for background."""
    single: bool = False
    """All objects are one, with the label 1."""

    def read(self) -> tuple[Frames, npt.NDArray[np.uint8]]:
        """Frames RGB [T, H, W, 3] and labels [T, H, W], 0 for background.

        Raises:
            DatasetError: a file cannot be read, or sizes differ.
        """
        frames, masks = _stacked(self.images, "RGB"), _stacked(self.masks, None)
        if masks.ndim != 3 or frames.shape[:3] != masks.shape:
            raise DatasetError(
                f"{self.name}: got frames {frames.shape} and masks {masks.shape}, expected masks [T, H, W] of the "
                "frames' size, as palette or grey PNG"
            )
        # DAVIS-2016 has 255 where its one object is; with other values beside it, 255 belongs to nothing.
        binary = self.single and set(np.unique(masks).tolist()) <= {0, VOID}
        if self.void is not None and not binary:
            masks = np.where(masks == self.void, 0, masks)
        return frames, (masks > 0).astype(np.uint8) if self.single else masks


@dataclass(frozen=True)
class PoseVideo:
    """A video with a pose for every frame."""

    name: str
    images: tuple[Path, ...]
    joints: Path
    """MATLAB file with `pos_img` [2, K, T], counted from 1."""

    def read(self) -> tuple[Frames, npt.NDArray[np.float32]]:
        """Frames RGB [T, H, W, 3] and joints' positions (x, y) float32 [T, K, 2], in pixels counted from 0.

        Raises:
            DatasetError: a file cannot be read, or lengths differ.
        """
        try:
            positions = np.asarray(loadmat(self.joints)["pos_img"])
        except (OSError, ValueError, KeyError, NotImplementedError, MatReadError) as error:
            raise DatasetError(f"{self.joints}: cannot be read as joint_positions.mat ({error!r})") from error
        frames = _stacked(self.images, "RGB")
        if positions.ndim != 3 or len(positions) != 2 or positions.shape[2] != len(frames):
            raise DatasetError(
                f"{self.joints}: got pos_img {positions.shape}, expected [2, joints, {len(frames)} frames]"
            )
        return frames, (positions - 1).astype(np.float32).transpose(2, 1, 0)


def davis(root: Path, *, year: int = 2017, split: str = "val", only: Sequence[str] = ()) -> list[MaskVideo]:
    """Sequences of DAVIS: JPEGImages/480p, Annotations/480p and ImageSets/YEAR/SPLIT.txt.

    Args:
        root: the folder, often called DAVIS.
        year: 2017 has several objects; 2016 one, for which the objects of a sequence are taken together.
        split: name of the list of sequences.
        only: take these instead of the list.

    Raises:
        DatasetError: a list, sequence or file is missing.
    """
    names = only or _listed(root / "ImageSets" / str(year) / f"{split}.txt")
    return [
        _mask_video(
            name, root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name, VOID, single=year == 2016
        )
        for name in names
    ]


def vip(root: Path, *, split: str = "val", only: Sequence[str] = ()) -> list[MaskVideo]:
    """Videos of VIP: Images, Annotations/Category_ids and lists/SPLIT_videos.txt.

    Args:
        root: the folder, often called VIP.
        split: name of the list of videos.
        only: take these instead of the list.

    Raises:
        DatasetError: a list, video or file is missing.
    """
    names = only or _listed(root / "lists" / f"{split}_videos.txt")
    return [
        _mask_video(name, root / "Images" / name, root / "Annotations" / "Category_ids" / name, None) for name in names
    ]


def jhmdb(root: Path, *, split: int = 1, only: Sequence[str] = ()) -> list[PoseVideo]:
    """Test videos of JHMDB: Rename_Images, joint_positions and splits/*_test_splitN.txt.

    Args:
        root: the folder.
        split: 1, 2 or 3; the protocol's is 1.
        only: take these, as ACTION/VIDEO, instead of the lists.

    Raises:
        DatasetError: a list, video or file is missing.
    """
    names = list(only)
    if not only:
        lists = sorted((root / "splits").glob(f"*_split{split}.txt"))
        if not lists:
            raise DatasetError(f"{root / 'splits'}: got no *_split{split}.txt, expected one for every action")
        for path in lists:
            action = "_".join(path.stem.split("_")[:-2])
            for line in _listed(path):
                video, _, use = line.partition(" ")
                if use.strip() == "2":  # 1 is for training, 0 for neither.
                    names.append(f"{action}/{video.removesuffix('.avi')}")
    poses = root / "joint_positions"
    return [
        PoseVideo(
            name,
            _files(root / "Rename_Images" / name, "*.png"),
            poses / name / "joint_positions.mat",
        )
        for name in names
    ]


def _mask_video(name: str, images: Path, masks: Path, void: int | None, *, single: bool = False) -> MaskVideo:
    video = MaskVideo(name, _files(images, "*.jpg"), _files(masks, "*.png"), void, single)
    if len(video.images) != len(video.masks):
        raise DatasetError(
            f"{name}: got {len(video.images)} images in {images} and {len(video.masks)} masks in {masks}, expected as "
            "many of each; is the dataset whole, and are its annotations those of this split?"
        )
    return video


def _listed(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); it lists the videos, or name some yourself") from error
    if not names:
        raise DatasetError(f"{path}: is empty, expected the name of a video on every line")
    return names


def _files(folder: Path, pattern: str) -> tuple[Path, ...]:
    files = tuple(sorted(folder.glob(pattern)))
    if not files:
        raise DatasetError(f"{folder}: got no {pattern}, expected the video's frames")
    return files


def _stacked(paths: Sequence[Path], mode: str | None) -> npt.NDArray[np.uint8]:
    frames: list[npt.NDArray[Any]] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                frames.append(np.asarray(image if mode is None else image.convert(mode)))
        except (OSError, UnidentifiedImageError) as error:
            raise DatasetError(f"{path}: cannot be read as an image ({error})") from error
        if frames[-1].shape != frames[0].shape:
            raise DatasetError(f"{path}: got {frames[-1].shape}, expected {frames[0].shape} as {paths[0].name}")
        if frames[-1].dtype == np.bool_:
            frames[-1] = frames[-1].astype(np.uint8)
        if frames[-1].dtype != np.uint8:
            raise DatasetError(f"{path}: got {frames[-1].dtype}, expected an image with 8 bits")
    return np.stack(frames)
