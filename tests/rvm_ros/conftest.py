"""Real ROS 2 for the tests: a domain of their own, nodes in other processes, waiting without sleeping."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from rvm_model import RVM, load_checkpoint, save_checkpoint

# Domains above 101 collide with ephemeral ports. Chosen by process, so that two runs on a machine do not meet.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(Path(__file__).parents[2] / "config" / "fastdds_shm.xml"))

TIMEOUT_S = 60.0
RESEND_S = 20.0
"""Longer than any answer takes: a second request comes to a node that is busy with the first."""


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint of a tiny network, for images of 32x48."""
    pytest.importorskip("rclpy")
    from rvm_ros.soak.reference import write_network

    path: Path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_network(path, seed=0)
    return path


class Client:
    """A node of the test's own and the waiting on it."""

    def __init__(self, node) -> None:
        from rclpy.executors import SingleThreadedExecutor

        self.node = node
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(node)

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S):
        """Spin until the condition is truthy, and return it."""
        deadline = time.monotonic() + timeout_s
        while not (result := condition()):
            assert time.monotonic() < deadline, f"timed out after {timeout_s} s waiting for {what}"
            self.executor.spin_once(timeout_sec=0.05)
        return result

    def spin_for(self, seconds: float) -> None:
        """Spin for a while, to see that something does not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, service_type, name: str, request):
        """Call a service and return its response.

        A request is lost where this side has discovered the service and the service not yet this side, which happens
        with processes that are just starting on a busy machine; so it is sent again after a while.
        """
        client = self.node.create_client(service_type, name)
        futures, sent_s = [], -math.inf

        def answered():
            nonlocal sent_s
            if time.monotonic() - sent_s > RESEND_S:
                futures.append(client.call_async(request))
                sent_s = time.monotonic()
            return next((future for future in futures if future.done()), None)

        try:
            self.wait_for(client.service_is_ready, f"service {name}")
            return self.wait_for(answered, f"answer of {name}").result()
        finally:
            self.node.destroy_client(client)

    def subscribe(self, message_type, topic: str, qos=10) -> list:
        """Subscribe and return the list that messages are appended to."""
        received: list = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received


@pytest.fixture(scope="session")
def ros():
    """rclpy, initialised once."""
    rclpy = pytest.importorskip("rclpy")
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()


@pytest.fixture
def client(ros):
    node = ros.create_node("test_client")
    yield Client(node)
    node.destroy_node()


class NodeProcess:
    """A node of the package in a process of its own, its log in a file."""

    def __init__(self, module: str, arguments: list[str], log: Path, words: Sequence[str] = ()) -> None:
        self.log_path = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *words, "--ros-args", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def interrupt(self, number: int = signal.SIGINT, timeout_s: float = 20.0) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=timeout_s)


@pytest.fixture
def start_node(tmp_path):
    """Function starting a node: module and parameters by name."""
    # The services of a lifecycle node that was in this process live until it is collected, answer nothing, and have the
    # names of the one that is started here.
    gc.collect()
    started: list[NodeProcess] = []

    def start(
        module: str,
        parameters: dict[str, object] | None = None,
        arguments: list[str] | None = None,
        words: Sequence[str] = (),
    ) -> NodeProcess:
        given = [word for name, value in (parameters or {}).items() for word in ("-p", f"{name}:={value}")]
        node = NodeProcess(module, [*given, *(arguments or [])], tmp_path / f"node{len(started)}.log", words)
        started.append(node)
        return node

    yield start
    # In good order where possible: the services of a killed node look alive to the next test for 20 s.
    running = [node.process for node in started if node.process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGINT)
    for process in running:
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def parameters(tiny_checkpoint):
    """Parameters of a node with the tiny network, as words of its command line."""
    return {"model": tiny_checkpoint, "image_size": "[32, 48]", "clusters": 3, "threads": 1, "device": "cpu"}


@pytest.fixture
def robot(client, tiny_checkpoint, tmp_path):
    """Function starting a node with the tiny network and given parameters."""
    pytest.importorskip("rclpy")
    from robot import Robot

    started: list[Robot] = []

    def start(**parameters: object) -> Robot:
        own = {
            "model": str(tiny_checkpoint),
            "engine": "torch",
            "image_size": [32, 48],
            "clusters": 3,
            "threads": 1,
            "device": "cpu",
            "state_file": str(tmp_path / "state.safetensors"),
        }
        robot = Robot(client, **{**own, **parameters})
        started.append(robot)
        return robot

    threads = torch.get_num_threads()
    yield start
    for each in started:
        each.end()
    torch.set_num_threads(threads)


@pytest.fixture
def other_checkpoint(tiny_checkpoint, tmp_path):
    """The same network with other weights."""
    torch.manual_seed(5)
    save_checkpoint(RVM(load_checkpoint(tiny_checkpoint).config), tmp_path / "other.safetensors")
    return tmp_path / "other.safetensors"


@pytest.fixture
def bench():
    """A worker whose threads do not run."""
    pytest.importorskip("rclpy")
    from worker_bench import Bench

    return Bench()


@pytest.fixture
def running():
    """Function starting a bench's threads; they are ended."""
    pytest.importorskip("rclpy")
    from worker_bench import Bench

    benches: list[Bench] = []

    def start(**settings: object) -> Bench:
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
