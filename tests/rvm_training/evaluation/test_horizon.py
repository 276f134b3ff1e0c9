"""J&F over the beginnings of videos, all of them on the same videos."""

import numpy as np
import pytest
import torch

from rvm_training.evaluation import datasets
from rvm_training.evaluation.horizon import evaluate_horizon
from rvm_training.evaluation.propagation import Protocol, propagate_masks, score_objects, summary

PROTOCOL = Protocol(size=(64, 112), context=3)


def test_each_horizon_is_scored_on_its_frames_alone(benchmarks, oracle):
    (video, *_) = datasets.davis(benchmarks / "davis")
    frames, masks = video.read()
    wrong = masks.copy()
    wrong[4:] = 0  # From here on nothing is known.
    result = evaluate_horizon(oracle(wrong), [video], data="made", horizons=[4, 6], protocol=PROTOCOL)
    pred = propagate_masks(oracle(wrong), frames, masks[0], PROTOCOL)
    expected = [summary(score_objects("", masks[:count], pred[:count]))["J&F-Mean"] for count in (4, 6)]
    assert result.curves["J&F"] == expected
    assert result.curves["relative"] == [1.0, expected[1] / expected[0]]
    assert expected[1] < expected[0]
    assert result.metrics["relative@6"] == expected[1] / expected[0]
    # One of 32 features of the oracle is 1, the rest 0.
    assert result.curves["RMS of features"] == pytest.approx([32**-0.5] * 2)
    assert result.metrics["RMS of features@6"] == pytest.approx(32**-0.5)


def test_features_that_move_with_age_are_told_from_those_that_move_with_the_picture(benchmarks, oracle):
    (video, *_) = datasets.davis(benchmarks / "davis")
    masks = np.repeat(video.read()[1][:1], 6, axis=0)

    class Ageing(oracle):
        def features(self, frames):
            made = super().features(frames)
            made[..., 31] += 0.1 * torch.arange(len(frames))[:, None, None]
            return made

    result = evaluate_horizon(Ageing(masks), [video], data="made", horizons=[3, 6], protocol=PROTOCOL)
    of_labels = oracle(masks).features(masks[:1])[0].flatten(0, 1)
    variance = (of_labels - of_labels.mean(0)).square().sum(1).mean().item()
    assert result.curves["mean moved by age"] == pytest.approx([0, 0.3**2 / variance], rel=1e-4)
    still = evaluate_horizon(oracle(masks), [video], data="made", horizons=[3, 6], protocol=PROTOCOL)
    assert still.metrics["mean moved by age@6"] == 0


def test_videos_that_are_too_short_are_left_out_and_none_is_refused(benchmarks, oracle):
    videos = datasets.davis(benchmarks / "davis")
    _, masks = videos[0].read()
    with pytest.raises(ValueError, match="got 2 videos of at most 6 frames, expected one of 7 or more"):
        evaluate_horizon(oracle(masks), videos, data="made", horizons=[4, 7], protocol=PROTOCOL)


@pytest.mark.parametrize("horizons", [[], [2, 4], [6, 4], [4, 4]])
def test_horizons_that_do_not_rise_are_refused(benchmarks, oracle, horizons):
    with pytest.raises(ValueError, match="expected rising numbers of frames"):
        evaluate_horizon(None, [], data="made", horizons=horizons)
