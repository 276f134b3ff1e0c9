"""A live node and time: simulated clocks, bags, cameras that are slow, late or not together."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock

pytestmark = pytest.mark.ros


@pytest.fixture
def clock(client):
    """Function setting the simulation's clock and waiting until a node has it."""
    publisher = client.node.create_publisher(Clock, "/clock", 10)

    def set_clock(node, seconds: float) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(round(seconds * 1e9), 10**9)

        def arrived() -> bool:
            publisher.publish(message)
            return abs(node.get_clock().now().nanoseconds / 1e9 - seconds) < 1e-6

        client.wait_for(arrived, "the clock")

    return set_clock


def test_a_jump_of_the_simulations_clock_starts_the_states_anew_once(robot, client, clock):
    node = robot(use_sim_time=True)
    clock(node.node, 100.0)
    for index in range(3):
        node.see(100 + 0.1 * index, index)
    assert node.wait_for_status(lambda told: told["state_age"] == 3)["resets"] == {}
    clock(node.node, 50.0)
    for index in range(3):
        node.see(50 + 0.1 * index, index)
    assert node.wait_for_status(lambda told: told["state_age"] == 3)["resets"] == {"clock jump": 1}


def test_a_bag_that_loops_starts_the_states_anew_once_each_time(robot):
    node = robot()
    for _ in range(3):
        for index in range(8):
            node.see(100 + 0.5 * index, index)
    assert node.wait_for_status(lambda told: told["state_age"] == 8)["resets"] == {"bag loop": 2}


def test_frames_are_stale_by_the_simulations_clock(robot, clock):
    node = robot(use_sim_time=True, max_age=0.5)
    clock(node.node, 100.0)
    node.see(99.8, 0)
    node.send(99.2, 1)
    node.see(99.9, 2)
    counts = node.node.worker.streams["camera"].counts
    assert (counts["stale"], counts["processed"]) == (1, 2)


def test_diagnostics_come_though_the_simulation_has_no_clock(robot, client):
    robot(use_sim_time=True)
    received = client.subscribe(DiagnosticArray, "/diagnostics")
    client.wait_for(lambda: len(received) >= 2, "diagnostics")


def test_a_camera_whose_rate_falls_below_the_gap_is_told_of_and_not_lost(robot, client):
    node = robot(warn_resets=3)
    for index in range(10):
        node.see(100 + index / 30, index)
    for index in range(1, 4):
        node.see(100 + 10 * index, index)
    told = node.wait_for_status(lambda told: told["state_age"] == 1 and told["resets"] == {"gap": 3})
    assert told["last_reset"]["stamp_ns"] == 130 * 10**9
    received = client.subscribe(DiagnosticArray, "/diagnostics")

    def warned() -> bool:
        statuses = [status for message in received for status in message.status]
        return any("started anew 3 times in the last minute, last: gap" in status.message for status in statuses)

    client.wait_for(warned, "the warning")


def test_a_state_that_fades_over_a_gap_is_neither_the_old_one_nor_none(robot):
    def after_a_gap(on_gap: str) -> np.ndarray:
        node = robot(on_gap=on_gap, decay_half_life=5.0)
        for index in range(3):
            node.see(100 + 0.1 * index, index)
        features = node.see(105.0, 7)["features"]
        node.end()
        return features

    reset, going_on, fading = (after_a_gap(on_gap) for on_gap in ("reset", "continue", "decay"))
    assert np.abs(reset - going_on).max() > 1e-3
    assert np.abs(fading - going_on).max() > 1e-4
    assert np.abs(fading - reset).max() > 1e-4


def test_cameras_whose_clocks_have_nothing_in_common_keep_their_own_time(robot):
    node = robot(cameras=["front", "rear"])
    for index in range(3):
        node.see(1000 + 0.1 * index, index, camera="front")
        node.see(5 + 0.2 * index, 10 + index, camera="rear")
    for camera in ("front", "rear"):
        worker = node.node.worker
        assert worker.perception(camera).states.age(camera) == 3
        assert worker.streams[camera].counts.resets_by_reason() == {}


def test_every_frame_of_a_bag_is_taken_in_order(robot):
    node = robot(processing="every", queue_length=100)
    for index in range(50):
        node.send(100 + 0.01 * index, index)
    counts = node.node.worker.streams["camera"].counts
    node.client.wait_for(lambda: counts["processed"] == 50, "all frames")
    assert (counts["dropped"], counts.resets_by_reason()) == (0, {})
    assert counts.intervals.summary()["max"] == pytest.approx(0.01)
    subscription = node.client.node.get_subscriptions_info_by_topic("/camera/image_raw")[0]
    assert subscription.qos_profile.reliability.name == "RELIABLE"


def test_a_camera_of_its_own_size_goes_through_its_own_engine(robot):
    parameters = {"cameras": ["front", "rear"], "rear.image_size": [16, 32]}
    node = robot(**parameters)
    assert node.see(1.0, 0, camera="front")["features"].shape == (2, 3, 24)
    assert node.see(1.0, 0, camera="rear")["features"].shape == (1, 2, 24)


def test_a_camera_is_limited_to_its_rate(robot):
    parameters = {"camera.max_rate": 5.0}
    node = robot(**parameters)
    for index in range(20):
        node.send(100 + 0.1 * index, index)
        node.client.spin_for(0.02)
    counts = node.node.worker.streams["camera"].counts
    node.client.wait_for(lambda: counts["processed"] + counts["dropped"] == 10, "half of them")
    assert counts["limited"] == 10
