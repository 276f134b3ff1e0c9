"""The perception node as a robot runs it: a process of its own, spoken to over DDS."""

from __future__ import annotations

import itertools
import json
import signal

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_client import (
    BEST_EFFORT,
    LATCHED,
    NODE,
    Camera,
    change,
    image,
    png,
    random_frames,
    set_parameter,
    stamp,
    state,
)
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from rvm_model import load_checkpoint
from rvm_model.engines import TorchEngine, load_engine
from rvm_model.engines.cpu import adds_in_32_bits
from rvm_model.engines.manifest import RESTS
from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.perception import Perception
from rvm_model.preprocess import preprocess
from rvm_model.weights import WeightsInfo
from rvm_ros.perception_node import PerceptionNode
from rvm_training.export.build import export

pytestmark = pytest.mark.ros


@pytest.fixture
def expected(tiny_checkpoint):
    """Function from frames (uint8 RGB arrays of one camera, in order) to the features of each, by the torch model."""
    engine = TorchEngine(load_checkpoint(tiny_checkpoint), WeightsInfo("tiny", "tiny", True), size=(32, 48))

    def compute(frames: list[np.ndarray]) -> list[torch.Tensor]:
        state, result = engine.init_state(1), []
        for frame in frames:
            features, state = engine.step(preprocess([frame], (32, 48), "cpu"), state)
            result.append(features[0])
        return result

    return compute


def test_lifecycle_transitions_and_a_clean_interrupt(client, start_node, parameters):
    node = start_node(NODE, parameters)
    assert state(client) == "unconfigured"
    for _ in range(2):
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert state(client) == "inactive"
        assert client.node.count_subscribers("/camera/image_raw") == 0
        assert change(client, Transition.TRANSITION_ACTIVATE)
        assert state(client) == "active"
        client.wait_for(lambda: client.node.count_subscribers("/camera/image_raw") == 1, "the subscription")
        assert change(client, Transition.TRANSITION_DEACTIVATE)
        assert state(client) == "inactive"
        client.wait_for(lambda: client.node.count_subscribers("/camera/image_raw") == 0, "its end")
        assert change(client, Transition.TRANSITION_CLEANUP)
        assert state(client) == "unconfigured"
        client.wait_for(lambda: client.node.count_publishers("/perception/camera/features") == 0, "topics taken back")
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert change(client, Transition.TRANSITION_ACTIVATE)
    assert node.interrupt(signal.SIGINT) == 0
    assert "Traceback" not in node.log


def test_outputs_have_the_models_values_and_the_inputs_headers(client, start_node, parameters, expected):
    start_node(NODE, {**parameters, "autostart": "true"})
    camera = Camera(client, outputs=("features", "cls_token", "pca", "segmentation", "overlay")).connect()
    frames = random_frames(5)
    for index, (frame, features) in enumerate(zip(frames, expected(frames), strict=True)):
        outputs = camera.send(image(frame, 100 + 0.1 * index))
        for message in outputs.values():
            assert message.header.frame_id == "front_optical"
            assert message.header.stamp == stamp(100 + 0.1 * index)
        assert (outputs["features"].height, outputs["features"].width) == (2, 3)
        assert outputs["features"].encoding == "32FC24"
        got = torch.from_numpy(msg_to_features(outputs["features"]).copy())
        torch.testing.assert_close(got, features[1:].reshape(2, 3, 24), rtol=1e-4, atol=1e-5)
        cls = torch.from_numpy(msg_to_features(outputs["cls_token"]).copy())
        torch.testing.assert_close(cls, features[:1].reshape(1, 1, 24), rtol=1e-4, atol=1e-5)
        for name, encoding, bytes_per_pixel in (
            ("pca", "rgb8", 3),
            ("segmentation", "mono8", 1),
            ("overlay", "rgb8", 3),
        ):
            message = outputs[name]
            assert (message.height, message.width, message.encoding) == (60, 70, encoding)
            assert len(message.data) == 60 * 70 * bytes_per_pixel
        assert max(outputs["segmentation"].data) < 3


@pytest.mark.parametrize(("choice", "kind"), [("torch", "torch"), ("onnx", "onnx"), (None, "openvino")])
def test_one_parameter_changes_the_engine_and_not_the_features(client, start_node, parameters, expected, choice, kind):
    node = start_node(NODE, {**parameters, **({"engine": choice} if choice else {}), "autostart": "true"})
    camera = Camera(client).connect()
    frames = random_frames(4)
    for index, (frame, features) in enumerate(zip(frames, expected(frames), strict=True)):
        output = camera.send(image(frame, 100 + 0.1 * index))["features"]
        got = torch.from_numpy(msg_to_features(output).copy())
        torch.testing.assert_close(got, features[1:].reshape(2, 3, 24), rtol=1e-4, atol=1e-5)
    assert f"engine: {kind} fp32 on cpu" in node.log


