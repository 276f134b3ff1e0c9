"""The player as a process of its own, seen over DDS."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from rvm_model.messages.images import compressed_to_array, image_to_array

pytestmark = pytest.mark.ros

NODE = "rvm_ros.video_player_node"
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def stamps_s(messages) -> list[float]:
    return [message.header.stamp.sec + message.header.stamp.nanosec * 1e-9 for message in messages]


def numbers(images: list[np.ndarray]) -> list[int]:
    return [round(image.mean() / 10) for image in images]


def test_a_video_is_played_to_its_end_with_its_own_stamps(client, start_node, make_video):
    received = client.subscribe(Image, "/image_raw", RELIABLE)
    node = start_node(NODE, {"source": make_video(12, fps=25), "wait_for_subscribers": 1, "frame_id": "lens"})
    client.wait_for(lambda: len(received) == 12, "all frames")
    assert numbers([image_to_array(message) for message in received]) == list(range(1, 13))
    assert np.diff(stamps_s(received)) == pytest.approx([0.04] * 11, abs=1e-6)
    assert {message.header.frame_id for message in received} == {"lens"}
    client.wait_for(lambda: node.process.poll() is not None, "the player's end")
    assert node.process.returncode == 0
    assert "end after 12 frames" in node.log


def test_a_given_rate_sets_the_pace_and_leaves_the_stamps(client, start_node, make_video):
    received = client.subscribe(Image, "/image_raw", RELIABLE)
    start_node(NODE, {"source": make_video(11, fps=1), "wait_for_subscribers": 1, "rate": 20.0})
    client.wait_for(lambda: len(received) == 11, "all frames")
    ended_s = time.time()
    assert np.diff(stamps_s(received)) == pytest.approx([1.0] * 10, abs=1e-6)
    # The first stamp is when it began. Ten intervals of 50 ms take no less, however busy the machine is, as no frame is
    # sent early; at the video's own rate they would take 10 s.
    assert 0.5 <= ended_s - stamps_s(received)[0] < 8


def test_looping_starts_over_with_increasing_stamps_until_interrupted(client, start_node, make_video):
    received = client.subscribe(Image, "/image_raw", RELIABLE)
    node = start_node(NODE, {"source": make_video(3, fps=50), "wait_for_subscribers": 1, "loop": "true"})
    client.wait_for(lambda: len(received) >= 8, "more than two rounds")
    assert numbers([image_to_array(message) for message in received[:8]]) == [1, 2, 3, 1, 2, 3, 1, 2]
    assert np.diff(stamps_s(received[:8])) == pytest.approx([0.02] * 7, abs=1e-6)
    assert node.interrupt(signal.SIGINT) == 0
    assert "Traceback" not in node.log


def test_compressed_transport_sends_jpeg(client, start_node, make_video):
    received = client.subscribe(CompressedImage, "/front/image/compressed", RELIABLE)
    start_node(
        NODE,
        {
            "source": make_video(3),
            "topic": "front/image",
            "transport": "compressed",
            "wait_for_subscribers": 1,
        },
    )
    client.wait_for(lambda: len(received) == 3, "all frames")
    assert numbers([compressed_to_array(message) for message in received]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"source": "/nowhere.mp4"}, "source: got '/nowhere.mp4'"),
        ({}, "source: got ''"),
        ({"source": "x", "rate": -1.0}, "rate"),
        ({"source": "x", "transport": "theora"}, "expected one of raw, compressed"),
    ],
)
def test_what_cannot_be_played_ends_the_process_with_the_reason(start_node, parameters, reason):
    node = start_node(NODE, parameters)
    assert node.process.wait(timeout=30) == 1
    assert reason in node.log
    assert "Traceback" not in node.log
