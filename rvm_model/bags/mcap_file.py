"""MCAP files that were not written to their end, as a killed process or a full disk leaves them.

Such a file has all of its messages, in chunks, but not the summary behind them by which readers find them (MCAP
specification, https://mcap.dev/spec).
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.stream_reader import get_chunk_data_stream

from rvm_model.bags.errors import BagError
from rvm_model.bags.metadata import Part, PartTopic, information

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
"""Before every record: what it is, and how long."""
_OUTSIDE = {Opcode.MESSAGE: "messages", Opcode.SCHEMA: "schemas", Opcode.CHANNEL: "channels"}


@dataclass(frozen=True)
class Finished:
    """What became of a file."""

    messages: int
    """In the file."""
    dropped_bytes: int
    """At its end, that were no whole record."""


@dataclass(frozen=True)
class _Chunk:
    index: ChunkIndex
    """What the summary says of it; complete once the records behind the chunk are found or written."""
    messages: dict[int, list[tuple[int, int]]]
    """Channel to times and places of its messages in the chunk."""

    @property
    def end(self) -> int:
        """Of the chunk in the file, where the indexes of its messages begin."""
        return self.index.chunk_start_offset + self.index.chunk_length

    @property
    def is_indexed(self) -> bool:
        """Whether the indexes of all its messages are known."""
        return self.index.message_index_offsets.keys() == self.messages.keys()


@dataclass
class _Found:
    end: int
    """Of the last whole record."""
    chunks: list[_Chunk] = field(default_factory=list)
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)


def is_finished(path: Path) -> bool:
    """Whether a file was written to its end: it ends as it begins.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begins = file.read(len(MAGIC)) == MAGIC
        size = file.seek(0, 2)
        file.seek(max(0, size - len(MAGIC)))
        return begins and size > len(MAGIC) and file.read() == MAGIC


def finish(path: Path) -> Finished:
    """Write the summary of a file that lacks it, in its place: what is no whole record at its end is cut off.

    Needs no more room than the summary. Metadata and attachments stay, but are not in the summary.

    Raises:
        BagError: the file is no MCAP, is finished, or has messages outside of chunks.
        OSError: it cannot be read or written.
    """
    if is_finished(path):
        raise BagError(f"{path}: is finished, there is nothing to repair")
    with path.open("r+b") as file:
        begins = file.read(len(MAGIC))
        if not MAGIC.startswith(begins):
            raise BagError(f"{path}: is no MCAP file, expected it to begin with {MAGIC!r}")
        if begins != MAGIC:  # Cut off before anything was in it.
            file.seek(0)
            file.write(MAGIC)
        size = file.seek(0, 2)
        found = _scan(path, file, size)
        file.truncate(found.end)
        file.seek(found.end)
        if found.end == len(MAGIC):
            file.write(_bytes(Header("ros2", "rvm")))  # Cut off in its first record: an empty file, but a whole one.
        if found.chunks and not found.chunks[-1].is_indexed:
            _write_indexes(file, found.chunks[-1])
        file.write(_summary(found, file.tell(), path.name))
    messages = sum(len(times) for chunk in found.chunks for times in chunk.messages.values())
    return Finished(messages, size - found.end)


def _scan(path: Path, file: BinaryIO, size: int) -> _Found:
    """Find the whole records, and leave off where a record is cut off or damaged."""
    found = _Found(end=len(MAGIC))
    while found.end + _HEAD.size <= size:
        file.seek(found.end)
        opcode, length = _HEAD.unpack(file.read(_HEAD.size))
        end = found.end + _HEAD.size + length
        if end > size or opcode in (0, Opcode.DATA_END, Opcode.FOOTER):
            break  # Zeros are what a file system leaves of pages that never reached the disk.
        if opcode in _OUTSIDE:
            raise BagError(
                f"{path}: got {_OUTSIDE[opcode]} outside of chunks, expected the chunks that rosbag2 and we write; try "
                "`mcap recover`"
            )
        try:
            if opcode == Opcode.CHUNK:
                found.chunks.append(_chunk(Chunk.read(ReadDataStream(file)), found, end))
            elif opcode == Opcode.MESSAGE_INDEX and found.chunks:
                chunk = found.chunks[-1]
                chunk.index.message_index_offsets[MessageIndex.read(ReadDataStream(file)).channel_id] = found.end
                chunk.index.message_index_length = end - chunk.end
        except Exception:  # zstd, lz4 and the parser have errors of their own; whichever it is, the record is damaged.
            break
        found.end = end
    if found.chunks and not found.chunks[-1].is_indexed:
        found.end = found.chunks[-1].end
        found.chunks[-1].index.message_index_offsets.clear()
    return found


