"""What the offline tools read: bags, videos and image sequences, each as the images of its cameras in order."""

from __future__ import annotations

import glob
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rvm_model.bags import Bag, BagError, is_bag, open_bag
from rvm_model.bags.images import camera_topics, check, to_array
from rvm_model.frame_source import IMAGE_SUFFIXES, Frame, SourceError, VideoFile, natural, read_image
from rvm_model.messages.encodings import RgbArray
from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.stamps import NANOSECONDS, check_stamp, stamp_ns
from rvm_training.data.layouts import VIDEO_SUFFIXES
from rvm_training.data.video import probe

CAMERA = "camera"
"""Name of the one camera of a video or an image sequence."""
FIRST_NS = NANOSECONDS
"""Stamp of a video's first frame: a stamp of zero would say that there is none."""


class NonsenseError(ImageError):
    """An image that contradicts itself: it is left out as if it had not come, as the live node does."""


@dataclass(frozen=True)
class Arrival:
    """An image as it was recorded, not yet decoded."""

    camera: str
    time_ns: int
    """Of recording."""
    stamp_ns: int
    """Acquisition time; 0 where the driver did not stamp."""
    frame_id: str
    decode: Callable[[], RgbArray]
    """Gives RGB [H, W, 3]; raises ImageError where the image cannot be used."""


class Recording(ABC):
    """Images of one or several cameras, from the beginning each time it is iterated over."""

    path: Path
    name: str
    """What is made of it is called so."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Its size, by which a change shows.

        Raises:
            OSError: it is not there.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """How it is read, as JSON has it."""
        return {}

    @abstractmethod
    def lengths(self) -> dict[str, int]:
        """Cameras and about how many images each has.

        Raises:
            ValueError: it cannot be read, or has no images; says why.
            OSError: likewise.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Arrival]:
        """The images of all cameras in the order of recording.

        Raises:
            ValueError: it cannot be read on.
            OSError: likewise.
        """


@dataclass
class BagRecording(Recording):
    """The cameras of a bag."""

    path: Path
    name: str
    chosen: Mapping[str, str]
    """Cameras to topics, which count alone; none takes what `camera_topics` finds."""
    _cameras: dict[str, str] = field(default_factory=dict)
    """What was found, once somebody looked."""

    @property
    def bytes(self) -> int:
        """Its size, by which a change shows."""
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())

    def lengths(self) -> dict[str, int]:
        """Cameras and how many messages each has."""
        with open_bag(self.path) as bag:
            return {camera: bag.counts[topic] for camera, topic in self._found(bag).items()}

    def __iter__(self) -> Iterator[Arrival]:
        """The images of all cameras in the order of recording."""
        with open_bag(self.path) as bag:
            cameras = {topic: camera for camera, topic in self._found(bag).items()}
            for topic, time_ns, data in bag.messages(cameras):
                try:
                    message = bag.deserialize(topic, data)
                except BagError as error:  # The live node's middleware would not hand it over either.
                    yield Arrival(cameras[topic], time_ns, 0, "", partial(_raise, NonsenseError(str(error))))
                    continue
                yield Arrival(
                    cameras[topic], time_ns, stamp_ns(message), message.header.frame_id, partial(_decoded, message)
                )

    @property
    def settings(self) -> dict[str, Any]:
        """How it is read, as JSON has it."""
        return {"cameras": dict(self.chosen)}

    def _found(self, bag: Bag) -> dict[str, str]:
        self._cameras = self._cameras or camera_topics(bag, self.chosen)
        return self._cameras


@dataclass
class FrameRecording(Recording):
    """A video, or an image sequence: one camera."""

    path: Path
    name: str
    paths: Sequence[Path] = ()
    """Of an image sequence, in order; none for a video."""
    rate_hz: float = 30.0
    """Images per second of an image sequence."""

    @property
    def bytes(self) -> int:
        """Its size, by which a change shows."""
        return sum(path.stat().st_size for path in self.paths or [self.path])

    def lengths(self) -> dict[str, int]:
        """The camera, and about how many frames it has."""
        return {CAMERA: len(self.paths) or probe(str(self.path))[0]}

    def __iter__(self) -> Iterator[Arrival]:
        """The frames in order."""
        if self.paths:
            for index, path in enumerate(self.paths):
                yield _arrival(index / self.rate_hz, partial(_read, path))
            return
        video, skipped = VideoFile(self.path), 0
        for frame in video:
            for _ in range(video.skipped - skipped):
                yield _arrival(frame.time_s, partial(_raise, NonsenseError("a damaged packet of the video")))
            skipped = video.skipped
            yield _arrival(frame.time_s, partial(_shown, frame))

    @property
    def settings(self) -> dict[str, Any]:
        """How it is read, as JSON has it."""
        return {"rate_hz": self.rate_hz} if self.paths else {}


