"""Faults around a node that runs: others are killed, engines are damaged, memory runs out, signals come at any moment.

Faults that belong to one part are tried with it: a full disk in test_services, hanging transitions in test_process,
steps that fail in test_worker. Hostile messages are in soak/.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("rclpy")

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from rvm_model.engines import EngineManifest, cuda
from rvm_model.engines.manifest import MANIFEST, Gpu
from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.snapshot import load_snapshot
from rvm_ros.perception_node import PerceptionNode
from rvm_ros.process import GRACE_S
from rvm_training.export.build import export

pytestmark = pytest.mark.ros

NODE = "rvm_ros.perception_node"
END_S = GRACE_S + 3
"""Seconds from a signal to the process's end: after the grace it is ended wherever it is, also on a busy machine."""
HERE = ("Fake GPU", "9.0")


@pytest.fixture(scope="module")
def exported(tiny_checkpoint, tmp_path_factory) -> Path:
    """An engine of the tiny network, which is good."""
    folder = tmp_path_factory.mktemp("exported") / "engine"
    export(str(tiny_checkpoint), folder, engine="onnx", size=(32, 48), steps=4, show=False)
    return folder


def _rewritten(folder: Path, **changes: object) -> None:
    dataclasses.replace(EngineManifest.read(folder), **changes).write(folder)


