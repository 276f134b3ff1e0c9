"""The worker gives the cameras of a moment to the engine as one batch, and goes on whatever one of them does."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from rvm_model.camera_heads import Wanted
from rvm_model.messages.judge import Due
from rvm_model.snapshot import CameraSnapshot
from rvm_ros.camera_stream import Frame, StreamSettings
from rvm_ros.worker import FAILURES, Worker, WorkerSettings

pytestmark = pytest.mark.ros
TIMEOUT_S = 10.0
INFO = SimpleNamespace(height=1, width=1, device="cpu", grid=(1, 1))


class Recorded:
    """In place of a Perception: notes which cameras are in a batch, and in which order; fails where it is told to."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[int]]] = []
        self.reset: list[str] = []
        self.decayed: list[tuple[str, float]] = []
        self.states = SimpleNamespace(
            reset=lambda *cameras: self.reset.extend(cameras),
            age=lambda _: 0,
            decay=lambda *each: self.decayed.append(each),
        )
        self.engine = SimpleNamespace(info=INFO)
        self.step_errors: list[Exception] = []
        self.unsound: set[str] = set()

    def prepare(self, frames):
        return torch.cat([torch.full((1, 1, 1, 3), int(image.flat[0])) for image in frames.values()])

    def encode(self, cameras, batch):
        if self.step_errors:
            raise self.step_errors.pop()
        self.batches.append((cameras, batch[:, 0, 0, 0].tolist()))
        return {camera: torch.zeros(2, 4) for camera in cameras}

    def sound(self, features):
        return {camera: camera not in self.unsound for camera in features}


class Heads:
    """In place of CameraHeads: notes what is drawn; fails or waits where it is told to."""

    def __init__(self) -> None:
        self.drawn: list[int] = []
        self.forgotten = 0
        self.broken = False
        self.gate: threading.Event | None = None
        self.drawing = threading.Event()
        self.anew: list[str] = []
        self.needs_every_frame = False

    def draw(self, image, features, wanted, stamp_ns):
        self.drawing.set()
        if self.gate is not None:
            assert self.gate.wait(TIMEOUT_S)
        if self.broken:
            raise RuntimeError("broken heads")
        self.drawn.append(int(image.flat[0]))
        return SimpleNamespace(labels=f"labels of {image.flat[0]}")

    def forget(self):
        self.forgotten += 1

    def start_anew(self, reason):
        self.anew.append(reason)


class Port:
    """In place of a CameraPort: somebody looks at pictures and features."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.labels: list[object] = []
        self.looked_at = True
        self.broken = self.broken_pictures = False

    def check(self, message):
        pass

    def to_array(self, message):
        return message.image

    def wanted(self):
        return Wanted(features=True, overlay=self.looked_at)

    def publish_labels(self, labels):
        self.labels.append(labels)

    def publish(self, outputs, header):
        if self.broken or (self.broken_pictures and isinstance(outputs, SimpleNamespace)):
            raise RuntimeError("broken port")
        self.sent.append(outputs)


class Told(list):
    """In place of a logger."""

    def get_child(self, _):
        return self

    def error(self, text, **_):
        self.append(text)

    warning = info = error


class Bench:
    """A worker of cameras a, b and c with everything around it recorded."""

    def __init__(self, **settings) -> None:
        self.perception, self.told, self.resets, self.headless = Recorded(), Told(), [], []
        self.heads, self.ports = {c: Heads() for c in "abc"}, {c: Port() for c in "abc"}
        self.worker = Worker(
            dict.fromkeys("abc", self.perception),
            self.heads,
            self.ports,
            dict.fromkeys("abc", StreamSettings()),
            settings=WorkerSettings(**settings),
            logger=self.told,
            now_ns=lambda: 0,
            on_reset=self.resets.append,
            on_heads_failure=self.headless.append,
            on_failure=lambda *_: pytest.fail("the worker ended"),
        )
        self.perception.reset.clear()

    def process(self, frames: dict[str, Frame]) -> None:
        """Take frames in without the worker's threads."""
        self.worker._process(self.perception, frames)

    def counts(self, camera: str = "a"):
        return self.worker.streams[camera].counts


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def running():
    """Function starting a bench's threads; they are ended."""
    benches = []

    def start(**settings) -> Bench:
        bench = Bench(**settings)
        bench.worker.start()
        benches.append(bench)
        return bench

    yield start
    for bench in benches:
        for heads in bench.heads.values():
            if heads.gate is not None:
                heads.gate.set()
        bench.worker.stop()


