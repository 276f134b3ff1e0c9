"""Rates over the last events."""

import pytest

from rvm_ros.pace import Pace


def noted(*times: float) -> Pace:
    pace = Pace(events=5)
    for time_s in times:
        pace.note(time_s)
    return pace


def test_nothing_is_told_before_there_is_something():
    assert noted().hz(10.0) == 0
    assert noted().silent_s(10.0) is None
    assert noted(9.0).hz(10.0) == 0
    assert noted(9.0).silent_s(10.0) == 1.0


@pytest.mark.parametrize("now_s", [104.0, 105.0, 105.4])
def test_a_slow_camera_keeps_its_rate_between_two_frames(now_s):
    assert noted(101.0, 102.5, 104.0).hz(now_s) == pytest.approx(1 / 1.5)


def test_only_the_last_events_count():
    assert noted(0.0, 10.0, *(20 + 0.1 * i for i in range(5))).hz(20.45) == pytest.approx(10)


def test_the_rate_of_what_has_ended_goes_to_zero():
    pace = noted(*(0.1 * i for i in range(5)))
    assert pace.hz(0.4) == pytest.approx(10)
    assert pace.hz(0.9) == pytest.approx(5 / 0.9)
    assert pace.hz(1000.0) < 0.01
