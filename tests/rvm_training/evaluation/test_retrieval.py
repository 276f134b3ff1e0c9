"""Clips are found by clips, with figures that are computed by hand, and actions by their place in time."""

import numpy as np
import pytest
import torch

from rvm_training.evaluation.models import ModelInfo, VideoModel
from rvm_training.evaluation.retrieval import (
    RetrievalSettings,
    clip_vector,
    evaluate_retrieval,
    located,
    retrieval_metrics,
)


def circle(*degrees):
    """Unit vectors in the plane, whose mean is nothing where they are spread around it."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_recall_and_precision_by_hand():
    # Opposite pairs, so that the mean is zero. Nearest to 0 is 10, then 20; to 10 are 0 and 20; ...
    vectors = circle(0, 10, 25, 180, 190, 205)
    values = retrieval_metrics(vectors, [0, 1, 0, 2, 2, 2])
    # Queries: 0 (of its class: 25, second), 25 (0, second), and the three of class 2, which have each other first.
    assert values["Recall@1"] == pytest.approx(3 / 5)
    assert values["Recall@5"] == 1
    assert values["mAP"] == pytest.approx((0.5 + 0.5 + 3) / 5)
    assert values["chance"] == pytest.approx((2 * 1 / 5 + 3 * 2 / 5) / 5)


def test_who_is_alone_in_its_class_is_no_query():
    values = retrieval_metrics(circle(0, 90, 180), [0, 1, 2])
    assert all(np.isnan(each) for each in values.values())
    with pytest.raises(ValueError, match="got 3 clips and 2 labels"):
        retrieval_metrics(circle(0, 90, 180), [0, 1])


def test_the_order_of_time_counts():
    features = torch.arange(8.0)[:, None, None, None].expand(8, 2, 3, 1)
    assert clip_vector(features, 4).tolist() == [0.5, 2.5, 4.5, 6.5]
    assert clip_vector(features.flip(0), 4).tolist() == [6.5, 4.5, 2.5, 0.5]


def test_a_clip_is_found_where_it_is():
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(30, 2, 2, 16, generator=generator)
    query = clip_vector(video[13:19] + 5, 3)  # Another brightness of everything.
    assert located(query - 5, video, 6, 3) == 13


class Levels(VideoModel):
    """Features that are the frames' levels of red, green and blue."""

    def __init__(self):
        super().__init__(ModelInfo("levels", "frame by frame", "", False, "fp32", "torch", 4), (8, 8))

    def features(self, frames):
        return torch.from_numpy(frames[:, ::4, ::4].astype(np.float32)) / 255


def coloured(label, seed):
    def read():
        rng = np.random.default_rng(seed)
        colour = np.full(3, 40)
        colour[label] = 200
        return np.clip(rng.normal(colour, 8, (4, 8, 8, 3)), 0, 255).astype(np.uint8)

    return read, label


SETTINGS = RetrievalSettings(size=(8, 8), frames=4, parts=2, joined=3)


def test_clips_that_look_alike_find_each_other():
    clips = [coloured(label, seed) for seed, label in enumerate([0, 1, 2] * 4)]
    result = evaluate_retrieval(Levels(), clips, data="made", settings=SETTINGS)
    assert result.metrics["Recall@1"] == result.metrics["mAP"] == 1
    assert result.metrics["chance"] == pytest.approx(3 / 11)
    assert result.metrics["tIoU"] > 0.9
    assert result.metrics["located"] == 1
    again = evaluate_retrieval(Levels(), clips, data="made", settings=SETTINGS)
    assert again.metrics == result.metrics


def test_too_few_clips_are_refused():
    with pytest.raises(ValueError, match="expected two classes or more with two clips or more each"):
        evaluate_retrieval(Levels(), [coloured(0, 0), coloured(0, 1), coloured(1, 2)], data="made", settings=SETTINGS)
    with pytest.raises(ValueError, match="got 5 parts of 4 frames"):
        RetrievalSettings(frames=4, parts=5)
