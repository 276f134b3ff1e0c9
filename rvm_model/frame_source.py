"""Frames of a video file, a folder of images or a camera device, with the time that each was taken at."""

from __future__ import annotations

import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from rvm_model.preprocess import upright

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files of a folder that are taken for images."""

logger = logging.getLogger(__name__)


class SourceError(ValueError):
    """A source that cannot be opened or has no frames."""


@dataclass(frozen=True)
class Frame:
    """One frame of a source."""

    rgb: npt.NDArray[np.uint8]
    """RGB [H, W, 3]."""
    time_s: float
    """Seconds since the source's first frame."""


class FrameSource(ABC):
    """Yields frames from the beginning each time it is iterated over."""

    rate_hz: float
    """Nominal frames per second."""
    skipped: int = 0
    """Frames that could not be decoded so far; each is left out."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Frames in order."""


class VideoFile(FrameSource):
    """A video file, by PyAV: its best video stream, with the presentation time stamps it carries."""

    def __init__(self, path: Path) -> None:
        """Open the file to see that it can be read.

        Raises:
            SourceError: it cannot, or has no video.
        """
        self.path = path
        with self._open() as container:
            self.rate_hz = float(_best_stream(container, path).average_rate or 30)

    def __iter__(self) -> Iterator[Frame]:
        """Decode the file; damaged packets are skipped, counted and logged."""
        with self._open() as container:
            stream = _best_stream(container, self.path)
            first_s, count = None, 0
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError as error:
                    self.skipped += 1
                    logger.warning("%s: a damaged packet is skipped (%d so far): %s", self.path, self.skipped, error)
                    continue
                for frame in frames:
                    # A stream without time stamps is taken to run at its nominal rate.
                    time_s = count / self.rate_hz if frame.time is None else frame.time
                    first_s = time_s if first_s is None else first_s
                    count += 1
                    rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    yield Frame(upright(rgb, frame.rotation), time_s - first_s)

    def _open(self) -> av.container.InputContainer:
        try:
            return av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(f"source: {self.path} cannot be opened as a video: {error}") from error


class ImageFiles(FrameSource):
    """Images in the order given, each of its own size."""

    def __init__(self, paths: Sequence[Path], rate_hz: float) -> None:
        """List the images.

        Args:
            paths: the files.
            rate_hz: frames per second that the images were taken at.
        """
        self.paths = list(paths)
        self.rate_hz = rate_hz

    @classmethod
    def of_folder(cls, path: Path, rate_hz: float) -> ImageFiles:
        """The images of a folder in the natural order of their names (2 before 10).

        Raises:
            SourceError: there is no image in it.
        """
        found = [item for item in path.iterdir() if item.suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise SourceError(f"source: folder {path} has no image; expected files ending in {sorted(IMAGE_SUFFIXES)}")
        return cls(sorted(found, key=lambda item: natural(item.name)), rate_hz)

    def __iter__(self) -> Iterator[Frame]:
        """Read the images; one that cannot be decoded is skipped, counted and logged, and its time passes."""
        for index, path in enumerate(self.paths):
            try:
                yield Frame(read_image(path), index / self.rate_hz)
            except SourceError as error:
                self.skipped += 1
                logger.warning("%s; it is skipped (%d so far)", error, self.skipped)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Decode an image file to RGB [H, W, 3].

    Raises:
        SourceError: it cannot be decoded.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SourceError(f"{path}: cannot be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


class CameraDevice(FrameSource):
    """A camera of this machine, by OpenCV; its frames are timed when they arrive."""

    def __init__(self, device: str | int) -> None:
        """Open the camera to see that it is there.

        Raises:
            SourceError: it is not.
        """
        self.device = device
        capture = self._open()
        self.rate_hz = capture.get(cv2.CAP_PROP_FPS) or 30.0
        capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the camera stops giving them."""
        capture = self._open()
        try:
            start_s = None
            while True:
                there, bgr = capture.read()
                if not there:
                    return
                now_s = time.monotonic()
                start_s = now_s if start_s is None else start_s
                yield Frame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), now_s - start_s)
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.device)
        if not capture.isOpened():
            raise SourceError(f"source: camera {self.device} cannot be opened; is it connected, and may you read it?")
        return capture


def open_source(source: str, *, folder_rate_hz: float = 30.0) -> FrameSource:
    """Open what a name means: a folder, a device (`/dev/videoN` or a number), or a video file.

    Args:
        source: the name.
        folder_rate_hz: frames per second of a folder's images.

    Raises:
        SourceError: there is nothing of that name, or it cannot be read.
    """
    if source.isdecimal():
        return CameraDevice(int(source))
    path = Path(source).expanduser()
    if not source or not path.exists():
        raise SourceError(f"source: got {source!r}, expected a video file, a folder of images, /dev/videoN or a number")
    if path.is_dir():
        return ImageFiles.of_folder(path, folder_rate_hz)
    return CameraDevice(str(path)) if path.is_char_device() else VideoFile(path)


def _best_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        raise SourceError(f"source: {path} has no video stream")
    stream.thread_type = "AUTO"
    return stream


def natural(name: str) -> list[tuple[int, str]]:
    """By which names sort as people count: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
