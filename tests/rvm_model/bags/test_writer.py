"""Bags that are written: what readers find in them, and what is left of them when something ends the writing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.typesys import Stores, get_typestore

from rvm_model.bags import BagError, BagWriter, Topic, repair
from rvm_model.bags.metadata import NAME
from rvm_model.bags.writer import RESERVE

STORE = get_typestore(Stores.ROS2_HUMBLE)
STRING, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/Image"
FOREVER = QosTime(2147483647, 4294967295)
LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, FOREVER, FOREVER,
    QosLiveliness.AUTOMATIC, FOREVER, False,
)  # fmt: skip


def topic(name: str, msgtype: str = STRING, *qos: Qos) -> Topic:
    return Topic(name, msgtype, STORE.generate_msgdef(msgtype, ros_version=2)[0], qos)


def text(content: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[STRING](data=content), STRING))


def texts(folder: Path) -> dict[str, list[tuple[int, str]]]:
    """By topic, the times and texts that rosbags reads."""
    found: dict[str, list[tuple[int, str]]] = {}
    with AnyReader([folder]) as reader:
        for connection, time_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append((time_ns, reader.deserialize(data, connection.msgtype).data))
    return found


def noise(size: int) -> str:
    """A text that hardly gets smaller."""
    return np.random.default_rng(0).integers(0, 256, size // 2, np.uint8).tobytes().hex()


@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_written_is_read_by_rosbags_and_by_mcaps_own_reader(tmp_path, compressed):
    folder = tmp_path / "run"
    writer = BagWriter(folder, [topic("/a"), topic("/b", STRING, LATCHED)], compressed=compressed)
    writer.add(topic("/c"))
    for index in range(5):
        writer.write("/a", 10 + index, text(f"a{index}"))
    writer.flush()
    writer.write("/b", 12, text("b"))
    writer.close()
    writer.close()
    assert texts(folder) == {"/a": [(10 + index, f"a{index}") for index in range(5)], "/b": [(12, "b")]}
    with (folder / "run_0.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert [message.log_time for _, _, message in reader.iter_messages()] == [10, 11, 12, 12, 13, 14]
    assert {each.topic for each in summary.channels.values()} == {"/a", "/b", "/c"}
    assert {each.compression for each in summary.chunk_indexes} == {"zstd" if compressed else ""}
    with AnyReader([folder]) as reader:
        by_topic = {connection.topic: connection for connection in reader.connections}
    assert by_topic["/b"].ext.offered_qos_profiles == [LATCHED]
    assert by_topic["/a"].digest == STORE.hash_rihs01(STRING)
    assert sorted(path.name for path in folder.iterdir()) == [NAME, "run_0.mcap"]


def test_metadata_tells_times_and_counts(tmp_path):
    writer = BagWriter(tmp_path / "run", [topic("/a")])
    for time_ns in (5_000_000_000, 7_500_000_000):
        writer.write("/a", time_ns, text("x"))
    writer.close()
    told = yaml.safe_load((tmp_path / "run" / NAME).read_text())["rosbag2_bagfile_information"]
    assert (told["version"], told["storage_identifier"], told["message_count"]) == (8, "mcap", 2)
    assert told["starting_time"]["nanoseconds_since_epoch"] == 5_000_000_000
    assert told["duration"]["nanoseconds"] == 2_500_000_000
    (only,) = told["topics_with_message_count"]
    assert (only["topic_metadata"]["name"], only["message_count"]) == ("/a", 2)
    with (tmp_path / "run" / "run_0.mcap").open("rb") as file:
        (inside,) = make_reader(file).iter_metadata()
    assert yaml.safe_load(inside.metadata["serialized_metadata"]) == told


def test_parts_are_split_by_size_and_by_time(tmp_path):
    by_size = BagWriter(tmp_path / "size", [topic("/a")], split_bytes=3_000_000)
    for index in range(10):
        by_size.write("/a", index, text(noise(1_000_000)))
        by_size.flush()
    by_size.close()
    by_time = BagWriter(tmp_path / "time", [topic("/a")], split_s=2.0)
    for index in range(7):
        by_time.write("/a", index * 10**9, text("x"))
    by_time.close()
    for folder, parts, messages in ((tmp_path / "size", 2, 10), (tmp_path / "time", 3, 7)):
        told = yaml.safe_load((folder / NAME).read_text())["rosbag2_bagfile_information"]
        assert len(told["relative_file_paths"]) >= parts
        assert told["relative_file_paths"] == [f"{folder.name}_{index}.mcap" for index in range(len(told["files"]))]
        assert sum(file["message_count"] for file in told["files"]) == told["message_count"] == messages
        assert len(texts(folder)["/a"]) == messages


def test_a_part_begins_with_what_was_latched_before(tmp_path):
    writer = BagWriter(tmp_path / "run", [topic("/status", STRING, LATCHED), topic("/a")], split_s=1.0)
    writer.write("/status", 0, text("first"))
    writer.write("/status", 1, text("second"))
    for index in range(4):
        writer.write("/a", index * 10**9, text("x"))
    writer.close()
    again = [(second * 10**9, "second") for second in (1, 2, 3)]
    assert texts(tmp_path / "run")["/status"] == [(0, "first"), (1, "second"), *again]


def test_an_empty_bag_is_a_bag(tmp_path):
    BagWriter(tmp_path / "run", [topic("/a")]).close()
    assert texts(tmp_path / "run") == {}


def test_nothing_is_overwritten_and_nothing_written_after_the_end(tmp_path):
    writer = BagWriter(tmp_path / "run", [topic("/a")])
    with pytest.raises(BagError, match="exists, expected a new folder"):
        BagWriter(tmp_path / "run")
    writer.close()
    with pytest.raises(BagError, match="is closed"):
        writer.write("/a", 0, text("x"))


ENDLESS = """
import sys, time
from pathlib import Path
from test_writer import text, topic
from rvm_model.bags import BagWriter
writer = BagWriter(Path(sys.argv[1]), [topic("/a")], split_bytes=200_000)
index = 0
while True:
    writer.write("/a", index, text(f"{index:06d}" + "x" * 1000))
    index += 1
    if index % 20 == 0:
        writer.flush()
        print(index, flush=True)
