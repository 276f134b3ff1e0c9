"""Beside the worker's engine: pictures drawn in threads of their own, and actions between frames."""

import threading
from concurrent.futures import TimeoutError as FutureTimeoutError

import pytest

pytest.importorskip("rclpy")

from worker_bench import TIMEOUT_S, frame, message, until

pytestmark = pytest.mark.ros


def test_heads_that_fail_cost_the_pictures_of_one_camera(running):
    bench = running()
    bench.heads["a"].broken = True
    for camera in "ab":
        bench.worker.put(camera, message(1.0, 5))
    until(lambda: bench.heads["b"].drawn and bench.counts("a")["failed"])
    assert (bench.headless, bench.heads["a"].forgotten) == (["a"], 1)
    assert (bench.counts("a")["failed"], bench.counts("b")["failed"]) == (1, 0)
    assert (bench.counts("a")["processed"], bench.perception.reset) == (1, [])
    assert any("broken heads" in line for line in bench.told)


def test_pictures_that_take_long_hold_up_neither_their_camera_nor_others(running):
    bench = running()
    bench.heads["a"].gate = threading.Event()
    for index in range(5):
        for camera in "ab":
            bench.worker.put(camera, message(1 + 0.1 * index, index))
        until(lambda done=index + 1: all(bench.counts(camera)["processed"] == done for camera in "ab"))
        assert bench.heads["a"].drawing.wait(TIMEOUT_S)
    until(lambda: 4 in bench.heads["b"].drawn)
    assert bench.heads["a"].drawn == []
    bench.heads["a"].gate.set()
    until(lambda: bench.heads["a"].drawn == [0, 4])
    assert bench.counts("a")["pictures_dropped"] == 3


def test_where_every_frame_counts_the_engine_waits_for_the_pictures(running):
    bench = running(every=True, queue_length=10)
    bench.heads["a"].gate = threading.Event()
    for index in range(6):
        bench.worker.put("a", message(1 + 0.1 * index, index))
    until(lambda: bench.counts()["processed"] == 3)  # One is drawn, one waits for that, and one for room.
    bench.heads["a"].gate.set()
    until(lambda: bench.heads["a"].drawn == list(range(6)))
    assert (bench.counts()["dropped"], bench.counts()["pictures_dropped"]) == (0, 0)


def test_nothing_is_drawn_that_nobody_looks_at_but_for_prompts(running):
    bench = running()
    for camera in "ab":
        bench.ports[camera].looked_at = False
    bench.heads["b"].needs_every_frame = True
    for camera in "ab":
        bench.worker.put(camera, message(1.0, 5))
    until(lambda: bench.heads["b"].drawn and bench.counts("a")["processed"])
    bench.worker.between_frames(lambda: None).result(timeout=TIMEOUT_S)
    assert bench.heads["a"].drawn == []


def test_a_picture_that_cannot_be_sent_drops_nothing_that_the_heads_follow(running):
    bench = running()
    bench.ports["a"].broken_pictures = True
    bench.worker.put("a", message(1.0))
    until(lambda: bench.counts()["failed"])
    assert (bench.heads["a"].drawn, bench.heads["a"].forgotten, bench.headless) == ([0], 0, [])


def test_labels_are_those_that_the_picture_was_drawn_by(running):
    bench = running()
    bench.worker.put("a", message(1.0, 7))
    until(lambda: bench.ports["a"].labels)
    assert bench.ports["a"].labels == ["labels of 7"]


def test_the_heads_are_told_when_a_state_starts_anew(bench):
    bench.process({"a": frame(1.0), "b": frame(1.0)})
    bench.process({"a": frame(9.0, reset="gap")})
    assert (bench.heads["a"].anew, bench.heads["b"].anew) == (["activated", "gap"], ["activated"])


def test_an_action_runs_between_frames_when_the_pictures_are_done(running):
    bench = running()
    bench.heads["a"].gate = threading.Event()
    bench.worker.put("a", message(1.0, 5))
    until(lambda: bench.counts()["processed"])
    drawn = bench.worker.between_frames(lambda: list(bench.heads["a"].drawn))
    with pytest.raises(FutureTimeoutError):
        drawn.result(timeout=0.1)
    bench.heads["a"].gate.set()
    assert drawn.result(timeout=TIMEOUT_S) == [5]


def test_who_asked_for_an_action_is_told_what_it_raised_and_the_worker_goes_on(running):
    bench = running()
    with pytest.raises(ZeroDivisionError):
        bench.worker.between_frames(lambda: 1 / 0).result(timeout=TIMEOUT_S)
    bench.worker.put("a", message(1.0))
    until(lambda: bench.counts()["processed"])


def test_frames_come_between_actions_however_many_there_are(running):
    bench = running()
    ended = threading.Event()

    def again() -> None:
        if not ended.is_set():
            bench.worker.between_frames(again)

    again()
    for index in range(5):
        bench.worker.put("a", message(1 + 0.1 * index))
        until(lambda done=index + 1: bench.counts()["processed"] == done)
    ended.set()


def test_what_is_done_to_one_cameras_heads_waits_for_its_picture_and_holds_nothing_up(running):
    bench = running()
    bench.heads["a"].gate = threading.Event()
    bench.worker.put("a", message(1.0, 5))
    assert bench.heads["a"].drawing.wait(TIMEOUT_S)
    marked = bench.worker.pictures.between("a", lambda: list(bench.heads["a"].drawn))
    for index in range(5):
        bench.worker.put("b", message(1 + 0.1 * index))
        until(lambda done=index + 1: bench.counts("b")["processed"] == done)
    assert not marked.done()
    bench.heads["a"].gate.set()
    assert marked.result(timeout=TIMEOUT_S) == [5]


def test_an_action_of_a_worker_that_ended_is_cancelled_at_once(bench):
    bench.worker.stop()
    assert bench.worker.between_frames(lambda: None).cancelled()
    assert bench.worker.pictures.between("a", lambda: None).cancelled()


def test_an_action_that_did_not_begin_is_cancelled_with_the_worker(bench):
    future = bench.worker.between_frames(lambda: None)
    bench.worker.stop()
    assert future.cancelled()