@pytest.mark.slow
def test_every_engine_that_a_cpu_runs_is_exported_from_one_checkpoint_and_runs_in_the_live_node(
    client, start_node, parameters, tiny_checkpoint, tmp_path
):
    node = start_node(NODE, parameters)
    frames = random_frames(4)
    for (kind, precision), rests in RESTS.items():
        if kind == "tensorrt" or (kind, precision) == ("onnx", "bf16"):
            continue
        if precision == "int8" and not adds_in_32_bits():
            continue
        folder = tmp_path / f"{kind}_{precision}"
        # A network this small has few values to average over, so that the rounding of 8 bits shows.
        manifest, _ = export(
            str(tiny_checkpoint), folder, engine=kind, size=(32, 48), precision=precision, rest=rests[0],
            tolerance=1e-4 if precision == "fp32" else 0.5, show=False,
        )  # fmt: skip
        assert manifest.parity.steps == 64
        chosen = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(folder))
        assert set_parameter(client, ParameterMessage(name="engine", value=chosen)).successful
        assert change(client, Transition.TRANSITION_CONFIGURE), node.log
        assert change(client, Transition.TRANSITION_ACTIVATE)
        engine = load_engine(folder)
        assert f"engine: {kind} {engine.info.arithmetic} on cpu" in node.log
        camera = Camera(client).connect()
        state = engine.init_state(1)
        for index, frame in enumerate(frames):
            got = msg_to_features(camera.send(image(frame, 100 + 0.1 * index))["features"])
            features, state = engine.step(preprocess([frame], (32, 48), "cpu"), state)
            np.testing.assert_allclose(got.reshape(6, 24), features[0, 1:].numpy(), rtol=1e-4, atol=1e-5)
        assert change(client, Transition.TRANSITION_DEACTIVATE)
        assert change(client, Transition.TRANSITION_CLEANUP)