def message(stamp_s: float, value: int = 0):
    nanoseconds = round(stamp_s * 1e9)
    stamp = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    header = SimpleNamespace(stamp=stamp, frame_id="front")
    return SimpleNamespace(image=np.full((1, 1, 3), value, np.uint8), header=header)


def frame(stamp_s: float, value: int = 0, **due) -> Frame:
    sent = message(stamp_s, value)
    batch = torch.full((1, 1, 1, 3), value)
    return Frame(sent, time.monotonic(), Due(**due), sent.image, batch, convert_s=0.0)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_batch_has_the_same_order_whichever_camera_came_first(bench):
    for order in ("bca", "cab", "ca"):
        frames = {camera: frame(1.0, ord(camera)) for camera in order}
        for perception, group in bench.worker._groups(frames):
            bench.worker._process(perception, group)
    assert [cameras for cameras, _ in bench.perception.batches] == [["a", "b", "c"], ["a", "b", "c"], ["a", "c"]]
    assert all([chr(value) for value in values] == cameras for cameras, values in bench.perception.batches)


def test_cameras_of_different_input_sizes_go_through_their_own_engines(bench):
    other = Recorded()
    bench.worker.swap({"a": bench.perception, "b": other, "c": bench.perception}, bench.heads)
    for perception, group in bench.worker._groups({camera: frame(1.0) for camera in "cba"}):
        bench.worker._process(perception, group)
    assert [cameras for cameras, _ in bench.perception.batches] == [["a", "c"]]
    assert [cameras for cameras, _ in other.batches] == [["b"]]


def test_a_frame_that_was_prepared_for_another_engine_is_prepared_again(bench):
    bench.process({"a": Frame(message(1.0, 7), 0.0, Due(), message(1.0, 7).image, torch.zeros(1, 5, 5, 3), 0.0)})
    assert bench.perception.batches == [(["a"], [7])]


def test_a_reset_that_is_due_comes_before_the_frame_and_is_told(bench):
    bench.process({"a": frame(1.0), "b": frame(1.0)})
    bench.process({"a": frame(4.0, reset="gap"), "b": frame(1.1)})
    assert (bench.perception.reset, bench.resets) == (["a"], ["a"])
    counts = bench.counts()
    assert (counts.last_reset, counts.last_reset_ns, counts.resets) == ("gap", 4 * 10**9, {"gap": 1})


def test_a_state_fades_for_the_time_that_was_not_seen():
    bench = Bench(decay_half_life_s=2.0)
    bench.process({"a": frame(1.0, decay_s=4.0)})
    assert bench.perception.decayed == [("a", 0.25)]
    assert bench.perception.reset == []


def test_the_time_between_the_frames_of_a_state_is_kept(bench):
    for stamp_s, reset in ((1.0, ""), (1.5, ""), (9.0, "gap"), (9.25, "")):
        bench.process({"a": frame(stamp_s, reset=reset)})
    assert bench.counts().intervals.summary()["max"] == 0.5
    assert bench.counts().intervals.summary()["p50"] == 0.375


def test_a_step_that_fails_costs_the_frames_and_the_states_and_no_more(bench, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.001)
    bench.perception.step_errors = [torch.OutOfMemoryError("2 GB")] * (FAILURES - 1)
    for index in range(FAILURES - 1):
        bench.process({camera: frame(1 + 0.1 * index) for camera in "ab"})
        time.sleep(0.02)
    assert bench.counts()["processed"] == 0
    assert set(bench.perception.reset) == {"a", "b"}
    assert (bench.counts()["failed"], bench.counts().last_reset) == (FAILURES - 1, "engine failed")
    assert any("frame lost" in line and "2 GB" in line for line in bench.told)
    bench.process({camera: frame(2.0) for camera in "ab"})
    assert bench.counts()["processed"] == 1
    bench.perception.step_errors = [RuntimeError("again")] * (FAILURES - 1)
    for index in range(FAILURES - 1):
        bench.process({"a": frame(3 + 0.1 * index)})  # They are counted anew.
        time.sleep(0.02)


