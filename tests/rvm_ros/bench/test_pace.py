"""The pace of the benchmark's camera, by a clock that moves only when something sleeps or works."""

import pytest

pytest.importorskip("rclpy")

from rvm_ros.bench import pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def test_frames_are_a_period_apart_whatever_work_lies_between(clock):
    times = []
    for _ in pace.at_rate(10.0, 4):
        times.append(clock.now_s)
        clock.sleep(0.03)
    assert times == pytest.approx([100.0, 100.1, 100.2, 100.3])


def test_a_late_frame_is_not_made_up_for(clock):
    times = []
    for index in pace.at_rate(10.0, 4):
        times.append(clock.now_s)
        clock.sleep(0.25 if index == 0 else 0.0)
    assert times == pytest.approx([100.0, 100.25, 100.35, 100.45])


def test_rate_zero_does_not_wait(clock):
    assert list(pace.at_rate(0.0, 3)) == [0, 1, 2]
    assert clock.now_s == 100.0