def _flip(folder: Path) -> None:
    data = bytearray((folder / "step.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "step.onnx").write_bytes(data)


def _as_plan(folder: Path) -> None:
    """A TensorRT plan's folder, as far as it is looked at before TensorRT."""
    (folder / "step.onnx").rename(folder / "step.plan")
    values = yaml.safe_load((folder / MANIFEST).read_text())
    values["files"] = {"step.plan": values["files"]["step.onnx"]}
    values |= {"kind": "tensorrt", "cameras": 1, "gpu": dataclasses.asdict(Gpu("Another GPU", "8.7"))}
    (folder / MANIFEST).write_text(yaml.safe_dump(values))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder missing": (shutil.rmtree, "engine: no folder at"),
    "file missing": (lambda folder: (folder / "step.onnx").unlink(), "['step.onnx'] missing; copy the whole folder"),
    "truncated": (lambda folder: os.truncate(folder / "step.onnx", 1000), "the file was changed or cut short"),
    "tampered": (_flip, "the file was changed or cut short"),
    "wrong shape": (lambda folder: _rewritten(folder, height=64, width=64), "64"),
    "wrong GPU": (_as_plan, "built on Another GPU (8.7) for the same, got Fake GPU (9.0); export it on this machine"),
}


@pytest.fixture
def damaged(exported, tmp_path, monkeypatch):
    """Function from the name of a damage to an engine's folder that has it, and to what must be told of it."""
    monkeypatch.setattr(cuda, "require", lambda device, kind: None)
    monkeypatch.setattr(cuda, "gpu", lambda device: HERE)

    def make(name: str) -> tuple[str, str]:
        damage, told = DAMAGES[name]
        folder = tmp_path / "damaged"
        shutil.copytree(exported, folder)
        damage(folder)
        return str(folder), told

    return make


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_engine_leaves_the_node_unconfigured_with_the_reason(
    ros, tiny_checkpoint, damaged, exported, monkeypatch, name
):
    folder, told = damaged(name)
    values = {"engine": folder, "model": str(tiny_checkpoint), "image_size": [32, 48], "threads": 1, "device": "cpu"}
    threads = torch.get_num_threads()
    node = PerceptionNode(parameter_overrides=[Parameter(key, value=value) for key, value in values.items()])
    lines: list[str] = []
    monkeypatch.setattr(node.get_logger(), "error", lines.append)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        (line,) = lines
        assert line.startswith("not configured: ")
        assert told in line
        assert "Traceback" not in line
        assert node.set_parameters([Parameter("engine", value=str(exported))])[0].successful
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, "a good one can be given then"
    finally:
        node.destroy_node()
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_engine_does_not_replace_the_one_that_runs(robot, damaged, exported, name):
    folder, told = damaged(name)
    node = robot(engine=str(exported))
    node.see(10.0, 0)
    assert node.node.set_parameters([Parameter("engine", value=folder)])[0].successful
    node.client.wait_for(lambda: node.node.reload.problem, "the reason")
    assert told in node.node.reload.problem
    assert node.node.get_parameter("engine").value == str(exported)
    node.see(10.1, 1)
    assert node.node.worker.perception("camera").states.age("camera") == 2


def test_an_engine_that_is_damaged_in_place_goes_on_and_is_not_loaded_again(robot, exported, tmp_path):
    folder = tmp_path / "engine"
    shutil.copytree(exported, folder)
    node = robot(engine=str(folder))
    node.see(10.0, 0)
    os.truncate(folder / "step.onnx", 1000)
    response = node.ask("reload_engine")
    assert (response.success, "changed or cut short" in response.message) == (False, True)
    node.see(10.1, 1)
    assert node.node.worker.perception("camera").states.age("camera") == 2


def test_out_of_memory_inside_a_step_costs_its_frames_and_the_next_start_anew(robot, monkeypatch):
    monkeypatch.setattr("rvm_ros.worker.PAUSE_S", 0.01)
    node = robot()
    alone = node.see(10.0, 5)
    node.see(10.1, 1)
    perception, counts = node.node.worker.perception("camera"), node.node.worker.streams["camera"].counts
    step, left = perception.engine.step, [2]

    def out_of_memory(frames, state):
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(frames, state)

    monkeypatch.setattr(perception.engine, "step", out_of_memory)
    done, stamps_s = counts["processed"], itertools.count(10.2, 0.1)
    while counts["processed"] == done:  # Some are lost to the pauses after failed steps.
        lost = counts["failed"]
        node.send(next(stamps_s), 5)
        node.client.wait_for(lambda lost=lost: counts["processed"] > done or counts["failed"] > lost, "its end")
    assert (left, counts["failed"] >= 2) == ([0], True)
    told = node.wait_for_status(lambda told: told["state_age"] == 1)
    assert told["resets"] == {"engine failed": 2}
    received = node.outputs["camera"]["features"]
    node.client.wait_for(lambda: len(received) == 2, "its features beside those of the frame before")
    np.testing.assert_allclose(msg_to_features(received[-1]), alone["features"], atol=1e-5, err_msg="as without a past")


LISTENER = """
import rclpy
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("listener")
node.create_subscription(Image, "/perception/camera/features", lambda _: print("got", flush=True), 1)
rclpy.spin(node)
"""
CAMERA = """
import itertools, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

start_s = float(sys.argv[1])
rclpy.init()
node = rclpy.create_node("driver")
publisher = node.create_publisher(
    Image, "/camera/image_raw", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
)
message = Image(height=32, width=48, step=144, encoding="rgb8")
message.data.frombytes(bytes(32 * 144))
for index in itertools.count():
    stamp_s = start_s + 0.05 * index
    message.header.stamp.sec, message.header.stamp.nanosec = int(stamp_s), int(stamp_s % 1 * 1e9)
    publisher.publish(message)
    time.sleep(0.05)
"""


@pytest.fixture
def python():
    """Function starting a Python process with a script and arguments; what it writes can be read."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def parameters(parameters):
    return {**parameters, "engine": "torch", "autostart": "true"}


def test_a_subscriber_that_is_killed_while_it_receives_takes_nothing_from_the_others(
    client, start_node, parameters, python
):
    node = start_node(NODE, parameters)
    python(CAMERA, 100.0)
    listener = python(LISTENER)
    features = client.subscribe(Image, "/perception/camera/features", 1)
    for _ in range(3):
        assert listener.stdout.readline() == "got\n"
    listener.send_signal(signal.SIGKILL)
    listener.wait()
    client.wait_for(lambda: features, "features after it was killed")
    features.clear()
    before_s = time.monotonic()
    client.wait_for(lambda: len(features) >= 20, "features as before")
    stamps = [message.header.stamp.sec + message.header.stamp.nanosec * 1e-9 for message in features]
    assert stamps == sorted(stamps)
    assert time.monotonic() - before_s < 20, "twenty frames of a camera of 20 Hz"
    assert node.interrupt() == 0
    assert "ERROR" not in node.log


def test_a_camera_that_is_killed_and_comes_back_goes_on_as_its_stamps_say(client, start_node, parameters, python):
    start_node(NODE, {**parameters, "max_gap": 10.0})  # No pause of a busy machine.
    features = client.subscribe(Image, "/perception/camera/features", 1)
    status = client.subscribe(String, "/perception/camera/status", 1)

    def killed_after_frames(start_s: float) -> float:
        """Let a camera send from a stamp on, and kill it; returns the latest stamp that was processed."""
        features.clear()
        camera = python(CAMERA, start_s)
        client.wait_for(lambda: len(features) >= 5, f"features of the camera that begins at {start_s}")
        camera.send_signal(signal.SIGKILL)
        camera.wait()
        client.spin_for(0.3)  # What is still on its way.
        stamp = features[-1].header.stamp
        return stamp.sec + stamp.nanosec * 1e-9

    def told(resets: dict[str, int], age: int) -> int:
        """Wait until the status tells of so many resets and at least so many frames since; returns how many."""

        def now() -> dict:
            return json.loads(status[-1].data) if status else {}

        client.wait_for(lambda: now().get("resets") == resets and now()["state_age"] >= age, f"{resets} and {age}")
        return now()["state_age"]

    last_s = killed_after_frames(100.0)
    age = told({}, 5)
    killed_after_frames(last_s + 0.2)
    told({}, age + 5)  # It was back before a gap.
    killed_after_frames(50.0)
    told({"backwards": 1}, 5)


def catches(process: subprocess.Popen, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def end_of(node, number: int) -> float:
    """Send a signal; returns the seconds to the process's end, which must be in order."""
    start_s = time.monotonic()
    assert node.interrupt(number) == 0, node.log
    seconds = time.monotonic() - start_s
    assert "Traceback" not in node.log
    return seconds


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc, which Linux alone has")
@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_a_signal_at_any_moment_of_the_start_ends_the_node(client, start_node, parameters, after_s):
    # Before its handlers are set, no node is there that could end in order.
    node = start_node(NODE, parameters)
    client.wait_for(lambda: catches(node.process, signal.SIGTERM), "the node's handlers")
    client.spin_for(after_s)
    assert end_of(node, signal.SIGTERM) < END_S


def ask_until(client, kind, name: str, request, condition: Callable[[], object]) -> None:
    """Ask a service of a node that is just starting until it does something: its first requests may be lost."""
    asked = client.node.create_client(kind, name)
    client.wait_for(asked.service_is_ready, f"service {name}")
    sent_s = -math.inf

    def done() -> object:
        nonlocal sent_s
        if time.monotonic() - sent_s > 1:
            asked.call_async(request)
            sent_s = time.monotonic()
        return condition()

    client.wait_for(done, f"what {name} does")


def test_a_signal_while_an_engine_is_loaded_ends_the_node(client, start_node, parameters, exported):
    node = start_node(NODE, parameters)
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(exported))
    request = SetParameters.Request(parameters=[ParameterMessage(name="engine", value=value)])
    ask_until(client, SetParameters, "/perception/set_parameters", request, lambda: "engine: loading" in node.log)
    assert end_of(node, signal.SIGINT) < END_S