@dataclass
class NoRecording(Recording):
    """What was given as a recording and is none: it fails as one that cannot be read does, and stops no other."""

    path: Path
    name: str
    problem: str

    @property
    def bytes(self) -> int:
        """Nothing."""
        return 0

    def lengths(self) -> dict[str, int]:
        """Say what is wrong."""
        raise SourceError(self.problem)

    def __iter__(self) -> Iterator[Arrival]:
        """Say what is wrong."""
        raise SourceError(self.problem)


def recordings(
    inputs: Sequence[str], *, cameras: Mapping[str, str] | None = None, rate_hz: float = 30.0
) -> list[Recording]:
    """What inputs mean, each with a name of its own.

    Args:
        inputs: bags, videos, folders of images or of recordings, image files (those of a folder are one sequence), and
            patterns of such.
        cameras: of bags: names to topics, which count alone.
        rate_hz: images per second of image sequences.

    Returns:
        The recordings; a folder without any is one that cannot be read.

    Raises:
        FileNotFoundError: there is nothing of a name.
        ValueError: two inputs would have one name, or two cameras one topic.
    """
    topics = list((cameras or {}).values())
    if len(set(topics)) < len(topics):
        raise ValueError(f"--camera: got {', '.join(topics)}, expected a topic of its own for each camera")
    found: dict[Path, Recording] = {}
    sequences: dict[Path, list[Path]] = {}
    for path in (path for text in inputs for path in _matching(text)):
        within = _within(path)
        if not within:
            problem = "a folder without bags, videos and images; give what lies deeper by a pattern"
            found[path] = NoRecording(path, path.name, problem)
        for item in within:
            if item.suffix.lower() in IMAGE_SUFFIXES:
                sequences.setdefault(item.parent, []).append(item)
            elif is_bag(item):
                found[item] = BagRecording(item, item.stem if item.is_file() else item.name, cameras or {})
            else:
                found[item] = FrameRecording(item, item.stem)
    for folder, paths in sequences.items():
        ordered = sorted(dict.fromkeys(paths), key=lambda path: natural(path.name))
        found[folder] = FrameRecording(folder, folder.name, ordered, rate_hz)
    return _named(list(found.values()))


def _decoded(message: object) -> RgbArray:
    try:
        check(message)
        check_stamp(message)
    except ImageError as error:
        raise NonsenseError(str(error)) from error
    return to_array(message)


def _arrival(time_s: float, decode: Callable[[], RgbArray]) -> Arrival:
    time_ns = FIRST_NS + round(time_s * NANOSECONDS)
    return Arrival(CAMERA, time_ns, time_ns, CAMERA, decode)


def _raise(error: Exception) -> RgbArray:
    raise error


def _read(path: Path) -> RgbArray:
    try:
        return read_image(path)
    except SourceError as error:
        raise NonsenseError(str(error)) from error


def _shown(frame: Frame) -> RgbArray:
    return frame.rgb


def _matching(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.exists():
        return [path.resolve()]
    matching = [Path(match).resolve() for match in sorted(glob.glob(str(path), recursive=True), key=natural)]
    if not matching:
        raise FileNotFoundError(f"input: nothing matches {text!r}, expected bags, videos, images or folders of them")
    return matching


def _within(path: Path) -> list[Path]:
    """The recordings that a path stands for, or the images: pictures that lie beside recordings are no sequence."""
    if not path.is_dir() or is_bag(path):
        return [path]
    items = sorted(path.iterdir(), key=lambda item: natural(item.name))
    found = [item for item in items if is_bag(item) or item.suffix.lower() in VIDEO_SUFFIXES]
    return found or [item for item in items if item.suffix.lower() in IMAGE_SUFFIXES]


def _named(found: list[Recording]) -> list[Recording]:
    """Where two have one name, the folders that they lie in are told with it."""
    candidates: list[Callable[[Recording], str]] = [
        lambda recording: recording.name,
        lambda recording: f"{recording.path.parent.name}_{recording.name}",
        lambda recording: f"{recording.path.parent.name}_{recording.path.name}",
    ]
    names = {recording.path: candidates[0](recording) for recording in found}
    for candidate in candidates[1:]:
        shared = {name for name in names.values() if list(names.values()).count(name) > 1}
        names |= {each.path: candidate(each) for each in found if names[each.path] in shared}
    if len(set(names.values())) < len(found):
        shared = {name for name in names.values() if list(names.values()).count(name) > 1}
        same = [str(path) for path, name in names.items() if name in shared]
        raise ValueError(f"input: got {', '.join(same)}, which would all be called alike; process them one by one")
    for recording in found:
        recording.name = names[recording.path]
    return found
