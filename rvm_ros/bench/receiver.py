"""Who listens, in a process of its own: when each message arrived, by its stamp."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from rvm_model.messages.stamps import stamp_ns
from rvm_ros.bench.actor import requests

RECEIVER_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""Reliable, as the outputs are; deeper than a robot's consumers, so that what is lost was lost before."""
POLL_S = 0.05
"""How long the end of a phase may go unnoticed; messages are taken as they come."""
MATCH_S = 20.0
"""Seconds within which the publishers have to be there."""

Arrivals = dict[str, dict[int, int]]
"""Output to stamp to arrival, both time.monotonic_ns()."""


@dataclass(frozen=True)
class Listen:
    """A request: subscribe. Answered with True once all publishers are there; anything sent then ends it.

    The second answer is the Arrivals.
    """

    topics: Mapping[str, str]
    """Output's name to its topic."""


def serve(pipe: Connection) -> None:
    """Run the process; the pipe is for requests and answers."""
    rclpy.init()
    node, executor = Node("bench_receiver"), SingleThreadedExecutor()
    executor.add_node(node)
    for request in requests(pipe):
        _listen(pipe, node, executor, request)
    rclpy.try_shutdown()


def _listen(pipe: Connection, node: Node, executor: SingleThreadedExecutor, request: Listen) -> None:
    arrivals: Arrivals = {output: {} for output in request.topics}

    def note(output: str, message: Image) -> None:
        # First of all, and before anything looks at the message's data.
        now_ns = time.monotonic_ns()
        arrivals[output][stamp_ns(message)] = now_ns

    subscriptions = [
        node.create_subscription(Image, topic, lambda message, output=output: note(output, message), RECEIVER_QOS)
        for output, topic in request.topics.items()
    ]
    deadline_s = time.monotonic() + MATCH_S
    while not all(each.get_publisher_count() for each in subscriptions) and time.monotonic() < deadline_s:
        executor.spin_once(timeout_sec=POLL_S)
    pipe.send(all(each.get_publisher_count() for each in subscriptions))
    while not pipe.poll():
        executor.spin_once(timeout_sec=POLL_S)
    pipe.recv()
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
    pipe.send(arrivals)
