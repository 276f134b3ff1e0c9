"""The file metadata.yaml of a bag, which says what its parts hold (rosbag2, version 8: Humble and later read it)."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from rvm_model.bags.errors import BagError

NAME = "metadata.yaml"
VERSION = 8


@dataclass(frozen=True)
class PartTopic:
    """A topic in one file."""

    name: str
    msgtype: str
    definition: str
    qos: str
    """What its publishers offered, YAML."""
    messages: int
    encoding: str = "ros2msg"
    """How the definition is written: ros2msg or ros2idl."""


@dataclass(frozen=True)
class Part:
    """What one file of a bag holds."""

    name: str
    topics: Sequence[PartTopic]
    start_ns: int
    end_ns: int
    """Times of the first and the last message; of no meaning where there are none."""

    @property
    def messages(self) -> int:
        """Of all topics."""
        return sum(topic.messages for topic in self.topics)


def describe(folder: Path, parts: Sequence[Part]) -> None:
    """Write a bag's metadata.yaml.

    Args:
        folder: the bag.
        parts: its files, in the order of recording.

    Raises:
        OSError: it cannot be written.
    """
    content = {"rosbag2_bagfile_information": information(parts)}
    # Beside it and then in its place: whoever reads meanwhile finds one or the other, whole.
    partial = folder / f"{NAME}.tmp"
    partial.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    os.replace(partial, folder / NAME)


def information(parts: Sequence[Part]) -> dict[str, Any]:
    """What metadata.yaml says of a bag of these parts."""
    topics: dict[str, PartTopic] = {}
    counts: dict[str, int] = {}
    for part in parts:
        for topic in part.topics:
            topics.setdefault(topic.name, topic)
            counts[topic.name] = counts.get(topic.name, 0) + topic.messages
    filled = [part for part in parts if part.messages]
    start_ns = min((part.start_ns for part in filled), default=0)
    return {
        "version": VERSION,
        "storage_identifier": "mcap",
        "relative_file_paths": [part.name for part in parts],
        "duration": {"nanoseconds": max((part.end_ns for part in filled), default=0) - start_ns},
        "starting_time": {"nanoseconds_since_epoch": start_ns},
        "message_count": sum(counts.values()),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.msgtype,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": topic.qos,
                    "type_description_hash": _hash(topic.msgtype, topic.encoding, topic.definition),
                },
                "message_count": counts[topic.name],
            }
            for topic in topics.values()
        ],
        "compression_format": "",
        "compression_mode": "",
        "files": [
            {
                "path": part.name,
                "starting_time": {"nanoseconds_since_epoch": part.start_ns if part.messages else 0},
                "duration": {"nanoseconds": part.end_ns - part.start_ns if part.messages else 0},
                "message_count": part.messages,
            }
            for part in parts
        ],
        "custom_data": None,
        "ros_distro": "rosbags",
    }


def read_part(file: Path, name: str = "") -> Part:
    """What a finished file says of itself.

    Args:
        file: an MCAP file.
        name: what it will be called; empty for its name.

    Raises:
        BagError: it is not finished, or damaged.
        OSError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            summary = make_reader(stream).get_summary()
    except McapError as error:
        raise BagError(f"{file}: cannot be read ({error}), expected a finished MCAP file; repair the bag") from error
    if summary is None or summary.statistics is None:
        raise BagError(f"{file}: got no summary, expected a finished MCAP file; repair the bag")
    statistics, topics = summary.statistics, []
    for number, channel in summary.channels.items():
        schema = summary.schemas[channel.schema_id]
        topics.append(
            PartTopic(
                channel.topic,
                schema.name,
                schema.data.decode(errors="replace"),
                channel.metadata.get("offered_qos_profiles", ""),
                statistics.channel_message_counts.get(number, 0),
                schema.encoding,
            )
        )
    return Part(name or file.name, topics, statistics.message_start_time, statistics.message_end_time)


@functools.cache
def _hash(msgtype: str, encoding: str, definition: str) -> str:
    """The type's hash (REP 2016), by its definition; empty where that cannot be read."""
    store = get_typestore(Stores.EMPTY)
    try:
        if encoding == "ros2idl":
            store.register(get_types_from_idl(definition))
        else:
            store.register(get_types_from_msg(definition, msgtype))
        return str(store.hash_rihs01(msgtype))
    except (TypesysError, KeyError):
        return ""
