"""Saving, loading, starting anew and changing the engine of a node that runs, by its services and parameters."""

from __future__ import annotations

import resource
import threading
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter
from robot import Robot
from std_srvs.srv import Trigger

from rvm_ros import reload, services

pytestmark = pytest.mark.ros


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)


def held(monkeypatch) -> threading.Event:
    """Engines are loaded when this is set."""
    gate, load = threading.Event(), reload.load
    monkeypatch.setattr(reload, "load", lambda *args: load(*args) if gate.wait(30) else None)
    return gate


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_restart_from_a_snapshot_is_the_uninterrupted_run_to_the_last_bit(robot, engine):
    first = robot(engine=engine)
    for index in range(4):
        first.see(10 + 0.1 * index, index)
    response = first.ask("save_state")
    assert response.success, response.message
    assert "camera (4 frames)" in response.message
    uninterrupted = [first.see(10.4 + 0.1 * index, 10 + index) for index in range(3)]
    first.end()
    again = robot(engine=engine)
    again.see(500.0, 99)  # It saw something else meanwhile, at another time.
    response = again.ask("load_state")
    assert response.success, response.message
    assert again.wait_for_status(lambda told: told["state_age"] == 4)["engine"].startswith("sha256:")
    restarted = [again.see(900.4 + 0.1 * index, 10 + index) for index in range(3)]
    assert all(same(a, b) for a, b in zip(uninterrupted, restarted, strict=True))
    assert again.told()["resets"] == {}


def test_a_snapshot_of_another_engine_is_refused_and_the_state_goes_on(robot, other_checkpoint):
    first = robot()
    first.see(10.0, 0)
    assert first.ask("save_state").success
    first.end()
    other = robot(model=str(other_checkpoint))
    other.see(10.0, 0)
    response = other.ask("load_state")
    assert not response.success
    assert "a state means nothing to another engine" in response.message
    assert other.node.worker.perception("camera").states.age("camera") == 1


def test_nothing_is_saved_or_loaded_where_no_file_is_given(robot):
    node = robot(state_file="")
    for service in ("save_state", "load_state"):
        response = node.ask(service)
        assert (response.success, "state_file" in response.message) == (False, True)


def test_a_disk_that_is_full_is_told_and_the_old_snapshot_stays(robot, tmp_path):
    node = robot()
    node.see(10.0, 0)
    assert node.ask("save_state").success
    before = (tmp_path / "state.safetensors").read_bytes()
    node.see(10.1, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        response = node.ask("save_state")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not response.success
    assert "File too large" in response.message
    assert (tmp_path / "state.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "state" in path.name] == ["state.safetensors"]
    node.see(10.2, 2)


def test_a_node_that_ends_while_it_saves_writes_the_file_to_its_end(robot, monkeypatch, tmp_path):
    node = robot()
    node.see(10.0, 0)
    begun, go_on, save = threading.Event(), threading.Event(), services.save_snapshot

    def slowly(*args) -> None:
        begun.set()
        go_on.wait(30)
        save(*args)

    monkeypatch.setattr(services, "save_snapshot", slowly)
    asked = node.client.node.create_client(Trigger, "/perception/save_state")
    node.client.wait_for(asked.service_is_ready, "the service")
    asked.call_async(Trigger.Request())
    node.client.wait_for(begun.is_set, "the saving")
    threading.Timer(0.2, go_on.set).start()
    node.end()
    assert (tmp_path / "state.safetensors").is_file()
    assert go_on.is_set()


def test_an_error_that_nobody_expected_is_answered_and_ends_nothing(robot, monkeypatch):
    node = robot()
    node.see(10.0, 0)
    monkeypatch.setattr("rvm_ros.services.save_snapshot", lambda *_: {}["missing"])
    response = node.ask("save_state")
    assert (response.success, response.message) == (False, "KeyError: 'missing'; the node's log has more")
    node.see(10.1, 1)


def test_services_of_a_node_that_is_not_active_say_what_to_do(robot):
    node = robot()
    node.node.trigger_deactivate()
    for service in ("reset_state", "save_state", "load_state"):
        response = node.ask(service)
        assert (response.success, "activate the node first" in response.message) == (False, True)
    node.node.trigger_cleanup()
    response = node.ask("reload_engine")
    assert (response.success, "configure the node first" in response.message) == (False, True)


def test_resets_and_the_states_age_are_latched_with_reasons(robot):
    node = robot()
    for index in range(3):
        node.see(10 + 0.1 * index, index)
    assert node.wait_for_status(lambda told: told["state_age"] == 3)["resets"] == {}
    node.see(20.0, 5)
    told = node.wait_for_status(lambda told: told["state_age"] == 1)
    assert told["last_reset"] == {"reason": "gap", "stamp_ns": 20_000_000_000}
    assert node.ask("reset_state").success
    told = node.wait_for_status(lambda told: told["state_age"] == 0)
    assert told["resets"] == {"gap": 1, "requested": 1}


def test_an_engine_of_the_same_weights_goes_on_from_the_states(robot):
    node = robot()
    for index in range(3):
        node.see(10 + 0.1 * index, index)
    before = node.told()["engine"]
    uninterrupted = next_features(node, 3)
    assert node.node.set_parameters([Parameter("engine", value="openvino")])[0].successful
    told = node.wait_for_status(lambda told: told["engine"] != before)
    assert told["state_age"] == 3
    np.testing.assert_allclose(node.see(10.3, 3)["features"], uninterrupted, rtol=1e-4, atol=1e-5)
    assert node.told()["resets"] == {}


def next_features(node: Robot, seed: int) -> np.ndarray:
    """Features of the next frame, by the engine and the state that the node has now."""
    perception = node.node.worker.perception("camera")
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 70, 3), np.uint8)
    features, _ = perception.engine.step(perception.prepare({"a": pixels}), perception.states.get("camera"))
    return features[0, 1:].reshape(2, 3, 24).numpy()


