"""The square of noise is found by who knows of motion, and by nobody else."""

import numpy as np
import pytest
import torch

from rvm_training.evaluation.models import Choice, load_model
from rvm_training.evaluation.noise_square import (
    LINEAR,
    NoiseSquare,
    clips,
    evaluate_noise_square,
    found_square,
    linear_readout,
    read_square,
)

SETTINGS = NoiseSquare(size=(64, 64), clips=2, frames=10, settle=3, taught=4)


def test_the_square_moves_and_no_frame_shows_it():
    first, second = clips(SETTINGS)
    assert first.frames.shape == (10, 64, 64, 3)
    assert (first.square[0] != first.square[9]).any()
    assert (first.frames[0] != second.frames[0]).any()
    inside, outside = first.frames[0][first.square[0]], first.frames[0][~first.square[0]]
    assert abs(inside.mean() - outside.mean()) < 8
    assert abs(inside.std() - outside.std()) < 8


def test_the_same_settings_make_the_same_clips():
    for once, again in zip(clips(SETTINGS), clips(SETTINGS), strict=True):
        assert (once.frames == again.frames).all()


def test_who_knows_the_square_has_it(oracle):
    clip = next(clips(SETTINGS))
    found = found_square(oracle(clip.square).features(clip.frames), clip, SETTINGS)
    overlap = (found & clip.square).sum() / (found | clip.square).sum()
    assert overlap > 0.7  # Patches of 4 pixels against a square of 22.


def test_pixels_do_not_see_it():
    result = evaluate_noise_square(load_model(Choice("pixels:8", device="cpu"), SETTINGS.size), SETTINGS)
    assert result.metrics["IoU"] < 0.25
    assert result.metrics["chance"] == pytest.approx((22 / 64) ** 2, rel=0.05)
    assert len(result.curves["IoU"]) == len(result.curves["frame"]) == 10
    assert result.metrics["IoU"] == pytest.approx(np.mean(result.curves["IoU"][3:]))


def test_a_readout_finds_what_features_know_of_beside_what_they_differ_in_most():
    rng = np.random.default_rng(0)

    class Knows:
        """Patches of 4 pixels whose features are loud noise, and softly whether they are the square's."""

        def features(self, frames):
            clip = next(c for c in [*clips(SETTINGS), *clips(SETTINGS, to_fit=True)] if (c.frames == frames).all())
            inside = clip.square.reshape(-1, 16, 4, 16, 4).mean((2, 4))
            loud = rng.normal(0, 10, (*inside.shape, 7))
            return torch.from_numpy(np.concatenate([loud, inside[..., None]], -1)).float()

    clip = next(clips(SETTINGS))
    features = Knows().features(clip.frames)
    clustered = found_square(features, clip, SETTINGS)
    read = read_square(features, clip, linear_readout(Knows(), SETTINGS))
    assert (clustered & clip.square).sum() / (clustered | clip.square).sum() < 0.3
    assert (read & clip.square).sum() / (read | clip.square).sum() > 0.7


def test_a_readout_of_pixels_finds_nothing():
    result = evaluate_noise_square(load_model(Choice("pixels:8", device="cpu"), SETTINGS.size), SETTINGS)
    assert result.metrics[LINEAR] < 0.15


def test_a_readout_needs_clips():
    with pytest.raises(ValueError, match="taught: got 0 clips"):
        NoiseSquare(taught=0)


def test_nothing_to_look_at_is_refused():
    with pytest.raises(ValueError, match="got 2 clips of 4 frames, 4 of them to settle"):
        NoiseSquare(clips=2, frames=4, settle=4)