def test_steps_that_go_on_failing_end_the_worker(bench, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.001)
    bench.perception.step_errors = [RuntimeError("broken")] * FAILURES
    for index in range(FAILURES - 1):
        bench.process({"a": frame(1 + 0.1 * index)})
        time.sleep(0.02)
    with pytest.raises(RuntimeError, match="broken"):
        bench.process({"a": frame(2.0)})


def test_a_failed_engine_is_not_tried_again_at_once_and_its_frames_are_told_as_lost(bench, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 60)
    bench.perception.step_errors = [RuntimeError("broken")]
    for index in range(3):
        bench.process({"a": frame(1 + 0.1 * index)})
    assert bench.perception.batches == []
    assert bench.counts()["failed"] == 3
    assert any("failed just before" in line for line in bench.told)


def test_an_engine_that_fails_holds_up_no_other_and_ends_the_worker_all_the_same(bench, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.001)
    other = Recorded()
    other.step_errors = [RuntimeError("broken")] * FAILURES
    bench.worker.swap({"a": bench.perception, "b": other, "c": bench.perception}, bench.heads)
    for index in range(FAILURES - 1):
        for perception, group in bench.worker._groups({c: frame(1 + 0.1 * index) for c in "ab"}):
            bench.worker._process(perception, group)
        time.sleep(0.02)
    assert len(bench.perception.batches) == FAILURES - 1
    with pytest.raises(RuntimeError, match="broken"):
        bench.worker._process(other, {"b": frame(2.0)})


def test_memory_that_runs_out_before_the_step_is_a_failed_step_too(bench, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.001)

    def decay(*_):
        raise torch.OutOfMemoryError("2 GB")

    bench.perception.states.decay = decay
    bench.process({"a": frame(1.0, decay_s=1.0)})
    assert (bench.counts()["failed"], bench.counts().last_reset) == (1, "engine failed")


def test_features_that_are_not_finite_start_that_camera_anew_and_are_not_sent(bench):
    bench.perception.unsound = {"a"}
    bench.process({camera: frame(1.0) for camera in "ab"})
    assert (bench.ports["a"].sent, len(bench.ports["b"].sent)) == ([], 1)
    assert bench.perception.reset == ["a"]
    assert (bench.counts()["failed"], bench.counts().last_reset, bench.counts()["processed"]) == (1, "not finite", 0)
    assert any("not finite" in line for line in bench.told)


def test_outputs_that_cannot_be_sent_cost_one_frame_of_one_camera(bench):
    bench.ports["a"].broken = True
    bench.process({camera: frame(1.0) for camera in "ab"})
    assert (bench.counts("a")["failed"], bench.counts("b")["failed"]) == (1, 0)
    assert bench.perception.reset == []
    assert "broken port" in bench.told[-1]


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


def test_the_stages_of_a_frame_add_up_to_its_latency(running):
    bench = running()
    bench.worker.put("a", message(1.0))
    until(lambda: bench.counts().latency.summary())
    summary = bench.counts().latency.summary()
    stages = sum(summary[f"{stage}_max_ms"] for stage in ("wait", "convert", "engine", "heads", "publish"))
    assert stages == pytest.approx(summary["latency_max_ms"])
    assert summary["wait_max_ms"] >= 0


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


def test_a_frame_that_came_before_a_snapshot_was_loaded_does_not_start_it_anew(bench):
    snapshot = CameraSnapshot(torch.zeros(1, 2, 4), 7, "sha256:0")
    bench.perception.states.get = lambda _: None
    bench.perception.states.put = lambda *_: None
    bench.heads["a"].recall = lambda _: None
    bench.perception.engine.info.digest = "sha256:0"
    waiting = frame(9.0, reset="gap")
    bench.worker.recall({"a": snapshot})
    bench.process({"a": waiting})
    assert bench.perception.reset == []
    bench.process({"a": frame(20.0, reset="gap")})
    assert bench.perception.reset == ["a"]


def test_an_action_that_did_not_begin_is_cancelled_with_the_worker(bench):
    future = bench.worker.between_frames(lambda: None)
    bench.worker.stop()
    assert future.cancelled()