def test_an_engine_of_other_weights_starts_the_states_anew_and_says_so(robot, other_checkpoint):
    node = robot()
    node.see(10.0, 0)
    assert node.node.set_parameters([Parameter("model", value=str(other_checkpoint))])[0].successful
    told = node.wait_for_status(lambda told: told["resets"] == {"engine changed": 1})
    assert told["state_age"] == 0
    node.see(10.1, 1)
    assert node.node.worker.perception("camera").states.age("camera") == 1


def test_states_start_anew_with_the_same_weights_where_that_is_asked_for(robot):
    node = robot(carry_state=False)
    node.see(10.0, 0)
    response = node.ask("reload_engine")
    assert (response.success, response.message) == (True, "runs now; the states start anew")
    assert node.wait_for_status(lambda told: told["state_age"] == 0)["resets"] == {"engine changed": 1}


@pytest.mark.parametrize("name", ["engine", "model"])
def test_a_bad_engine_leaves_the_old_one_running_and_says_why(robot, tmp_path, name):
    node = robot()
    node.see(10.0, 0)
    running, before = node.node.worker.perception("camera"), node.node.get_parameter(name).value
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    bad = str(tmp_path if name == "engine" else tmp_path / "bad.safetensors")
    assert node.node.set_parameters([Parameter(name, value=bad)])[0].successful
    node.client.wait_for(lambda: node.node.reload.problem, "the reason")
    assert str(tmp_path) in node.node.reload.problem
    assert node.node.get_parameter(name).value == before, "the parameters say what runs"
    assert node.node.worker.perception("camera") is running
    node.see(10.1, 1)
    assert running.states.age("camera") == 2
    response = node.ask("reload_engine")
    assert (response.success, response.message) == (True, "runs now; the states of camera go on")
    assert node.node.reload.problem == ""


def test_frames_go_through_while_an_engine_is_loaded(robot, monkeypatch):
    gate, node = held(monkeypatch), robot()
    outcome = node.node.reload.begin()
    for index in range(3):
        node.see(10 + 0.1 * index, index)
    assert not outcome.done()
    gate.set()
    node.client.wait_for(outcome.done, "the new engine")
    assert outcome.result() == "runs now; the states of camera go on"


def test_parameters_that_are_set_while_an_engine_is_loaded_hold_for_it_too(robot, monkeypatch):
    gate, node = held(monkeypatch), robot()
    outcome = node.node.reload.begin()
    assert node.node.set_parameters([Parameter("overlay_alpha", value=0.25)])[0].successful
    gate.set()
    node.client.wait_for(outcome.done, "the new engine")
    assert node.node.worker.pictures.heads("camera").config.overlay_alpha == 0.25


def test_an_engine_that_is_loaded_when_the_node_is_cleaned_up_is_dropped(robot, monkeypatch):
    gate, node = held(monkeypatch), robot()
    outcome = node.node.reload.begin()
    node.node.trigger_deactivate()
    node.node.trigger_cleanup()
    gate.set()
    node.client.wait_for(outcome.done, "the end")
    assert "cleaned up meanwhile" in str(outcome.exception())
    assert node.node.loaded is None


def test_parameters_that_are_live_change_what_runs(robot):
    node = robot()
    node.see(10.0, 0)
    values = {"max_gap": 5.0, "on_gap": "continue", "camera.max_rate": 2.0, "picture_height": 30, "overlay_alpha": 0.1}
    results = node.node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
    assert all(result.successful for result in results)
    stream = node.node.worker.streams["camera"]
    node.client.wait_for(lambda: stream.settings.rules.on_gap == "continue", "the new settings")
    assert (stream.settings.rules.max_gap_s, stream.settings.max_rate_hz) == (5.0, 2.0)
    node.see(12.0, 1)
    assert node.outputs["camera"]["pca"][-1].height == 30
    assert node.node.worker.perception("camera").states.age("camera") == 2


