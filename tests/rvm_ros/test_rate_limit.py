"""Fewer frames than a camera sends."""

import numpy as np
import pytest

from rvm_ros.rate_limit import RateLimit

SECOND = 1_000_000_000


def taken(times_s, max_rate_hz: float) -> list[float]:
    limit = RateLimit()
    return [time_s for time_s in times_s if limit.takes(round(time_s * SECOND), max_rate_hz)]


@pytest.mark.parametrize(
    ("camera_hz", "max_rate_hz", "expected"), [(30, 10, 100), (30, 7, 70), (30, 0, 300), (5, 10, 50)]
)
def test_as_many_frames_are_taken_as_asked_for_and_there_are(camera_hz, max_rate_hz, expected):
    assert len(taken(np.arange(10 * camera_hz) / camera_hz, max_rate_hz)) == pytest.approx(expected, abs=1)


def test_a_cameras_jitter_does_not_make_the_rate_lower():
    jitter = np.random.default_rng(0).uniform(-0.004, 0.004, 900)
    times = 1.0 + np.arange(900) / 30 + jitter
    assert len(taken(times, 10)) == pytest.approx(300, abs=2)


def test_a_pause_is_not_made_up_for():
    times = [*np.arange(10) / 10, *(60 + np.arange(10) / 10)]
    assert taken(times, 2.0) == pytest.approx([0.0, 0.5, 60.0, 60.5])


def test_another_rate_holds_at_once():
    limit = RateLimit()
    assert [limit.takes(t * SECOND, 0.01) for t in (0, 1)] == [True, False]
    assert [limit.takes(t * SECOND, 1.0) for t in (2, 3)] == [True, True]


def test_after_time_went_back_the_next_frame_is_taken():
    limit = RateLimit()
    assert limit.takes(100 * SECOND, 1.0)
    assert not limit.takes(3 * SECOND, 1.0)
    limit.forget()
    assert limit.takes(3 * SECOND, 1.0)
