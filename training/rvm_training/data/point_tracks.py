"""Videos with tracked points: files of TAP-Vid, and the Perception Test."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_training.data.layouts import videos_below
from rvm_training.data.splits import SPLITS, split_called
from rvm_training.data.video import probe, read_frames
from rvm_training.data.walk import files_below

U8 = npt.NDArray[np.uint8]
EXPECTED = (
    "files of TAP-Vid (train/*.pkl and val/*.pkl), or the Perception Test (JSON with point_tracking of videos of the "
    "splits train and valid, and the videos)"
)


class Reader(Protocol):
    """Reads frames RGB [n, H, W, 3] by their numbers."""

    def __call__(self, indices: Sequence[int]) -> U8:
        """See the class."""
        ...


@dataclass(frozen=True)
class TrackedVideo:
    """A video and points that are followed in it."""

    name: str
    files: tuple[Path, ...]
    """That it and its points are in, maybe with others."""
    points: npt.NDArray[np.float32]
    """(x, y) as shares of the picture's width and height [P, T, 2]; anything where a point is not to be seen."""
    visible: npt.NDArray[np.bool_]
    """[P, T]."""
    read: Reader


def tracked_videos(root: Path) -> Mapping[str, tuple[TrackedVideo, ...]]:
    """Videos by split.

    Raises:
        ValueError: a split is missing, or a file is none of the datasets'.
        OSError: a file cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"points: no folder at {root}")
    folders = {split: [root / name for name in SPLITS[split]] for split in ("train", "val")}
    files = {
        split: [path for folder in each for path in sorted(folder.glob("*.pkl"))] for split, each in folders.items()
    }
    if any(files.values()):
        found = {split: tuple(video for path in paths for video in tapvid_file(path)) for split, paths in files.items()}
    else:
        found = _perception_test(root)
    for split, videos in found.items():
        if not videos:
            raise ValueError(f"{root}: got no video with points of {split}, expected {EXPECTED}")
    return found


def tapvid_file(path: Path) -> Iterator[TrackedVideo]:
    """Videos of a file of TAP-Vid, which is read as a whole.

    Args:
        path: a pickle, of which arrays are read and nothing is run: a dictionary by name, or a list, of video (uint8
            [T, H, W, 3] or a list of JPEG), points [P, T, 2] and occluded [P, T].

    Raises:
        ValueError: it is another file.
        OSError: it cannot be read.
    """
    for name, each in _content(path):
        try:
            video, points, occluded = each["video"], np.asarray(each["points"]), np.asarray(each["occluded"])
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{path}: got {str(each)[:60]}, expected video, points and occluded") from error
        if points.shape != (*occluded.shape, 2) or occluded.ndim != 2 or occluded.shape[1] != len(video):
            raise ValueError(
                f"{path}: {name}: got points {points.shape} and occluded {occluded.shape} of {len(video)} frames, "
                "expected [P, T, 2] and [P, T]"
            )
        # The pictures are not held: a file has gigabytes of them.
        read = partial(_frames, path, name)
        yield TrackedVideo(str(name), (path,), points.astype(np.float32), ~occluded.astype(bool), read)


@lru_cache(maxsize=1)
def _content(path: Path) -> tuple[tuple[Any, Any], ...]:
    """Name or number of every video of a file, and what it holds; the file read last is kept."""
    with path.open("rb") as file:
        try:
            content = _ArraysOnly(file).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError) as error:
            raise ValueError(f"{path}: cannot be read as a file of TAP-Vid ({error})") from error
    if not isinstance(content, (dict, list)):
        raise ValueError(f"{path}: got {type(content).__name__}, expected a dictionary or list of videos")
    return tuple(content.items() if isinstance(content, dict) else enumerate(content))


class _ArraysOnly(pickle.Unpickler):
    """Arrays of NumPy and what Python has built in for them; anything else in a pickle could be run."""

    _NAMES = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")}
        | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        """The few names that arrays are made of."""
        if (module, name) in self._NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only arrays are read")


def _frames(path: Path, name: Any, indices: Sequence[int]) -> U8:
    video = dict(_content(path))[name]["video"]
    frames = [video[index] for index in indices]
    if isinstance(frames[0], bytes):
        frames = [np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames]
    return np.stack(frames)


def _perception_test(root: Path) -> dict[str, tuple[TrackedVideo, ...]]:
    videos = {path.stem: path for path in videos_below(root)}
    found: dict[str, list[TrackedVideo]] = {"train": [], "val": []}
    seen = set()
    for path in sorted(path for path in files_below(root) if path.suffix == ".json"):
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            tracked = [each for each in entries.values() if each.get("point_tracking")]
        except (AttributeError, ValueError):
            continue  # Another file of the dataset; what is missing is told by the caller.
        for entry in tracked:
            try:
                name, split = str(entry["metadata"]["video_id"]), split_called(str(entry["metadata"]["split"]))
                points, visible = _tracks(entry["point_tracking"], int(entry["metadata"]["num_frames"]))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise ValueError(f"{path}: is none of the Perception Test ({error!r})") from error
            if split in found and name in videos and name not in seen:
                seen.add(name)
                files = videos[name], path
                found[split].append(TrackedVideo(name, files, points, visible, partial(_decoded, videos[name])))
    return {split: tuple(each) for split, each in found.items()}


def _tracks(tracks: Sequence[Mapping[str, Any]], frames: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Points (x, y) [P, T, 2] and where they are seen [P, T]; the files have y before x, and only what is seen."""
    points, visible = np.zeros((len(tracks), frames, 2), np.float32), np.zeros((len(tracks), frames), bool)
    for index, track in enumerate(tracks):
        ids = np.asarray(track["frame_ids"], int)
        points[index, ids] = np.asarray(track["points"], np.float32).T[:, ::-1]
        visible[index, ids] = True
    return points, visible


def _decoded(path: Path, indices: Sequence[int]) -> U8:
    _, fps = probe(str(path))
    return read_frames(str(path), indices, fps)
