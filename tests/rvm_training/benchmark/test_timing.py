"""Things are timed in turn, and summed up by their median."""

import pytest

from rvm_training.benchmark.timing import Timing, interleaved


def test_a_timing_is_the_median_and_the_outer_deciles_in_milliseconds():
    timing = Timing.of([0.001 * n for n in range(1, 12)])
    assert (timing.median_ms, timing.p10_ms, timing.p90_ms) == pytest.approx((6.0, 2.0, 10.0))


def test_ratios_are_taken_round_by_round():
    slow, fast = Timing.of([0.2, 0.4, 0.8]), Timing.of([0.1, 0.2, 0.2])
    assert slow.ratio(fast) == pytest.approx((2.0, 2.0, 3.6))


def test_actions_run_in_turn_and_the_first_round_is_not_measured():
    order = []
    timings = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ababab"
    assert 0 <= timings["a"].p10_ms <= timings["a"].median_ms <= timings["a"].p90_ms