def close_to(got: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(got.reshape(6, 24), expected[1:].numpy(), rtol=1e-4, atol=1e-5)


def test_bgr_with_row_padding_gives_the_same_features_as_rgb(robot, expected):
    frame = random_frames(1)[0]
    padded = np.zeros((60, 70 * 3 + 14), np.uint8)
    padded[:, : 70 * 3] = frame[..., ::-1].reshape(60, -1)
    message = image(padded, 5.0, "bgr8")
    message.width = 70
    close_to(robot().show(message)["features"], expected([frame])[0])


def test_compressed_images_are_decoded(client, start_node, parameters, expected):
    start_node(NODE, {**parameters, "autostart": "true", "camera.transport": "compressed"})
    camera = Camera(client, message_type=CompressedImage, suffix="/compressed").connect()
    frame = random_frames(1)[0]
    got = torch.from_numpy(msg_to_features(camera.send(png(frame, 5.0))["features"]).copy())
    torch.testing.assert_close(got, expected([frame])[0][1:].reshape(2, 3, 24), rtol=1e-4, atol=1e-5)


def test_a_malformed_image_is_refused_and_the_next_good_one_processed(robot, expected, capfd):
    node, frames = robot(), random_frames(2)
    node.show(image(frames[0], 1.0))
    broken = image(frames[0], 1.1)
    broken.data = broken.data[:100]
    node.node._on_image("camera", broken)
    assert "image refused: got 100 bytes of data" in capfd.readouterr().err
    close_to(node.show(image(frames[1], 1.2))["features"], expected(frames)[1])
    assert len(node.outputs["camera"]["features"]) == 1


def test_time_running_back_resets_the_state_and_a_repeated_frame_is_skipped(robot, expected):
    node, frames = robot(), random_frames(3)
    node.show(image(frames[0], 10.0))
    node.show(image(frames[1], 10.1))
    node.outputs["camera"]["features"].clear()
    node.node._on_image("camera", image(frames[1], 10.1))
    node.client.spin_for(0.5)
    assert node.outputs["camera"]["features"] == []
    close_to(node.show(image(frames[2], 3.0))["features"], expected([frames[2]])[0])


def test_reset_service_starts_the_state_anew(robot, expected):
    node, frames = robot(), random_frames(2)
    node.show(image(frames[0], 10.0))
    assert node.ask("reset_state").success
    close_to(node.show(image(frames[1], 10.1))["features"], expected([frames[1]])[0])


def test_two_cameras_keep_their_own_states(robot, expected):
    node, frames = robot(cameras=["front", "rear"]), random_frames(4)
    node.show(image(frames[0], 1.0), "front")
    node.show(image(frames[1], 7.0), "rear")
    close_to(node.show(image(frames[2], 1.1), "front")["features"], expected([frames[0], frames[2]])[1])
    close_to(node.show(image(frames[3], 7.1), "rear")["features"], expected([frames[1], frames[3]])[1])


def test_labels_are_latched_with_names_and_colours(client, start_node, parameters):
    start_node(NODE, {**parameters, "autostart": "true"})
    client.wait_for(lambda: client.node.count_publishers("/perception/camera/labels"), "the publisher")
    received = client.subscribe(String, "/perception/camera/labels", LATCHED)
    client.wait_for(lambda: received, "the latched labels")
    labels = json.loads(received[0].data)
    assert labels["unlabelled"] == 255
    assert [label["id"] for label in labels["labels"]] == [0, 1, 2]
    assert len({label["color"] for label in labels["labels"]}) == 3


def test_diagnostics_tell_rates_weights_and_refusals(client, start_node, parameters):
    start_node(NODE, {**parameters, "autostart": "true"})
    camera = Camera(client).connect()
    received = client.subscribe(DiagnosticArray, "/diagnostics")

    def status() -> DiagnosticStatus | None:
        statuses = received[-1].status if received else []
        return next((each for each in statuses if each.name == "/perception: camera"), None)

    def values() -> dict[str, str]:
        return {item.key: item.value for item in status().values} if status() else {}

    client.wait_for(values, "diagnostics before")
    before = int(values()["processed"])
    camera.send(image(random_frames(1)[0], 1.0))
    camera.publisher.publish(image(random_frames(1)[0], 1.1, "nonsense"))
    client.wait_for(lambda: values().get("refused") == "1", "diagnostics with the refusal")
    assert int(values()["processed"]) == before + 1
    assert (values()["state_age_frames"], values()["last_reset"]) == ("1", "requested")
    assert values()["trained"] == "True"
    assert values()["weights"].startswith("sha256:")
    assert float(values()["latency_p50_ms"]) > 0
    received.clear()
    client.wait_for(lambda: received, "the next diagnostics, with no image since")
    client.wait_for(lambda: status().message.startswith("no images for "), "the warning")
    assert "1 publishers on camera/image_raw" in status().message
    assert status().level == DiagnosticStatus.STALE


def test_untrained_weights_are_announced(client, start_node, parameters):
    # Not the default engine, which is built for half a minute.
    network = {"model": "untrained:rvm_small16_256", "image_size": "[32, 32]", "engine": "torch"}
    node = start_node(NODE, {**parameters, **network})
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert "UNTRAINED" in node.log


def test_failures_of_the_engine_that_do_not_end_deactivate_the_node_and_is_told(client, ros, parameters, monkeypatch):
    node = PerceptionNode(
        parameter_overrides=[
            Parameter("model", value=str(parameters["model"])),
            Parameter("image_size", value=[32, 48]),
            Parameter("autostart", value=False),
        ]
    )
    try:
        client.executor.add_node(node)
        diagnostics = client.subscribe(DiagnosticArray, "/diagnostics")
        node.trigger_configure()
        node.trigger_activate()

        def fail(frames, state):
            raise RuntimeError("CUDA error: out of memory")

        monkeypatch.setattr(node.loaded.perceptions["camera"].engine, "step", fail)
        monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.01)
        publisher = client.node.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
        client.wait_for(publisher.get_subscription_count, "the node's subscription")
        stamps = itertools.count(1)

        def inactive():
            publisher.publish(image(random_frames(1)[0], 0.1 * next(stamps)))
            return state(client) == "inactive"

        client.wait_for(inactive, "deactivation")
        client.wait_for(
            lambda: any(s.level == DiagnosticStatus.ERROR for m in diagnostics for s in m.status), "an error status"
        )
        message = next(s.message for m in diagnostics for s in m.status if s.level == DiagnosticStatus.ERROR)
        assert "CUDA error: out of memory" in message
        monkeypatch.undo()
        node.trigger_activate()
        assert state(client) == "active"
    finally:
        client.executor.remove_node(node)
        node.destroy_node()


def test_an_error_that_nobody_expected_is_told_by_the_transition_that_it_ends(client, ros, parameters, monkeypatch):
    node = PerceptionNode(
        parameter_overrides=[
            Parameter("model", value=str(parameters["model"])),
            Parameter("image_size", value=[32, 48]),
            Parameter("qos_overrides./camera/image_raw.subscription.reliability", value="besteffort"),
        ]
    )
    told = []
    monkeypatch.setattr(node.get_logger(), "error", told.append)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Perception, "warm_up", lambda *_: 1 / 0)
            assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert "not configured, for an error that was not expected:\nTraceback" in told.pop()
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert "not activated" in told.pop()
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS, "it stayed inactive"
    finally:
        node.destroy_node()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_streaming_node_in_order_however_often_they_come(client, start_node, parameters, number):
    node = start_node(NODE, {**parameters, "autostart": "true"})
    camera = Camera(client).connect()
    camera.send(image(random_frames(1)[0], 1.0))
    for index in range(3):
        camera.publisher.publish(image(random_frames(1)[0], 2.0 + index))
        node.process.send_signal(number)
    assert node.process.wait(timeout=30) == 0
    assert "Traceback" not in node.log
    assert "terminate" not in node.log
