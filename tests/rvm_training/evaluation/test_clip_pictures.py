"""Pictures of a clip's features: directions that matter are seen, clusters are those that are there."""

import av
import numpy as np
import pytest
import torch

from rvm_training.evaluation.clip_pictures import clip_clusters, enlarged, pca_colours
from rvm_training.offline.encoding import write_video


@pytest.fixture
def halves():
    """Features of two kinds, left and right, under a drift from frame to frame that is larger than what they differ."""
    generator = torch.Generator().manual_seed(0)
    features = 0.01 * torch.randn(4, 6, 8, 16, generator=generator)
    features[:, :, 4:, 3] += 1.0
    return features + 10 * torch.arange(4.0)[:, None, None, None]


def test_clusters_are_the_kinds_and_not_the_times(halves):
    labels = clip_clusters(halves, 2, (48, 64))
    assert labels.shape == (4, 48, 64)
    left, right = labels[0, 0, 0], labels[0, 0, -1]
    assert left != right
    assert (labels[:, :, :30] == left).all()
    assert (labels[:, :, 34:] == right).all()


def test_more_clusters_than_kinds_of_patches_leave_some_empty():
    features = torch.zeros(2, 4, 4, 8)
    features[:, :, 2:] = 1
    labels = clip_clusters(features, 5, (4, 4))
    assert len(np.unique(labels)) <= 5
    assert (labels[:, :, :1] != labels[:, :, 3:]).all()


@pytest.mark.parametrize("clusters", [0, 255])
def test_clusters_out_of_range_are_refused(halves, clusters):
    with pytest.raises(ValueError, match=f"got {clusters}, expected 1..254"):
        clip_clusters(halves, clusters, (4, 4))


def test_the_main_direction_is_red(halves):
    colours = pca_colours(halves)
    assert (colours.shape, colours.dtype) == ((4, 6, 8, 3), np.uint8)
    red = colours[..., 0].astype(int)
    assert abs(red[:, :, 4:].mean() - red[:, :, :4].mean()) > 200
    assert {red.min(), red.max()} == {0, 255}


def test_too_few_numbers_for_colours_are_refused(halves):
    with pytest.raises(ValueError, match="got width 2"):
        pca_colours(halves[..., :2])


def test_a_video_is_written_without_an_odd_last_row(tmp_path):
    frames = enlarged(np.random.default_rng(0).integers(0, 256, (5, 3, 5, 3), np.uint8), (33, 48))
    assert (frames[:, :11, :9] == frames[:, :1, :1]).all()
    write_video(tmp_path / "new" / "clip.mp4", frames)
    with av.open(str(tmp_path / "new" / "clip.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in decoded] == [(32, 48, 3)] * 5
