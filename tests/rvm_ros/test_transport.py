"""Large images between processes: with the shared-memory profile that we ship, none are lost."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from rvm_ros.environment import PROFILE, profile_path, ros_environment

pytestmark = pytest.mark.ros

FRAMES, FPS = 150, 30
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def test_640x480_at_30_hz_best_effort_loses_under_one_percent(client, start_node, make_video):
    video = make_video(FRAMES, fps=FPS, height=480, width=640)
    received = []
    client.node.create_subscription(Image, "/image_raw", lambda m: received.append(m.header.stamp), BEST_EFFORT)
    node = start_node(
        "rvm_ros.video_player_node",
        {
            "source": video,
            "wait_for_subscribers": 1,
            "qos_overrides./image_raw.publisher.reliability": "best_effort",
            "qos_overrides./image_raw.publisher.depth": 1,
        },
    )
    client.wait_for(lambda: node.process.poll() is not None, "the player's end")
    client.spin_for(0.5)
    assert node.process.returncode == 0
    times = np.array([stamp.sec + stamp.nanosec * 1e-9 for stamp in received])
    lost = 1 - len(np.unique(times)) / FRAMES
    print(f"lost {lost:.1%} of {FRAMES} frames")
    assert lost < 0.01
    assert times[-1] - times[0] == pytest.approx((FRAMES - 1) / FPS, abs=2 / FPS)


def test_what_the_user_has_set_is_left_alone(monkeypatch):
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    environment = ros_environment()
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in environment
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"


def test_the_profile_is_found():
    assert profile_path().name == PROFILE
    assert "<profiles" in profile_path().read_text()
