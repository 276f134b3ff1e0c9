"""The worker gives the cameras of a moment to the engine as one batch, and goes on whatever one of them does."""

import time

import pytest
import torch

pytest.importorskip("rclpy")

from worker_bench import Bench, Recorded, frame, message, until

from rvm_model.messages.judge import Due
from rvm_model.snapshot import CameraSnapshot
from rvm_ros.camera_stream import Frame
from rvm_ros.worker import FAILURES

pytestmark = pytest.mark.ros


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


def test_the_stages_of_a_frame_add_up_to_its_latency(running):
    bench = running()
    bench.worker.put("a", message(1.0))
    until(lambda: bench.counts().latency.summary())
    summary = bench.counts().latency.summary()
    stages = sum(summary[f"{stage}_max_ms"] for stage in ("wait", "convert", "engine", "heads", "publish"))
    assert stages == pytest.approx(summary["latency_max_ms"])
    assert summary["wait_max_ms"] >= 0


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
