"""Messages from callbacks into bags: what is kept from before, what is dropped and told, and how it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from rvm_model.bags import BagError, BagWriter, Message, Topic
from rvm_model.bags.feature_coding import LATCHED, STRING, definition
from rvm_ros.recorder.tape import Preparation, Tape

STORE = get_typestore(Stores.ROS2_HUMBLE)
SECOND = 10**9


def message(time_s: float, content: str = "x", topic: str = "/a", latched: bool = False) -> Message:
    data = bytes(STORE.serialize_cdr(STORE.types[STRING](data=content), STRING))
    return Message(Topic(topic, STRING, definition(STRING), (LATCHED,) if latched else ()), int(time_s * SECOND), data)


def recorded(folder: Path) -> list[tuple[str, float, str]]:
    with AnyReader([folder]) as reader:
        return [
            (connection.topic, time_ns / SECOND, reader.deserialize(data, connection.msgtype).data)
            for connection, time_ns, data in reader.messages()
        ]


@pytest.fixture
def tape():
    """Function making a tape that is closed at the end."""
    made = []

    def make(**options) -> Tape:
        made.append(Tape(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_all_between_start_and_stop_is_recorded(tape, tmp_path):
    one = tape()
    one.put(message(0, "before"))
    one.start(tmp_path / "run", SECOND)
    for index in range(100):
        one.put(message(1 + index, str(index)))
    progress = one.stop()
    one.put(message(200, "after"))
    assert recorded(tmp_path / "run") == [("/a", 1.0 + index, str(index)) for index in range(100)]
    assert (progress.recording, progress.messages, progress.dropped, progress.problem) == (False, 100, 0, "")
    assert progress.bag == str(tmp_path / "run")


def test_the_last_seconds_before_the_start_are_recorded_too_and_what_was_latched(tape, tmp_path):
    one = tape(keep_s=2.0)
    one.put(message(0, "labels", "/labels", latched=True))
    for index in range(10):
        one.put(message(1 + index, str(index)))
    one.start(tmp_path / "run", 11 * SECOND)
    one.put(message(11, "new"))
    one.stop()
    kept = [("/a", 8.0, "7"), ("/a", 9.0, "8"), ("/a", 10.0, "9"), ("/a", 11.0, "new")]
    assert recorded(tmp_path / "run") == [("/labels", 8.0, "labels"), *kept]


def test_what_is_kept_is_bounded_by_its_size_too(tape, tmp_path):
    one = tape(keep_s=1000.0, buffer_bytes=5000)
    for index in range(100):
        one.put(message(index, "x" * 1000))
    one.start(tmp_path / "run", 100 * SECOND)
    one.stop()
    assert [time_s for _, time_s, _ in recorded(tmp_path / "run")] == [96.0, 97.0, 98.0, 99.0]


def test_less_than_was_asked_for_is_told_once(tape):
    told = []
    one = tape(keep_s=50.0, buffer_bytes=5000, on_problem=told.append)
    for index in range(60):
        one.put(message(index, "x" * 1000))
    assert told == ["keep_s: only the last 3.0 of 50.0 s fit into buffer_mb, 0; raise it, or record less"]


def test_what_was_kept_of_a_run_whose_time_began_anew_is_let_go(tape, tmp_path):
    one = tape(keep_s=1000.0)
    for time_s in (100, 101, 102, 5, 6):
        one.put(message(time_s))
    one.start(tmp_path / "run", 7 * SECOND)
    one.stop()
    assert [time_s for _, time_s, _ in recorded(tmp_path / "run")] == [5.0, 6.0]


class Slow(Preparation):
    def prepare(self, message: Message) -> list[Message]:
        time.sleep(0.05)
        return [message]


def test_an_end_that_may_not_wait_gives_up_what_waits_and_leaves_a_whole_bag(tape, tmp_path):
    one = tape(preparation=Slow())
    one.start(tmp_path / "run", 0)
    for index in range(200):
        one.put(message(index))
    begin_s = time.monotonic()
    one.close(within_s=0.3)
    assert time.monotonic() - begin_s < 5
    progress = one.progress
    assert progress.messages + progress.dropped == 200
    assert 0 < progress.messages < 200
    assert len(recorded(tmp_path / "run")) == progress.messages


class Blocked(Preparation):
    """Waits with the first message."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def prepare(self, message: Message) -> list[Message]:
        self.reached.set()
        self.go_on.wait(30)
        return [message]


def test_messages_that_a_slow_disk_has_no_time_for_are_counted(tape, tmp_path):
    blocked = Blocked()
    one = tape(preparation=blocked, buffer_bytes=5000)
    one.start(tmp_path / "run", 0)
    one.put(message(0))
    assert blocked.reached.wait(30)
    for index in range(1, 11):
        one.put(message(index, "x" * 1000))
    blocked.go_on.set()
    progress = one.stop()
    assert (progress.messages, progress.dropped) == (5, 6)
    assert [time_s for _, time_s, _ in recorded(tmp_path / "run")] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_recordings_follow_each_other_and_never_overlap(tape, tmp_path):
    one = tape()
    one.start(tmp_path / "first", 0)
    with pytest.raises(BagError, match="is being recorded; stop that first"):
        one.start(tmp_path / "second", 0)
    one.put(message(1, "a"))
    one.stop()
    with pytest.raises(BagError, match="exists"):
        one.start(tmp_path / "first", 0)
    one.start(tmp_path / "second", 0)
    one.put(message(2, "b"))
    assert one.stop().messages == 1
    assert one.stop().messages == 1
    assert [recorded(tmp_path / name) for name in ("first", "second")] == [[("/a", 1.0, "a")], [("/a", 2.0, "b")]]


class Fails(Preparation):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def prepare(self, message: Message) -> list[Message]:
        if message.time_ns == SECOND:
            raise self.error
        return [message]


def test_a_message_that_cannot_be_prepared_is_told_and_costs_no_other(tape, tmp_path):
    told = []
    one = tape(preparation=Fails(ValueError("got nonsense")), on_problem=told.append)
    one.start(tmp_path / "run", 0)
    for index in range(3):
        one.put(message(index))
    assert one.stop().messages == 2
    assert told == ["/a: a message was not recorded: got nonsense"]


@pytest.mark.parametrize("error", [BagError("the disk is full"), KeyError("a mistake of ours")])
def test_what_ends_a_recording_is_told_and_another_can_be_made(tape, tmp_path, monkeypatch, error):
    told = []
    one = tape(on_problem=told.append)

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(BagWriter, "write", fail)
        one.start(tmp_path / "run", 0)
        one.put(message(0))
        progress = one.stop()
    assert not progress.recording
    assert str(error) in progress.problem
    (only,) = told
    assert only.startswith("recording ended: ")
    one.start(tmp_path / "again", 0)
    one.put(message(1))
    assert (one.stop().messages, one.progress.problem) == (1, "")
