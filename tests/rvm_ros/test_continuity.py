"""Stamps of a camera, classified."""

import pytest

from rvm_ros.continuity import Continuity, Transition

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


def test_a_driver_that_does_not_stamp_is_not_taken_for_duplicates():
    assert classify(0, 0, 5.0, 0, 5.1) == ["unstamped", "unstamped", "first", "unstamped", "next"]


def test_only_gaps_and_running_backwards_reset():
    assert {t.value for t in Transition if t.resets} == {"gap", "backwards"}


@pytest.mark.parametrize("gap", [0.0, -1.0, float("nan")])
def test_a_gap_that_is_not_positive_is_refused(gap):
    with pytest.raises(ValueError, match="max_gap: got"):
        Continuity(gap)