def test_a_signal_while_states_are_saved_leaves_a_whole_snapshot(client, start_node, parameters, python, tmp_path):
    folder = tmp_path / "states"
    folder.mkdir()
    node = start_node(NODE, {**parameters, "state_file": folder / "state.safetensors"})
    python(CAMERA, 100.0)
    features = client.subscribe(Image, "/perception/camera/features", 1)
    status = client.subscribe(String, "/perception/camera/status", 1)
    client.wait_for(lambda: features and status, "features and a status")
    saved = folder / "state.safetensors"
    ask_until(client, Trigger, "/perception/save_state", Trigger.Request(), saved.is_file)
    saving = client.node.create_client(Trigger, "/perception/save_state")
    client.wait_for(saving.service_is_ready, "the service")
    for _ in range(10):
        saving.call_async(Trigger.Request())
    client.spin_for(0.02)
    assert end_of(node, signal.SIGTERM) < END_S
    assert list(folder.iterdir()) == [saved]
    assert load_snapshot(saved, {"camera": json.loads(status[-1].data)["engine"]})["camera"].age > 0


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_while_the_process_ends_changes_nothing(client, start_node, parameters, second):
    node = start_node(NODE, parameters)
    client.wait_for(lambda: "ready after" in node.log, "the node")
    node.process.send_signal(signal.SIGINT)
    deadline_s = time.monotonic() + 10
    while node.process.poll() is None:  # At many moments of its end.
        assert time.monotonic() < deadline_s
        node.process.send_signal(second)
        time.sleep(0.001)
    assert node.process.returncode == 0
    assert "Traceback" not in node.log
