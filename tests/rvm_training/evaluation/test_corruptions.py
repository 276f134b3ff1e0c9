"""Pictures get worse with the strength, each in its own way, and the same way for the same seed."""

import numpy as np
import pytest

from rvm_training.evaluation.corruptions import NAMES, corrupted, kept_frames
from rvm_training.evaluation.footage import scenes

CHANGING = [name for name in NAMES if name != "dropped frames"]


@pytest.fixture(scope="module")
def frames():
    ((_, clip),) = scenes(1, 12, (128, 160))
    return clip


def distance(a, b):
    return np.abs(a.astype(float) - b).mean()


@pytest.mark.parametrize("name", CHANGING)
def test_stronger_is_worse_and_nothing_is_nothing(frames, name):
    assert (corrupted(name, frames, 0) == frames).all()
    mild, severe = (corrupted(name, frames, strength, seed=3) for strength in (1, 5))
    assert (mild.shape, mild.dtype) == (frames.shape, np.uint8)
    assert 0 < distance(mild, frames) < distance(severe, frames)
    assert (corrupted(name, frames, 5, seed=3) == severe).all()


def test_what_hides_is_outside_the_picture_at_both_ends(frames):
    for seed in range(4):
        hidden = corrupted("occlusion", frames, 5, seed)
        assert (hidden[[0, -1]] == frames[[0, -1]]).all()
        assert (hidden[6] == 128).all(axis=(0, 2)).sum() > 50


def test_exposure_wanders_over_time(frames):
    ratios = corrupted("exposure", frames, 2).mean((1, 2, 3)) / frames.mean((1, 2, 3))
    assert ratios.max() > 1.2
    assert ratios.min() < 0.8


def test_more_frames_are_lost_but_never_those_that_are_needed():
    assert kept_frames(50, 0, 0).tolist() == list(range(50))
    counts = [len(kept_frames(50, strength, 0)) for strength in (1, 3, 5)]
    assert counts == sorted(counts, reverse=True)
    assert 12 < counts[-1] < 30
    assert set(kept_frames(3, 5, 0)) == {0, 1, 2}


@pytest.mark.parametrize(("name", "strength"), [("rain", 1), ("blur", 6), ("blur", -1)])
def test_what_there_is_not_is_refused(frames, name, strength):
    with pytest.raises(ValueError, match="expected one of blur, noise, dropped frames, exposure, occlusion, JPEG at"):
        corrupted(name, frames, strength)
