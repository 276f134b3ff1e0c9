"""The least that a node in Python can be: answers each image with a feature map at once. What ROS alone costs here."""

from __future__ import annotations

from multiprocessing.connection import Connection

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from rvm_ros.bench.actor import requests
from rvm_ros.bench.receiver import POLL_S
from rvm_ros.interfaces import CAMERA_QOS, OUTPUT_QOS
from rvm_ros.outgoing import features_to_msg


def serve(pipe: Connection, camera_topic: str, features_topic: str, shape: tuple[int, int, int]) -> None:
    """Run the process: the first request subscribes, the next one unsubscribes, and so on; each answer is True.

    Args:
        pipe: for requests and answers.
        camera_topic: the images.
        features_topic: where the feature maps go.
        shape: of a feature map, [h, w, D].
    """
    _keep_freed_memory()
    rclpy.init()
    node, executor = Node("bench_relay"), SingleThreadedExecutor()
    executor.add_node(node)
    publisher = node.create_publisher(Image, features_topic, OUTPUT_QOS)
    features = np.random.default_rng(0).standard_normal(shape, np.float32)
    for _ in requests(pipe):
        subscription = node.create_subscription(
            Image, camera_topic, lambda image: publisher.publish(features_to_msg(features, image.header)), CAMERA_QOS
        )
        pipe.send(True)
        while not pipe.poll():
            executor.spin_once(timeout_sec=POLL_S)
        pipe.recv()
        node.destroy_subscription(subscription)
        pipe.send(True)
    rclpy.try_shutdown()


def _keep_freed_memory() -> None:
    """Let this process keep what it frees, as the node's does, whose weights were large blocks once.

    glibc gives memory back until the first large block is freed, and takes it anew at the next image: 1.5 ms of page
    faults a frame here, which are no cost of ROS.
    """
    np.ones(16_000_000, np.uint8)
