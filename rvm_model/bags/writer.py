"""Writing a bag that outlives its writer: whatever ends the process or fills the disk, what was flushed can be read."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
)
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.metadata import dump_qos_v8
from rosbags.rosbag2.storage_mcap import McapWriter

from rvm_model.bags.errors import BagError
from rvm_model.bags.mcap_file import finish, is_finished
from rvm_model.bags.metadata import VERSION, Part, PartTopic, describe, information, read_part

RESERVE_BYTES = 4 * 2**20
"""Room that is kept on the disk for what makes the bag readable when it is full: the summary of a part."""
CHUNKS = RESERVE_BYTES // 512
"""Chunks of a part, after which it is split whatever its size: its summary has to fit into half of that room."""
RESERVE = ".reserve"
"""Its file, in the bag's folder until it is closed."""


@dataclass(frozen=True)
class Topic:
    """What is written under a name."""

    name: str
    msgtype: str
    """As `sensor_msgs/msg/Image`."""
    definition: str
    """The type's definition with those that it is made of, as ROS 2 joins .msg files."""
    qos: tuple[Qos, ...] = ()
    """What is offered to others by whoever plays the bag. Where that is to keep the last message for those who come
    late, every part begins with the last message of the part before."""

    @property
    def latched(self) -> bool:
        """Whether the last message holds until the next."""
        return any(each.durability is QosDurability.TRANSIENT_LOCAL for each in self.qos)


@dataclass(frozen=True)
class Message:
    """A serialized message."""

    topic: Topic
    time_ns: int
    """Of recording."""
    data: bytes


