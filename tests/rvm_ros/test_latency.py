"""Latency over a window."""

import pytest

from rvm_ros.latency import STAGES, Latency


def frame(scale: float) -> dict[str, float]:
    return {stage: scale * (i + 1) for i, stage in enumerate(STAGES)}  # Sums to 15 * scale.


def test_percentiles_are_of_the_sum_of_the_stages():
    latency = Latency()
    for scale in (1, 2, 3):
        latency.record(frame(scale))
    summary = latency.summary()
    assert summary["latency_p50_ms"] == 30
    assert summary["latency_max_ms"] == 45
    assert summary["latency_p95_ms"] == pytest.approx(30 + 0.9 * 15)
    assert summary["latency_p99_ms"] == pytest.approx(30 + 0.98 * 15)
    assert (summary["wait_p50_ms"], summary["publish_p50_ms"], summary["engine_max_ms"]) == (2, 10, 9)


def test_old_frames_leave_the_window():
    latency = Latency(window=2)
    for scale in (100, 1, 1):
        latency.record(frame(scale))
    assert latency.summary()["latency_max_ms"] == 15


def test_nothing_recorded_is_an_empty_summary():
    assert Latency().summary() == {}


def test_an_unknown_or_missing_stage_is_refused():
    with pytest.raises(ValueError, match="got stages"):
        Latency().record({"engine": 1.0})
