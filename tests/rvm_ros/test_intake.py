"""Messages wait, are decoded beside each other, and are gathered into batches."""

import threading
from collections import Counter

import pytest

from rvm_ros.intake import Intake, Policy

TIMEOUT_S = 10.0


class Decoder:
    """Makes `(camera, item)` of an item; waits where it is told to; None of a negative one."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {camera: threading.Event() for camera in "ab"}
        self.made: list[tuple[str, int]] = []

    def __call__(self, camera: str, item: list[int]) -> list[int] | None:
        self.begun[camera].set()
        if camera in self.gates:
            assert self.gates[camera].wait(TIMEOUT_S)
        self.made.append((camera, item[-1]))
        return None if item[-1] < 0 else item


@pytest.fixture
def decoder():
    return Decoder()


@pytest.fixture
def dropped():
    return Counter()


@pytest.fixture
def start(decoder, dropped):
    started = []

    def make(*, every: bool = False, length: int = 1) -> Intake[list[int], list[int]]:
        # What is dropped is put before the next, so that a test sees both.
        policy = Policy(every, length, merge=list.__add__, on_drop=dropped.update)
        intake = Intake("ab", decoder, policy)
        intake.start()
        started.append(intake)
        return intake

    yield make
    for gate in decoder.gates.values():
        gate.set()
    for intake in started:
        intake.close()
        intake.join()


def in_thread(function):
    """Function's result when it returns, from a thread."""
    results: list = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


def test_cameras_that_have_a_message_come_together(start):
    intake = start()
    intake.put("a", [1])
    intake.put("b", [2])
    assert intake.take() == {"a": [1], "b": [2]}


def test_the_newest_message_wins_and_takes_over_what_the_others_owed(start, decoder, dropped):
    intake = start()
    for number in (1, 2, 3):
        intake.put("a", [number])
    assert intake.take() == {"a": [1, 2, 3]}
    assert decoder.made == [("a", 3)], "none is decoded in vain"
    assert dropped == {"a": 2}


def test_nothing_is_decoded_before_the_engine_asks(start, decoder):
    intake = start()
    intake.put("a", [1])
    assert not decoder.begun["a"].wait(0.2)
    assert intake.take() == {"a": [1]}


def test_an_image_that_takes_long_to_decode_holds_no_other_camera_up(start, decoder):
    decoder.gates["a"] = threading.Event()
    intake = start()
    intake.put("a", [1])
    for number in range(5):
        intake.put("b", [number])
        assert intake.take() == {"b": [number]}
    decoder.gates["a"].set()
    assert intake.take() == {"a": [1]}


def test_while_a_frame_is_ready_no_newer_one_is_decoded_which_would_be_old_at_the_next_step(start, decoder):
    decoder.gates["b"] = threading.Event()
    intake = start()
    intake.put("a", [1])
    intake.put("b", [0])
    thread, results = in_thread(intake.take)  # It has a's, and waits a little for b's.
    assert all(decoder.begun[camera].wait(TIMEOUT_S) for camera in "ab")
    intake.put("a", [2])
    thread.join(TIMEOUT_S)
    assert results == [{"a": [1]}]
    assert decoder.made == [("a", 1)], "the second is decoded when the engine asks again"
    assert intake.take() == {"a": [2]}


def test_a_message_that_is_no_good_does_not_come(start):
    intake = start()
    thread, results = in_thread(intake.take)
    intake.put("a", [-1])
    thread.join(0.2)
    assert thread.is_alive()
    intake.put("b", [1])
    thread.join(TIMEOUT_S)
    assert results == [{"b": [1]}]


def test_every_message_comes_in_order_where_each_counts(start, dropped):
    intake = start(every=True, length=10)
    for number in range(5):
        intake.put("a", [number])
    assert [intake.take() for _ in range(5)] == [{"a": [number]} for number in range(5)]
    assert not dropped


def test_more_than_may_wait_are_dropped_from_the_oldest_on(start, decoder, dropped):
    decoder.gates["a"] = threading.Event()
    intake = start(every=True, length=2)
    intake.put("a", [0])
    assert decoder.begun["a"].wait(TIMEOUT_S)
    for number in range(1, 6):
        intake.put("a", [number])
    decoder.gates["a"].set()
    assert [intake.take() for _ in range(3)] == [{"a": [0]}, {"a": [1, 2, 3, 4]}, {"a": [5]}]
    assert dropped == {"a": 3}


def test_a_wake_comes_through_with_or_without_a_frame(start):
    intake = start()
    intake.wake()
    assert intake.take() == {}
    thread, results = in_thread(intake.take)
    intake.wake()
    thread.join(TIMEOUT_S)
    assert results == [{}]


def test_closing_ends_the_wait(start):
    intake = start()
    thread, results = in_thread(intake.take)
    thread.join(0.1)
    assert thread.is_alive()
    intake.close()
    thread.join(TIMEOUT_S)
    assert results == [None]
