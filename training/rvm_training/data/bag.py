"""Images of ROS bags, without ROS: rosbag2 folders (sqlite3, MCAP) and ROS 1 files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.image import ImageError, message_to_cvimage
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""Message types that hold pictures."""


_OTHERS = {"mono16", *(f"{kind}C{count}" for kind in ("16U", "16S", "32S", "32F", "64F") for count in range(1, 5))}
"""Encodings that depth cameras and others use."""
_log = logging.getLogger(__name__)


class BagError(ValueError):
    """A bag that cannot be read, or has no images. The message says what was found and what was expected."""


def is_bag(path: Path) -> bool:
    """Whether a path is a bag and not a video: a folder with metadata.yaml, or a file .bag.

    Raises:
        BagError: a file out of a bag's folder.
    """
    if path.suffix in (".mcap", ".db3") and path.is_file():
        raise BagError(f"{path}: is a part of a bag; expected its folder, which has metadata.yaml (`ros2 bag reindex`)")
    return (path / "metadata.yaml").is_file() or path.suffix == ".bag"


def image_topics(path: Path) -> dict[str, int]:
    """Topics of a bag with colour or grey images of 8 bits, and how many messages each has.

    Topics without messages are left out, and those of depth and other images, which is logged.

    Raises:
        BagError: the bag cannot be read, or has no such images.
    """
    with _open(path) as reader:
        topics: dict[str, int] = {}
        for connection in _images(reader):
            if not connection.msgcount:
                continue
            _, _, data = next(reader.messages([connection]))
            message: Any = reader.deserialize(data, connection.msgtype)
            kind = getattr(message, "encoding", None) or message.format
            if kind in _OTHERS or "compressedDepth" in kind:
                _log.warning("%s: %s is left out, it holds %s", path, connection.topic, kind)
                continue
            topics[connection.topic] = topics.get(connection.topic, 0) + connection.msgcount
        if not topics:
            others = sorted({connection.msgtype for connection in reader.connections})
            raise BagError(f"{path}: got messages of {others}, expected images of 8 bits in {', '.join(IMAGES)}")
        return topics


def read_images(path: Path, topic: str, indices: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode some messages of an image topic, by their place in the order of recording, in one pass over the topic.

    Args:
        path: the bag.
        topic: one of `image_topics`.
        indices: distinct, ascending.

    Yields:
        uint8 RGB [H, W, 3] each.

    Raises:
        BagError: the bag or an image cannot be read, or the topic has fewer messages.
    """
    missing = set(indices)
    with _open(path) as reader:
        connections = [connection for connection in _images(reader) if connection.topic == topic]
        for index, (connection, _, data) in enumerate(reader.messages(connections)):
            if index not in missing:
                continue
            message: Any = reader.deserialize(data, connection.msgtype)
            try:
                image = np.array(message_to_cvimage(message, "rgb8"), dtype=np.uint8)
            except (ImageError, ValueError, AssertionError, cv2.error) as error:  # It asserts that OpenCV decoded.
                raise BagError(f"{path}: image {index} of {topic} cannot be decoded ({error})") from error
            yield image
            missing.remove(index)
            if not missing:
                return
    if missing:
        found = len(indices) - len(missing)
        raise BagError(f"{path}: got {found} of {len(indices)} images of {topic}; the bag ends before")


@contextmanager
def _open(path: Path) -> Iterator[AnyReader]:
    try:
        # Bags before ROS 2 Iron do not carry the definitions of their messages.
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except AnyReaderError as error:
        raise BagError(f"{path}: is no bag that can be read ({error})") from error


def _images(reader: AnyReader) -> Iterable[Connection]:
    return (connection for connection in reader.connections if connection.msgtype in IMAGES)