class BagWriter:
    """A bag folder of MCAP files, one after the other. For one thread at a time.

    The part that is written to is `<name>.mcap`, those that are finished `<name>_0.mcap` and so on; metadata.yaml lists
    these. A bag that was not closed is made whole by `repair`.
    """

    def __init__(
        self,
        folder: Path,
        topics: Sequence[Topic] = (),
        *,
        split_bytes: int = 0,
        split_s: float = 0.0,
        compressed: bool = True,
    ) -> None:
        """Make the folder and begin the first part.

        Args:
            folder: the bag; must not exist.
            topics: what will be written; `add` takes more.
            split_bytes: a part of at least this size is followed by another; 0 for no limit.
            split_s: the same, by the time from its first message to its last.
            compressed: whether chunks are compressed with zstd.

        Raises:
            BagError: the folder exists.
            OSError: it cannot be made.
        """
        self.folder = folder
        self._topics = list(topics)
        self._latching = {topic.name for topic in topics if topic.latched}
        self._split_bytes, self._split_s = split_bytes, split_s
        self._mode = CompressionMode.STORAGE if compressed else CompressionMode.NONE
        self._parts: list[Part] = []
        self._storage: McapWriter | None = None
        self._connections: dict[str, Connection] = {}
        self._latched: dict[str, bytes] = {}
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise BagError(f"{folder}: exists, expected a new folder; nothing is overwritten") from error
        try:
            _reserve(folder / RESERVE)
            self._begin()
        except OSError:
            shutil.rmtree(folder)
            raise

    @property
    def bytes_written(self) -> int:
        """In the part that is written to."""
        return self._storage.bio.tell() if self._storage is not None else 0

    def add(self, topic: Topic) -> None:
        """Declare a topic; a second time does nothing."""
        if topic.name not in self._connections:
            self._topics.append(topic)
            self._connect(topic)
            if topic.latched:
                self._latching.add(topic.name)

    def write(self, topic: str, time_ns: int, data: bytes | memoryview) -> None:
        """Write a serialized message.

        Args:
            topic: one that was declared.
            time_ns: of recording, nanoseconds.
            data: the message in CDR.

        Raises:
            BagError: the bag cannot be written any more, such as on a full disk; it was ended and can be read.
        """
        storage = self._open()
        try:
            storage.write(self._connections[topic], time_ns, data)
            if topic in self._latching:
                self._latched[topic] = bytes(data)
            seconds = (storage.message_end_time - storage.message_start_time) / 1e9
            full = len(storage.chunks) >= CHUNKS or 0 < self._split_bytes <= storage.bio.tell()
            if full or 0 < self._split_s <= seconds:
                self._end_part()
                self._begin()
                for name, latched in self._latched.items():
                    self._open().write(self._connections[name], time_ns, latched)
        except OSError as error:
            raise self._saved(error) from error

    def flush(self) -> None:
        """Hand what was written to the operating system: a process that is killed then loses nothing of it.

        Raises:
            BagError: as of `write`.
        """
        storage = self._open()
        try:
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
        except OSError as error:
            raise self._saved(error) from error

    def close(self) -> None:
        """Finish the last part and metadata.yaml. A second call does nothing.

        Raises:
            BagError: as of `write`.
        """
        if self._storage is None:
            return
        try:
            self._end_part()
        except OSError as error:
            raise self._saved(error) from error
        self._release()

    def _open(self) -> McapWriter:
        if self._storage is None:
            raise BagError(f"{self.folder}: is closed")
        return self._storage

    def _begin(self) -> None:
        self._storage = McapWriter(self.folder, self._mode)
        self._storage.bio.flush()  # A file without its first bytes is nobody's.
        self._connections.clear()
        for topic in self._topics:
            self._connect(topic)

    def _connect(self, topic: Topic) -> None:
        storage = self._open()
        connection = Connection(
            id=len(self._connections) + 1,
            topic=topic.name,
            msgtype=topic.msgtype,
            msgdef=MessageDefinition(MessageDefinitionFormat.MSG, topic.definition),
            digest="",
            msgcount=0,
            ext=ConnectionExtRosbag2("cdr", list(topic.qos)),
            owner=self,
        )
        if all(each.msgtype != topic.msgtype for each in self._connections.values()):
            storage.add_msgtype(connection)
        storage.add_connection(connection, dump_qos_v8(list(topic.qos)))
        self._connections[topic.name] = connection

    def _end_part(self) -> None:
        storage = self._open()
        if storage.chunk.msgs:
            storage.close_chunk()
        part = self._part(storage)
        storage.close(VERSION, yaml.safe_dump(information([part])))
        self._storage = None
        self._put_away(storage.path, part)

    def _part(self, storage: McapWriter) -> Part:
        """What the part that is written to says of itself."""
        topics = [
            PartTopic(topic.name, topic.msgtype, topic.definition, dump_qos_v8(list(topic.qos)), count)
            for topic, count in zip(self._topics, storage.channel_stats.values(), strict=True)
        ]
        return Part(self._name(storage.path), topics, storage.message_start_time, storage.message_end_time)

    def _name(self, part: Path) -> str:
        return f"{part.stem}_{len(self._parts)}.mcap"

    def _put_away(self, path: Path, part: Part) -> None:
        """Name a finished part and list it."""
        path.rename(path.with_name(part.name))
        self._parts.append(part)
        describe(self.folder, self._parts)

    def _saved(self, error: OSError) -> BagError:
        """End the bag after an error, in the room that was kept for it."""
        storage, self._storage = self._storage, None
        self._release()
        told = f"{self.folder}: writing failed ({error})"
        try:
            if storage is None:  # Between two parts, of which the next may have been begun.
                (self.folder / f"{self.folder.name}.mcap").unlink(missing_ok=True)
                describe(self.folder, self._parts)
            else:
                with contextlib.suppress(OSError):
                    storage.bio.close()  # Tries once more to write what is left over, and lets go of the file.
                if not is_finished(storage.path):
                    finish(storage.path)
                self._put_away(storage.path, read_part(storage.path, self._name(storage.path)))
        except (OSError, BagError) as second:
            return BagError(f"{told}, and the bag could not be ended either ({second}); make room and repair it")
        return BagError(f"{told}; what was written before can be read")

    def _release(self) -> None:
        (self.folder / RESERVE).unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        else:
            file.write(bytes(RESERVE_BYTES))
