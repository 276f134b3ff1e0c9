"""Arithmetic of the node's benchmark."""

import pytest

pytest.importorskip("rclpy")

from rvm_ros.bench.figures import Durations, EnginePhase, NodePhase, Round, Split, around_ms, latencies_ms
from rvm_ros.latency import STAGES


def durations(p50: float) -> Durations:
    return Durations(count=10, p50=p50, p95=2 * p50, p99=3 * p50, max=4 * p50)


def measured(total: float, step: float, stage: float = 1.0) -> Round:
    """A round: medians of the whole, of the step alone, and of every stage of the node."""
    phase = NodePhase(10, durations(total), {**dict.fromkeys(STAGES, stage), "latency": 5 * stage}, 3.0, {})
    return Round({"features": phase}, durations(4.0), EnginePhase(durations(step), 2.0), EnginePhase(durations(1), 1.0))


def test_percentiles_are_of_all_durations():
    assert Durations.of([float(ms) for ms in range(1, 102)]) == Durations(101, 51.0, 96.0, 100.0, 101.0)


def test_no_duration_is_refused_and_says_what_to_look_for():
    with pytest.raises(ValueError, match="got none, expected at least one"):
        Durations.of([])


def test_over_rounds_percentiles_are_medians_and_the_maximum_is_that_of_all():
    rounds = [durations(1.0), durations(10.0), durations(2.0)]
    assert Durations.over_rounds(rounds) == Durations(count=30, p50=2.0, p95=4.0, p99=6.0, max=40.0)


def test_latency_is_of_the_frames_that_count_and_arrived():
    # The first is of the warm-up, the one of stamp 2 ms was lost.
    arrivals = {0: 900_000, 1_000_000: 6_000_000, 3_000_000: 10_500_000}
    assert latencies_ms([1_000_000, 2_000_000, 3_000_000], arrivals) == [5.0, 7.5]


def test_the_split_sums_up_to_the_total():
    split = Split.of([measured(20.0, 10.0), measured(30.0, 12.0, stage=2.0), measured(22.0, 11.0, stage=3.0)])
    assert split.total == 22.0
    assert split.stages == dict.fromkeys(STAGES, 2.0)
    assert split.outside == 12.0
    assert sum(split.stages.values()) + split.outside == split.total
    assert (split.engine, split.relay) == (11.0, 4.0)


def test_what_is_around_the_engine_is_the_difference_within_a_round():
    # Once the whole machine was slow: medians of different rounds would have nothing to do with each other.
    split = Split.of([measured(20.0, 10.0), measured(44.0, 40.0), measured(23.0, 14.0, stage=2.0)])
    assert split.around == 9.0
    assert split.beside == 21.0


@pytest.mark.parametrize(("total", "said"), [(15.0, "5.0 ms (goal 5 ms: kept)"), (15.1, "5.1 ms (goal 5 ms: missed)")])
def test_the_verdict_holds_the_difference_against_the_goal(total, said):
    assert Split.of([measured(total, 10.0)]).verdict() == (
        f"publish to features received: {total} ms, engine step: 10.0 ms, ROS and the rest: {said}"
    )


def test_the_spread_is_of_the_differences_within_rounds():
    assert around_ms([measured(20.0, 10.0), measured(31.0, 30.0)]) == (1.0, 10.0)
