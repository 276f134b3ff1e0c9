"""A camera in a process of its own: 640x480 rgb8 at a steady rate, stamped by the clock that all processes share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rvm_model.messages.stamps import set_stamp
from rvm_ros.bench.actor import requests
from rvm_ros.bench.pace import at_rate
from rvm_ros.interfaces import CAMERA_QOS
from rvm_ros.outgoing import array_to_image

HEIGHT, WIDTH = 480, 640
"""Of the camera's images."""
MATCH_S = 10.0
"""Seconds within which a subscriber has to be there."""


@dataclass(frozen=True)
class Send:
    """A request: publish so many images; the answer is the list of their stamps in nanoseconds."""

    rate_hz: float
    frames: int


def serve(pipe: Connection, topic: str) -> None:
    """Run the process.

    Args:
        pipe: for requests and answers.
        topic: where the images go.
    """
    rclpy.init()
    node = Node("bench_camera")
    publisher = node.create_publisher(Image, topic, CAMERA_QOS)
    image = array_to_image(picture(), Header(frame_id="bench"), "rgb8")
    for request in requests(pipe):
        pipe.send(_publish(publisher, image, request))
    rclpy.try_shutdown()


def picture() -> np.ndarray:
    """Noise, uint8 RGB [HEIGHT, WIDTH, 3]: what is in the image changes nothing of what it costs."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def _publish(publisher: Publisher, image: Image, request: Send) -> list[int]:
    deadline_s = time.monotonic() + MATCH_S
    while not publisher.get_subscription_count() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    stamps_ns = []
    for _ in at_rate(request.rate_hz, request.frames):
        # The clock is the machine's, not the process's: a receiver of the stamp knows how long ago this was.
        now_ns = time.monotonic_ns()
        set_stamp(image, now_ns)
        publisher.publish(image)
        stamps_ns.append(now_ns)
    return stamps_ns
