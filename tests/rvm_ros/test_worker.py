"""The worker gives the cameras of a moment to the engine as one batch."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from rvm_ros.image_headers import ImageError
from rvm_ros.worker import FAILURES, Received, Worker

pytestmark = pytest.mark.ros


class Recorded:
    """In place of a Perception: notes which cameras are in a batch, and in which order; fails where it is told to."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[int]]] = []
        self.states = SimpleNamespace(reset=lambda camera: self.reset.append(camera), age=lambda _: 0)
        self.reset: list[str] = []
        self.rendered: list[str] = []
        self.headless: list[str] = []
        self.step_errors: list[Exception] = []
        self.broken_heads: set[str] = set()
        self.unsound: set[str] = set()

    def prepare(self, frames):
        return np.stack(list(frames.values()))

    def encode(self, cameras, batch):
        if self.step_errors:
            raise self.step_errors.pop()
        self.batches.append((cameras, batch[:, 0].tolist()))
        return dict.fromkeys(cameras)

    def sound(self, features):
        return {camera: camera not in self.unsound for camera in features}

    def render(self, camera, *_):
        if camera in self.broken_heads:
            raise RuntimeError(f"heads of {camera}")
        self.rendered.append(camera)

    def forget_heads(self, camera):
        self.headless.append(camera)


class Told(list):
    """In place of a logger."""

    def get_child(self, _):
        return self

    def error(self, text, **_):
        self.append(text)

    warning = info = error


@pytest.fixture
def perception():
    return Recorded()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def worker(perception, told):
    """A worker of cameras a, b and c, not started: tests take what it was given themselves."""

    def to_array(message):
        if isinstance(message.frame, Exception):
            raise message.frame
        return message.frame

    def check(message):
        if message.header.stamp.sec > 1_000_000:
            raise ImageError("got step 0")

    port = SimpleNamespace(check=check, to_array=to_array, wanted=lambda: None, publish=lambda *_: None)
    return Worker(perception, dict.fromkeys("abc", port), max_gap_s=1.0, logger=told, on_failure=pytest.fail)


def message(stamp_s, frame=0):
    nanoseconds = round(stamp_s * 1e9)
    stamp = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return SimpleNamespace(frame=np.array([frame]), header=SimpleNamespace(stamp=stamp))


def broken(stamp_s, error):
    result = message(stamp_s)
    result.frame = error
    return result


def test_a_batch_has_the_same_order_whichever_camera_came_first(worker, perception):
    for second, order in enumerate(("bca", "cab", "ca"), start=1):
        worker._process({camera: Received(message(second, ord(camera)), 0.0) for camera in order})
    assert [cameras for cameras, _ in perception.batches] == [["a", "b", "c"], ["a", "b", "c"], ["a", "c"]]
    assert all([chr(frame) for frame in frames] == cameras for cameras, frames in perception.batches)


def test_frames_that_a_slow_node_drops_are_no_pause_of_the_camera(worker):
    for tenth in range(10, 50):
        worker.put("a", message(tenth / 10))
    assert worker._mailbox.take()["a"].reset == ""
    assert worker.counts["a"].dropped == 39
    worker._process({"a": Received(message(5.0), 0.0)})
    assert worker.counts["a"].resets == 0


def test_a_pause_of_the_camera_is_not_lost_with_the_frame_that_showed_it(worker):
    for stamp_s in (1.0, 3.0, 3.1):
        worker.put("a", message(stamp_s))
    received = worker._mailbox.take()
    assert received["a"].reset == "gap"
    assert received["a"].message.header.stamp.sec == 3
    worker._process(received)
    assert (worker.counts["a"].resets, worker.counts["a"].last_reset) == (1, "gap")


def test_nonsense_replaces_no_good_image_and_its_stamp_is_not_believed(worker, told):
    worker.put("a", message(1.0))
    worker.put("a", message(2_000_000.0))
    worker.put("a", message(1.1))
    assert worker._mailbox.take()["a"].reset == ""
    assert (worker.counts["a"].refused, worker.counts["a"].dropped) == (1, 1)
    assert told == ["image refused: got step 0 (1 refused so far)"]


