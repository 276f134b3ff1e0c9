"""Stamps of a camera, classified."""

from collections.abc import Sequence

import pytest

from rvm_model.messages.continuity import PATIENCE, Continuity, Transition, Verdict

SECOND = 1_000_000_000


def verdicts(*stamps_s: float, max_gap_s: float = 1.0, arrivals_s: Sequence[float] = ()) -> list[Verdict]:
    continuity, arrivals = Continuity(), iter(arrivals_s)
    return [
        continuity.check(round(stamp * SECOND), now_s=next(arrivals, 0.0), max_gap_s=max_gap_s) for stamp in stamps_s
    ]


def classify(*stamps_s: float, **kwargs) -> list[str]:
    return [verdict.transition.value for verdict in verdicts(*stamps_s, **kwargs)]


def test_frames_in_order_go_on():
    assert classify(5.0, 5.1, 6.1) == ["first", "next", "next"]


def test_a_longer_pause_is_a_gap_and_what_follows_goes_on():
    assert classify(5.0, 6.001, 6.1) == ["first", "gap", "next"]


def test_the_same_stamp_is_a_duplicate():
    assert classify(5.0, 5.0, 5.1) == ["first", "duplicate", "next"]


def test_a_clock_that_is_set_back_far_runs_backwards_once():
    assert classify(5.0, 5.1, 2.0, 2.1) == ["first", "next", "backwards", "next"]


def test_a_bag_that_is_played_again_is_a_loop_each_time():
    once = [5.0 + 0.5 * i for i in range(8)]
    nexts = ["next"] * 7
    assert classify(*once, *once, *once[1:]) == ["first", *nexts, "bag loop", *nexts, "bag loop", *nexts[1:]]


def test_the_time_between_stamps_is_told():
    assert [verdict.dt_s for verdict in verdicts(5.0, 5.25, 7.25, 2.25)] == [0.0, 0.25, 2.0, -5.0]


@pytest.mark.parametrize(("period_s", "expected"), [(1 / 30, "next"), (0.1, "next"), (1.0, "next"), (10.0, "gap")])
def test_a_camera_may_change_its_rate_within_the_largest_gap(period_s, expected):
    fast = [5.0 + i / 30 for i in range(30)]
    slow = [fast[-1] + period_s * i for i in range(1, 4)]
    assert classify(*fast, *slow, slow[-1] + 1 / 30)[-4:] == [expected] * 3 + ["next"]


def test_what_was_forgotten_is_not_compared_with():
    continuity = Continuity()
    continuity.check(9 * SECOND, now_s=0.0, max_gap_s=1.0)
    continuity.forget()
    assert continuity.check(5 * SECOND, now_s=0.0, max_gap_s=1.0) == Verdict(Transition.FIRST)


def test_without_stamps_a_pause_between_arrivals_is_a_gap():
    got = verdicts(0, 0, 0, 0, arrivals_s=(100.0, 100.5, 102.5, 102.6))
    assert [verdict.transition.value for verdict in got] == ["unstamped", "unstamped", "gap", "unstamped"]
    assert got[2].dt_s == 2.0


def test_a_frame_that_was_overtaken_is_late_and_time_goes_on_from_the_newest():
    assert classify(5.0, 5.5, 5.4, 5.6) == ["first", "next", "late", "next"]


def test_a_second_sender_on_the_topic_does_not_run_time_backwards():
    both = [each for i in range(20) for each in (5.0 + 0.1 * i, 4.97 + 0.1 * i)]
    assert classify(*both) == ["first", "late"] + ["next", "late"] * 19


def test_a_clock_that_is_set_back_a_little_is_believed_after_some_frames():
    late = ["late"] * PATIENCE
    stamps = [5.1 + 0.01 * i for i in range(PATIENCE + 2)]
    assert classify(2.0, 5.0, 5.5, *stamps, max_gap_s=3.0) == ["first", "next", "next", *late, "backwards", "next"]


def test_a_driver_that_does_not_stamp_is_not_taken_for_duplicates():
    assert classify(0, 0, 5.0, 0, 5.1) == ["unstamped", "unstamped", "first", "unstamped", "next"]


def test_duplicates_and_late_frames_are_not_taken_in():
    assert {t.value for t in Transition if t.skips} == {"duplicate", "late"}


def test_time_goes_back_where_a_clock_is_set_back_and_where_a_bag_loops():
    assert {t.value for t in Transition if t.rewinds} == {"backwards", "bag loop"}


@pytest.mark.parametrize("gap", [0.0, -1.0, float("nan")])
def test_a_gap_that_is_not_positive_is_refused(gap):
    with pytest.raises(ValueError, match="max_gap: got"):
        verdicts(1.0, max_gap_s=gap)
