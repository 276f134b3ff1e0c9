"""Stamps of a camera, classified."""

import pytest

from rvm_ros.continuity import PATIENCE, Continuity, Transition

SECOND = 1_000_000_000


def classify(*stamps_s: float) -> list[str]:
    continuity = Continuity(max_gap_s=1.0)
    return [continuity.check(round(stamp * SECOND)).value for stamp in stamps_s]


def test_frames_in_order_go_on():
    assert classify(5.0, 5.1, 6.1) == ["first", "next", "next"]


def test_a_longer_pause_is_a_gap_and_what_follows_goes_on():
    assert classify(5.0, 6.001, 6.1) == ["first", "gap", "next"]


def test_the_same_stamp_is_a_duplicate():
    assert classify(5.0, 5.0, 5.1) == ["first", "duplicate", "next"]


def test_a_looping_bag_runs_backwards_once():
    assert classify(5.0, 5.1, 2.0, 2.1) == ["first", "next", "backwards", "next"]


def test_a_frame_that_was_overtaken_is_late_and_time_goes_on_from_the_newest():
    assert classify(5.0, 5.5, 5.4, 5.6) == ["first", "next", "late", "next"]


def test_a_second_sender_on_the_topic_does_not_run_time_backwards():
    both = [each for i in range(20) for each in (5.0 + 0.1 * i, 4.97 + 0.1 * i)]
    assert classify(*both) == ["first", "late"] + ["next", "late"] * 19


def test_a_clock_that_is_set_back_a_little_is_believed_after_some_frames():
    late = ["late"] * PATIENCE
    stamps = [5.1 + 0.01 * i for i in range(PATIENCE + 2)]
    assert classify(5.0, 5.5, *stamps) == ["first", "next", *late, "backwards", "next"]


def test_a_driver_that_does_not_stamp_is_not_taken_for_duplicates():
    assert classify(0, 0, 5.0, 0, 5.1) == ["unstamped", "unstamped", "first", "unstamped", "next"]


def test_duplicates_and_late_frames_are_not_taken_in():
    assert {t.value for t in Transition if t.skips} == {"duplicate", "late"}


def test_only_gaps_and_running_backwards_reset():
    assert {t.value for t in Transition if t.resets} == {"gap", "backwards"}


@pytest.mark.parametrize("gap", [0.0, -1.0, float("nan")])
def test_a_gap_that_is_not_positive_is_refused(gap):
    with pytest.raises(ValueError, match="max_gap: got"):
        Continuity(gap)