def _chunk(chunk: Chunk, found: _Found, end: int) -> _Chunk:
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    if size != chunk.uncompressed_size:
        raise McapError(f"got {size} bytes in a chunk of {chunk.uncompressed_size}")
    messages = defaultdict[int, list[tuple[int, int]]](list)
    while stream.count < size:
        place, opcode, length = stream.count, stream.read1(), stream.read8()
        content = ReadDataStream(BytesIO(stream.read(length)))
        if opcode == Opcode.MESSAGE:
            message = Message.read(content, length)
            messages[message.channel_id].append((message.log_time, place))
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(content)
            found.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(content)
            found.channels[channel.id] = channel
    index = ChunkIndex(
        chunk_length=end - found.end,
        chunk_start_offset=found.end,
        compression=chunk.compression,
        compressed_size=len(chunk.data),
        message_end_time=chunk.message_end_time,
        message_index_length=0,
        message_index_offsets={},
        message_start_time=chunk.message_start_time,
        uncompressed_size=chunk.uncompressed_size,
    )
    return _Chunk(index, dict(messages))


def _write_indexes(file: BinaryIO, chunk: _Chunk) -> None:
    """Write where a chunk's messages are, behind it."""
    for channel, times in chunk.messages.items():
        chunk.index.message_index_offsets[channel] = file.tell()
        file.write(_bytes(MessageIndex(channel, times)))
    chunk.index.message_index_length = file.tell() - chunk.end


def _summary(found: _Found, start: int, name: str) -> bytes:
    """The end of the file, which begins at `start`."""
    statistics = _statistics(found)
    # Newer rosbag2 takes a file without this record for one of another version.
    metadata = _bytes(Metadata("rosbag2", {"serialized_metadata": yaml.safe_dump(_described(found, statistics, name))}))
    head = metadata + _bytes(DataEnd(0))
    groups: list[tuple[Opcode, list[McapRecord]]] = [
        (Opcode.SCHEMA, list(found.schemas.values())),
        (Opcode.CHANNEL, list(found.channels.values())),
        (Opcode.CHUNK_INDEX, [chunk.index for chunk in found.chunks]),
        (Opcode.METADATA_INDEX, [MetadataIndex(length=len(metadata), name="rosbag2", offset=start)]),
        (Opcode.STATISTICS, [statistics]),
    ]
    summary_start = start + len(head)
    content, offsets = b"", b""
    for opcode, records in groups:
        group = b"".join(_bytes(record) for record in records)
        if group:
            offsets += _bytes(SummaryOffset(opcode, summary_start + len(content), len(group)))
        content += group
    footer = Footer(summary_start, summary_start + len(content), 0)
    return head + content + offsets + _bytes(footer) + MAGIC


def _described(found: _Found, statistics: Statistics, name: str) -> dict[str, Any]:
    """What metadata.yaml would say of the file alone."""
    topics = [
        PartTopic(
            channel.topic,
            found.schemas[channel.schema_id].name,
            found.schemas[channel.schema_id].data.decode(errors="replace"),
            channel.metadata.get("offered_qos_profiles", ""),
            statistics.channel_message_counts.get(number, 0),
            found.schemas[channel.schema_id].encoding,
        )
        for number, channel in found.channels.items()
        if channel.schema_id in found.schemas
    ]
    return information([Part(name, topics, statistics.message_start_time, statistics.message_end_time)])


def _statistics(found: _Found) -> Statistics:
    counts = {channel: 0 for channel in found.channels}
    times = []
    for chunk in found.chunks:
        for channel, each in chunk.messages.items():
            counts[channel] = counts.get(channel, 0) + len(each)
            times += [min(each)[0], max(each)[0]]
    return Statistics(
        attachment_count=0,
        channel_count=len(found.channels),
        channel_message_counts=counts,
        chunk_count=len(found.chunks),
        message_count=sum(counts.values()),
        message_end_time=max(times, default=0),
        message_start_time=min(times, default=0),
        metadata_count=1,
        schema_count=len(found.schemas),
    )


def _bytes(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())