def test_what_was_there_already_is_counted_and_not_processed(worker):
    for stamp_s in (1.0, 1.1, 1.1, 1.05):
        worker.put("a", message(stamp_s))
    assert worker._mailbox.take()["a"].message.header.stamp.nanosec == 100_000_000
    counts = worker.counts["a"]
    assert (counts.received, counts.dropped, counts.duplicates, counts.late) == (4, 1, 1, 1)


@pytest.mark.parametrize("error", [ImageError("got step 1"), MemoryError(), RuntimeError("foreign code")])
def test_an_image_that_cannot_be_decoded_is_refused_and_the_other_cameras_go_on(worker, perception, told, error):
    worker._process({"a": Received(broken(1.0, error), 0.0), "b": Received(message(1.0), 0.0)})
    assert [cameras for cameras, _ in perception.batches] == [["b"]]
    assert worker.counts["a"].refused == 1
    assert str(error) in told[-1]
    assert ("Traceback" in told[-1]) == (not isinstance(error, ImageError)), "where to look for what nobody expected"


def test_a_camera_that_was_not_seen_for_long_starts_anew(worker):
    def put_and_process(item):
        worker.put("a", item)
        worker._process(worker._mailbox.take())

    put_and_process(message(1.0))
    for tenth in range(11, 15):
        put_and_process(broken(tenth / 10, ImageError("cut off")))
    put_and_process(message(1.5))
    assert worker.counts["a"].resets == 0, "half a second was not seen"
    for tenth in range(16, 30):
        put_and_process(broken(tenth / 10, ImageError("cut off")))
    put_and_process(message(3.0))
    assert (worker.counts["a"].resets, worker.counts["a"].last_reset) == (1, "gap")
    put_and_process(message(3.1))
    assert worker.counts["a"].resets == 1


def both(stamp_s):
    return {camera: Received(message(stamp_s), 0.0) for camera in "ab"}


def test_a_step_that_fails_costs_the_frames_and_the_states_and_no_more(worker, perception, told, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.001)
    perception.reset.clear()
    perception.step_errors = [torch.OutOfMemoryError("2 GB")] * (FAILURES - 1)
    for index in range(FAILURES - 1):
        worker._process(both(1 + 0.1 * index))
    assert perception.rendered == []
    assert perception.reset == ["a", "b"] * (FAILURES - 1)
    assert (worker.counts["a"].failed, worker.counts["a"].last_reset) == (FAILURES - 1, "engine failed")
    assert any("frame lost" in line and "2 GB" in line for line in told)
    worker._process(both(2.0))
    assert perception.rendered == ["a", "b"]
    perception.step_errors = [RuntimeError("again")] * (FAILURES - 1)
    for index in range(FAILURES - 1):
        worker._process(both(3 + 0.1 * index))  # They are counted anew.


def test_steps_that_go_on_failing_end_the_worker(worker, perception, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.001)
    perception.step_errors = [RuntimeError("broken")] * FAILURES
    for index in range(FAILURES - 1):
        worker._process(both(1 + 0.1 * index))
    with pytest.raises(RuntimeError, match="broken"):
        worker._process(both(2.0))


def test_a_pause_after_a_failed_step_does_not_hold_up_the_end(worker, perception, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 60)
    perception.step_errors = [RuntimeError("broken")]
    worker.start()
    worker.put("a", message(1.0))
    deadline = time.monotonic() + 10
    while not worker.counts["a"].failed and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    assert time.monotonic() < deadline


def test_features_that_are_not_finite_start_that_camera_anew_and_are_not_sent(worker, perception, told):
    perception.reset.clear()
    perception.unsound = {"a"}
    worker._process(both(1.0))
    assert perception.rendered == ["b"]
    assert perception.reset == ["a"]
    assert (worker.counts["a"].failed, worker.counts["a"].last_reset) == (1, "not finite")
    assert worker.counts["a"].processed == 0
    assert any("not finite" in line for line in told)


def test_heads_that_fail_cost_one_frame_of_one_camera(worker, perception, told):
    perception.reset.clear()
    perception.broken_heads = {"a"}
    worker._process(both(1.0))
    assert (perception.rendered, perception.headless, perception.reset) == (["b"], ["a"], [])
    assert worker.counts["a"].failed == 1
    assert "heads of a" in told[-1]
