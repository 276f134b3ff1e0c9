"""The perception node as a process of its own, as a robot runs it, and what it says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from rvm_model.messages.stamps import stamp_ns
from rvm_ros.bench.actor import BenchError
from rvm_ros.bench.engine import CAMERA

START_S = 300.0
"""A large model may be built into an engine at the first start."""
ANSWER_S = 10.0
"""How long a transition, or the next /diagnostics, may take."""


class PerceptionProcess:
    """Starts the node, takes it through its states and reads its /diagnostics."""

    def __init__(self, namespace: str, chosen: Mapping[str, Any]) -> None:
        """Start it.

        Args:
            namespace: where its topics are.
            chosen: parameters that differ from their defaults.
        """
        words = [word for name, value in chosen.items() for word in ("-p", f"{name}:={_yaml(value)}")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rvm_ros.perception_node", "--ros-args", "-r", f"__ns:={namespace}", *words]
        )
        self._name = f"{namespace}/perception"
        self._node, self._executor = Node("bench", namespace=namespace), SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._told_ns, self._told = 0, dict[str, str]()
        self._change: Client = self._node.create_client(ChangeState, f"{self._name}/change_state")
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def configure(self) -> None:
        """Let it load the engine.

        Raises:
            BenchError: it does not.
        """
        self._wait_for(self._change.service_is_ready, "the node's services", START_S)
        self._transition(Transition.TRANSITION_CONFIGURE, START_S)

    def activate(self) -> None:
        """Start its threads, with counts and durations at nothing.

        Raises:
            BenchError: it does not.
        """
        self._transition(Transition.TRANSITION_ACTIVATE)

    def deactivate(self) -> None:
        """Stop its threads.

        Raises:
            BenchError: it does not.
        """
        self._transition(Transition.TRANSITION_DEACTIVATE)

    def cpu_s(self) -> float:
        """Processor time that it has had so far, all threads: in Linux' clock ticks, of mostly 10 ms."""
        return clock_ticks(Path(f"/proc/{self._process.pid}/stat").read_text()) / os.sysconf("SC_CLK_TCK")

    def diagnostics(self) -> dict[str, str]:
        """What it tells of its camera from now on: what it told before may still be on its way.

        Raises:
            BenchError: it tells nothing.
        """
        asked_ns = self._node.get_clock().now().nanoseconds
        self._wait_for(lambda: self._told_ns > asked_ns, "/diagnostics", ANSWER_S)
        return self._told

    def close(self) -> None:
        """End it."""
        self._executor.remove_node(self._node)
        self._node.destroy_node()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._name}: {CAMERA}":
                self._told_ns = stamp_ns(message)
                self._told = {item.key: item.value for item in status.values}

    def _transition(self, number: int, within_s: float = ANSWER_S) -> None:
        future = self._change.call_async(ChangeState.Request(transition=Transition(id=number)))
        self._wait_for(future.done, "the node's transition", within_s)
        response = future.result()
        if response is None or not response.success:
            raise BenchError(f"node: transition {number} failed, expected it to succeed; its log above says why")

    def _wait_for(self, condition: Callable[[], object], what: str, within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            if self._process.poll() is not None:
                raise BenchError(f"node: it ended with status {self._process.returncode}; its log above says why")
            if time.monotonic() > deadline_s or not rclpy.ok():
                raise BenchError(f"node: no {what} within {within_s:.0f} s; is the machine very busy?")
            self._executor.spin_once(timeout_sec=0.05)


def clock_ticks(stat: str) -> int:
    """User and system time of a process in clock ticks, all threads, from its /proc/PID/stat."""
    # Fields 14 and 15; the second is a name in parentheses, which may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _yaml(value: object) -> str:
    """A parameter's value on the command line."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