"""


@pytest.mark.parametrize("after", [40, 2000])
def test_a_writer_that_is_killed_loses_nothing_that_it_had_flushed(tmp_path, after):
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    flushed = 0
    while flushed < after:
        flushed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    flushed = max([flushed, *map(int, process.stdout.read().split())])
    process.wait()
    told = repair(folder)
    assert "messages kept" in told
    found = texts(folder)["/a"]
    assert [time_ns for time_ns, _ in found] == list(range(len(found)))
    assert len(found) >= flushed
    assert all(content.startswith(f"{index:06d}x") for index, content in found)
    assert not (folder / RESERVE).exists()
    with pytest.raises(BagError, match="nothing to repair"):
        repair(folder)


@pytest.mark.parametrize("left", [0, 3])
def test_the_part_of_a_killed_writer_replaces_no_other_whatever_the_bags_name(tmp_path, left):
    folder = tmp_path / "rvm_2026_11_22-09_30_02"
    writer = BagWriter(folder, [topic("/a")], split_s=2e-9)
    for index in range(15):
        writer.write("/a", index, text("x"))
    live = folder / f"{folder.name}.mcap"
    writer.flush()
    os.truncate(live, left or live.stat().st_size)
    repair(folder)
    found = [time_ns for time_ns, _ in texts(folder)["/a"]]
    assert found == list(range(len(found)))
    assert len(found) == (15 if not left else 15 - 15 % 3)
    with AnyReader([folder]) as reader:
        assert reader.message_count == len(found)


def test_a_part_that_was_just_begun_costs_no_other(tmp_path):
    folder = tmp_path / "run"
    writer = BagWriter(folder, [topic("/a")])
    writer.write("/a", 0, text("x"))
    writer.close()
    for left in (b"", b"\x89MC", b"\x89MCAP0\r\n"):
        (folder / "run.mcap").write_bytes(left)
        assert "run.mcap: 0 messages kept" in repair(folder)
        assert [time_ns for time_ns, _ in texts(folder)["/a"]] == [0]


def test_a_part_that_is_not_listed_is_listed_again(tmp_path):
    folder = tmp_path / "run"
    writer = BagWriter(folder, [topic("/a")], split_s=1e-9)
    for index in range(4):
        writer.write("/a", index, text("x"))
    writer.close()
    content = yaml.safe_load((folder / NAME).read_text())
    content["rosbag2_bagfile_information"]["relative_file_paths"].pop()
    (folder / NAME).write_text(yaml.safe_dump(content))
    assert "lists" in repair(folder)
    assert [time_ns for time_ns, _ in texts(folder)["/a"]] == [0, 1, 2, 3]


def test_what_is_no_part_is_left_out_of_a_repaired_bag(tmp_path):
    folder = tmp_path / "run"
    writer = BagWriter(folder, [topic("/a")])
    writer.write("/a", 0, text("x"))
    writer.close()
    (folder / "run_1.mcap").write_bytes(b"something else")
    (folder / NAME).unlink()
    assert "run_1.mcap: is no MCAP file, expected it to begin with" in repair(folder)
    assert [time_ns for time_ns, _ in texts(folder)["/a"]] == [0]


def test_a_disk_that_fills_at_any_moment_leaves_all_that_was_written_listed(small_disk, tmp_path):
    disk = small_disk(6)
    for pages in range(0, 40, 3):
        folder = disk / "run"
        writer = BagWriter(folder, [topic("/a")], split_bytes=60_000, compressed=False)
        filler, free = disk / "filler", shutil.disk_usage(disk).free
        filler.write_bytes(bytes(max(0, free - 4096 * (pages + 30))))
        counts = {"written": 0, "flushed": 0}
        with pytest.raises(BagError, match=r"No space left on device.*can be read"):
            write_without_end(writer, counts)
        found = [time_ns for time_ns, _ in texts(folder)["/a"]]
        assert found == list(range(len(found))), pages
        assert counts["flushed"] <= len(found), pages
        filler.unlink()
        shutil.rmtree(folder)


def test_a_part_is_split_before_its_summary_is_larger_than_the_reserve(tmp_path, monkeypatch):
    monkeypatch.setattr("rvm_model.bags.writer.CHUNKS", 5)
    writer = BagWriter(tmp_path / "run", [topic("/a")])
    for index in range(12):
        writer.write("/a", index, text("x"))
        writer.flush()
    writer.close()
    assert len(list((tmp_path / "run").glob("*.mcap"))) == 3
    assert [time_ns for time_ns, _ in texts(tmp_path / "run")["/a"]] == list(range(12))


def test_a_repaired_file_tells_rosbag2_its_version(tmp_path):
    writer = BagWriter(tmp_path / "run", [topic("/a")])
    writer.write("/a", 7, text("x"))
    writer.flush()
    repair(tmp_path / "run" / "run.mcap")
    with (tmp_path / "run" / "run.mcap").open("rb") as file:
        (record,) = make_reader(file, validate_crcs=True).iter_metadata()
    said = yaml.safe_load(record.metadata["serialized_metadata"])
    assert (record.name, said["version"], said["message_count"]) == ("rosbag2", 8, 1)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.77, 0.95, 0.999])
def test_a_file_that_is_cut_off_anywhere_is_repaired_to_its_last_whole_chunk(tmp_path, share):
    folder = tmp_path / "run"
    writer = BagWriter(folder, [topic("/a"), topic("/b")])
    for index in range(60):
        writer.write("/ab"[:1] + "ab"[index % 2], index, text(noise(5000)))
        if index % 10 == 9:
            writer.flush()
    writer.close()
    part = folder / "run_0.mcap"
    with part.open("r+b") as file:
        file.truncate(8 + int((part.stat().st_size - 8) * share))
    (folder / NAME).unlink()
    repair(folder)
    found = sorted(time_ns for messages in texts(folder).values() for time_ns, _ in messages)
    assert found == list(range(len(found)))
    assert len(found) % 10 == 0
    assert (len(found) >= 10) == (share >= 0.3)
    with part.open("rb") as file:
        assert len(list(make_reader(file, validate_crcs=True).iter_messages())) == len(found)


def test_zeros_after_a_loss_of_power_and_damaged_chunks_are_dropped(tmp_path):
    folder = tmp_path / "run"
    writer = BagWriter(folder, [topic("/a")])
    for index in range(3):
        writer.write("/a", index, text(noise(5000)))
        writer.flush()
    written = writer.bytes_written
    writer.write("/a", 3, text(noise(5000)))
    writer.flush()
    with (folder / "run.mcap").open("r+b") as file:
        file.seek(written + 100)
        file.write(bytes(10_000))
    repair(folder)
    assert [time_ns for time_ns, _ in texts(folder)["/a"]] == [0, 1, 2]


def test_what_is_no_bag_is_not_repaired(tmp_path):
    with pytest.raises(BagError, match=r"got no \.mcap files"):
        repair(tmp_path)
    (tmp_path / "x.mcap").write_bytes(b"something else")
    with pytest.raises(BagError, match="is no MCAP file"):
        repair(tmp_path)


def write_without_end(writer: BagWriter, counts: dict[str, int]) -> None:
    while True:
        writer.write("/a", counts["written"], text(noise(20_000)))
        counts["written"] += 1
        if counts["written"] % 5 == 0:
            writer.flush()
            counts["flushed"] = counts["written"]


@pytest.mark.parametrize("split_bytes", [0, 300_000])
def test_a_full_disk_ends_the_bag_with_an_error_and_leaves_it_readable(small_disk, tmp_path, split_bytes):
    disk = small_disk(7)
    writer = BagWriter(disk / "run", [topic("/a")], split_bytes=split_bytes)
    counts = {"written": 0, "flushed": 0}
    with pytest.raises(BagError, match=r"No space left on device.*can be read"):
        write_without_end(writer, counts)
    assert counts["written"] > 50
    found = texts(disk / "run")["/a"]
    assert [time_ns for time_ns, _ in found] == list(range(len(found)))
    assert counts["flushed"] <= len(found) <= counts["written"] + 1
    assert not (disk / "run" / RESERVE).exists()
    with pytest.raises(BagError, match="is closed"):
        writer.write("/a", 0, text("x"))


def test_a_disk_that_is_full_from_the_start_is_told_and_nothing_is_left(small_disk, tmp_path):
    disk = small_disk(2)
    with pytest.raises(OSError, match="No space left on device"):
        BagWriter(disk / "run", [topic("/a")])
    assert not (disk / "run").exists()
