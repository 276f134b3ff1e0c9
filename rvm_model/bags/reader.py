"""Reading bags without ROS: rosbag2 folders and files (MCAP, sqlite3), as recorded, damaged or old, and ROS 1 bags.

Of a bag only images, and what is asked for by name, are deserialized, with the definitions of ROS itself and not the
bag's own: early ROS 2 bags carry none, and a definition that cannot be read, of a type that nobody asks for, is no
reason to refuse a bag.
"""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zstandard
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.typesys import Stores, get_typestore

from rvm_model.bags.errors import BagError
from rvm_model.bags.mcap_file import is_finished
from rvm_model.bags.metadata import NAME

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""Message types that hold pictures."""
PARTS = (".mcap", ".db3")
"""Files that a rosbag2 bag is made of; with `.zstd` behind it, one that is compressed as a whole."""
_ZSTD = b"\x28\xb5\x2f\xfd"
"""What zstd data begins with, and no message: those begin with the byte 0."""
_OLD_NAME = re.compile(r"(\w+)/(\w+)")
_log = logging.getLogger(__name__)


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a folder with a bag's files or metadata.yaml, such a file, or a ROS 1 `.bag`."""
    if path.is_dir():
        return (path / NAME).is_file() or bool(_parts(path))
    return path.suffix == ".bag" or _is_part(path)


class Bag:
    """An open bag."""

    def __init__(self, path: Path, readers: Collection[Reader1 | Reader2], unpack: bool) -> None:
        """Of readers that are open; use `open_bag`.

        Args:
            path: of the bag.
            readers: of one kind, each for a part of it, or one for all of it.
            unpack: whether messages may be compressed one by one, without anything that says so.
        """
        self.path = path
        self._readers = readers
        self._unpack = unpack
        self._is_ros1 = any(isinstance(reader, Reader1) for reader in readers)
        self._store = get_typestore(Stores.ROS1_NOETIC if self._is_ros1 else Stores.ROS2_HUMBLE)
        self._type_of: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        """Topics in the order of the bag, with their numbers of messages."""
        for reader in readers:
            for connection in reader.connections:
                self._type_of.setdefault(connection.topic, _modern(connection.msgtype))
                self.counts[connection.topic] = self.counts.get(connection.topic, 0) + connection.msgcount

    @property
    def types(self) -> dict[str, str]:
        """Topics with the names of their messages' types as ROS 2 has them now, `sensor_msgs/msg/Image`."""
        return dict(self._type_of)

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Messages of some topics in the order of recording: topic, nanoseconds of recording, the message's bytes.

        Raises:
            BagError: the bag is damaged from here on.
        """
        try:
            yield from heapq.merge(*(self._of(reader, topics) for reader in self._readers), key=itemgetter(1))
        except Exception as error:  # sqlite, zstd, lz4 and the parsers have errors of their own.
            raise BagError(f"{self.path}: is damaged and cannot be read on ({_told(error)})") from error

    def deserialize(self, topic: str, data: bytes) -> Any:
        """A message of a topic, with the fields of its type.

        Raises:
            BagError: its type is none of ROS's own, or the bytes are no message of that type.
        """
        kind = self._type_of[topic]
        try:
            if self._is_ros1:
                return self._store.deserialize_ros1(data, kind)
            return self._store.deserialize_cdr(data, kind)
        except Exception as error:  # Cut off or damaged, it ends in an error of whatever tripped over it.
            raise BagError(
                f"{self.path}: {topic}: got {len(data)} bytes that are no {kind} ({_told(error)})"
            ) from error

    def _of(self, reader: Reader1 | Reader2, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        connections = [connection for connection in reader.connections if connection.topic in topics]
        if not connections:
            return  # None would mean all.
        for connection, time_ns, data in reader.messages(connections):
            if self._unpack and data.startswith(_ZSTD):
                data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            yield connection.topic, time_ns, data


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a bag.

    Args:
        path: a rosbag2 folder, with or without metadata.yaml; one of its files, whole bags of their own; a ROS 1 bag.

    Raises:
        BagError: it cannot be read, or was not written to its end.
        OSError: it is not there, or may not be read.
    """
    with ExitStack() as stack:
        yield _opened(path, stack)


def _opened(path: Path, stack: ExitStack) -> Bag:
    files = [path] if path.is_file() else _parts(path)
    for file in files:
        if file.suffix == ".mcap" and not is_finished(file):
            raise BagError(f"{file}: was not written to its end; `rvm bag repair {path}` finishes it")
    try:
        if path.suffix == ".bag" and path.is_file():
            return Bag(path, [stack.enter_context(Reader1(path))], unpack=False)
        if path.is_dir() and _has_metadata(path):
            return Bag(path, [stack.enter_context(Reader2(path))], unpack=False)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no bag there")
        if not files:
            raise BagError(
                f"{path}: got no bag, expected {NAME} or files ending in {', '.join(PARTS)}, or a .bag of ROS 1"
            )
        parts = [_unpacked(file, stack) for file in files]
        return Bag(path, [stack.enter_context(Reader2(part)) for part in parts], unpack=True)
    except (BagError, OSError):
        raise
    except Exception as error:  # The readers' own errors, and those of the libraries below them.
        raise BagError(f"{path}: is no bag that can be read ({_told(error)})") from error


def _has_metadata(path: Path) -> bool:
    """Whether metadata.yaml says what is in the bag; a recorder that was killed leaves none, or an empty one."""
    try:
        said = (path / NAME).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        said = ""
    if not said and _parts(path):
        _log.warning("%s: %s is missing or empty, the bag's files are read as they are", path, NAME)
    return bool(said)


def _is_part(path: Path) -> bool:
    return Path(path.name.removesuffix(".zstd")).suffix in PARTS


def _parts(folder: Path) -> list[Path]:
    """The files of a bag in the order of recording: rosbag2 counts them, and does not pad the numbers."""
    found = [path for path in folder.iterdir() if path.is_file() and _is_part(path)] if folder.is_dir() else []
    return sorted(found, key=lambda path: [int(n) if n.isdecimal() else n for n in re.split(r"(\d+)", path.name)])


def _unpacked(file: Path, stack: ExitStack) -> Path:
    """The file itself, or where it is compressed as a whole a copy that is not, for as long as the bag is open."""
    if file.suffix != ".zstd":
        return file
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="rvm_bag_")))
    unpacked = folder / file.stem
    with file.open("rb") as packed, unpacked.open("wb") as target:
        zstandard.ZstdDecompressor().copy_stream(packed, target)
    return unpacked


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _modern(msgtype: str) -> str:
    """`sensor_msgs/Image`, as the first bags of ROS 2 named a type, in today's form."""
    match = _OLD_NAME.fullmatch(msgtype)
    return f"{match[1]}/msg/{match[2]}" if match else msgtype