def test_an_engine_that_is_loaded_when_the_node_is_configured_anew_is_dropped(robot, monkeypatch):
    gate, node = held(monkeypatch), robot()
    outcome = node.node.reload.begin()
    node.node.trigger_deactivate()
    node.node.trigger_cleanup()
    node.node.set_parameters([Parameter("image_size", value=[64, 64])])
    node.node.trigger_configure()
    node.node.trigger_activate()
    gate.set()
    node.client.wait_for(outcome.done, "the end")
    assert "cleaned up meanwhile" in str(outcome.exception())
    assert node.node.worker.perception("camera").engine.info.height == 64


@pytest.mark.parametrize("active_again", [False, True])
def test_an_engine_runs_though_the_node_was_deactivated_while_it_was_loaded(robot, monkeypatch, active_again):
    gate, node = held(monkeypatch), robot()
    node.see(10.0, 0)
    before = node.node.loaded
    outcome = node.node.reload.begin()
    node.node.trigger_deactivate()
    if active_again:
        node.node.trigger_activate()
    gate.set()
    node.client.wait_for(outcome.done, "the new engine")
    assert outcome.exception() is None
    assert node.node.loaded is not before
    node.node.trigger_activate()
    assert node.node.worker.perception("camera") is node.node.loaded.perceptions["camera"]


def test_deactivating_while_engines_change_over_leaves_what_runs_and_what_is_told_the_same(robot):
    node = robot()
    for _ in range(5):
        outcome = node.node.reload.begin()
        node.client.wait_for(partial(lambda done: node.node.reload._swap or done(), outcome.done), "the exchange")
        node.node.trigger_deactivate()
        node.node.trigger_activate()
        node.client.wait_for(outcome.done, "the end")
        assert outcome.exception() is None
        assert node.node.worker.perception("camera") is node.node.loaded.perceptions["camera"]


def test_a_service_that_waits_when_the_node_is_deactivated_is_answered_and_the_next_one_too(robot, monkeypatch):
    node = robot()
    node.see(10.0, 0)
    assert node.ask("save_state").success
    gate, real = threading.Event(), services.load_snapshot
    monkeypatch.setattr(services, "load_snapshot", lambda *args: real(*args) if gate.wait(30) else None)
    client = node.client.node.create_client(Trigger, "/perception/load_state")
    node.client.wait_for(client.service_is_ready, "the service")
    waiting = client.call_async(Trigger.Request())
    node.client.spin_for(0.2)
    node.node.trigger_deactivate()
    gate.set()
    node.client.wait_for(waiting.done, "an answer")
    assert (waiting.result().success, waiting.result().message) == (False, "the node was deactivated meanwhile")
    node.node.trigger_activate()
    assert node.ask("reset_state").success


def test_other_services_answer_while_an_engine_is_loaded(robot, monkeypatch):
    gate, node = held(monkeypatch), robot()
    node.see(10.0, 0)
    client = node.client.node.create_client(Trigger, "/perception/reload_engine")
    node.client.wait_for(client.service_is_ready, "the service")
    waiting = client.call_async(Trigger.Request())
    for service in ("reset_state", "load_state"):
        node.ask(service)
    assert not waiting.done()
    gate.set()
    node.client.wait_for(waiting.done, "the new engine")
    assert waiting.result().success


def test_a_snapshot_that_does_not_fit_the_heads_is_refused_and_changes_nothing(robot):
    first = robot(clusters=8)
    first.see(10.0, 0)
    assert first.ask("save_state").success
    first.end()
    other = robot(clusters=3)
    before = other.see(10.0, 0)
    response = other.ask("load_state")
    assert (response.success, "set `clusters` alike" in response.message) == (False, True)
    assert other.node.worker.perception("camera").states.age("camera") == 1
    assert max(other.see(10.1, 0)["segmentation"]) < 3
    assert before.keys() == other.outputs["camera"].keys()


def test_a_load_that_was_refused_leaves_what_was_due(robot, tmp_path):
    node = robot()
    node.see(10.0, 0)
    (tmp_path / "state.safetensors").write_bytes(b"no snapshot")
    node.node.worker.streams["camera"].start_anew("clock jump")
    assert not node.ask("load_state").success
    node.see(500.0, 1)
    assert node.wait_for_status(lambda told: told["resets"])["resets"] == {"clock jump": 1}


def test_what_was_loaded_does_not_change_with_the_file(robot, tmp_path):
    node = robot()
    for index in range(3):
        node.see(10 + 0.1 * index, index)
    assert node.ask("save_state").success
    assert node.ask("load_state").success
    path = tmp_path / "state.safetensors"
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.truncate(100)
    node.see(11.0, 7)
    assert node.node.worker.streams["camera"].counts["failed"] == 0


def test_the_time_between_frames_is_not_measured_across_a_load(robot):
    node = robot()
    node.see(10.0, 0)
    assert node.ask("save_state").success
    assert node.ask("load_state").success
    node.see(900.0, 1)
    node.see(900.5, 2)
    assert node.node.worker.streams["camera"].counts.intervals.summary()["max"] == 0.5
