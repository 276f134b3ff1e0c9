"""Every loss and baseline against a case computed by hand."""

import math

import pytest
import torch

from rvm_model import RVM
from rvm_training.pretraining.objectives import (
    copy_last,
    crowding_loss,
    drift_loss,
    mean_frame,
    patch_statistics,
    perceptual_loss,
    pixel_loss,
    place_loss,
    psnr,
    temporal_consistency_loss,
)


def test_pixel_loss_is_the_mean_square_per_clip():
    frames = torch.zeros(2, 1, 2, 2, 3)
    targets = frames.clone()
    targets[0, 0, 0, 0] = torch.tensor([1.0, 2.0, 0.0])
    assert pixel_loss(frames, targets).tolist() == pytest.approx([5 / 12, 0.0])


def test_patch_statistics_are_those_of_each_patch():
    frames = torch.rand(2, 3, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    mean, std = patch_statistics(frames, 4)
    patch = frames[1, 2, 4:8, 8:12]
    assert mean[1, 2, 5, 9].tolist() == pytest.approx([patch.mean().item()] * 3)
    assert std[1, 2, 4, 11].tolist() == pytest.approx([math.sqrt(patch.var().item() + 1e-6)] * 3)
    normalised = (frames - mean) / std
    assert normalised[0, 0, :4, :4].mean().item() == pytest.approx(0, abs=1e-6)
    assert normalised[0, 0, :4, :4].var().item() == pytest.approx(1, abs=1e-4)


def test_plain_patches_stay_finite():
    mean, std = patch_statistics(torch.ones(1, 1, 4, 4, 3), 4)
    assert ((torch.ones(1, 1, 4, 4, 3) - mean) / std).abs().max() == 0


def test_temporal_consistency_is_one_minus_the_cosine_to_the_frame_before():
    features = torch.zeros(2, 3, 1, 2)
    features[0, :, 0] = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])  # cosines 1, 0
    features[1, :, 0] = torch.tensor([[1.0, 0.0], [-3.0, 0.0], [1.0, 0.0]])  # cosines -1, -1
    assert temporal_consistency_loss(features).tolist() == pytest.approx([0.5, 2.0])


def test_temporal_consistency_moves_the_later_frame_only():
    features = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    temporal_consistency_loss(features).sum().backward()
    assert features.grad[:, 0].abs().max() == 0
    assert features.grad[:, 1].abs().max() > 0


def features_by_place(place: float, content: float, frame: float, clips: int = 64) -> torch.Tensor:
    """Features [B, 1 + 50, 8] whose places, contents and whole frames vary with these standard deviations."""
    rng = torch.Generator().manual_seed(0)
    parts = (place, (1, 51, 8)), (content, (clips, 51, 8)), (frame, (clips, 1, 8))
    features = sum(std * torch.randn(shape, generator=rng) for std, shape in parts)
    assert isinstance(features, torch.Tensor)
    features[:, 0] = 100  # CLS has no place.
    return features


@pytest.mark.parametrize(
    ("place", "content", "frame", "share"), [(1, 0, 0, 1), (0, 1, 0, 0), (1, 1, 0, 0.5), (1, 2, 5, 0.2)]
)
def test_place_loss_is_the_share_of_the_variance_within_frames_that_places_explain(place, content, frame, share):
    assert place_loss(features_by_place(place, content, frame)).item() == pytest.approx(share, abs=0.05)


def test_features_that_are_all_alike_have_finite_losses():
    assert place_loss(torch.ones(3, 5, 4)).item() == 0
    assert crowding_loss(torch.ones(3, 5, 4)).item() == 1
    assert crowding_loss(torch.zeros(3, 5, 4)).item() == 0


def test_place_loss_is_right_for_few_clips_too():
    assert place_loss(features_by_place(0, 1, 0, clips=3)).item() == pytest.approx(0, abs=0.05)
    assert place_loss(features_by_place(1, 0, 0, clips=1)).item() == 0


@pytest.mark.parametrize(("loud", "expected"), [([1, 1, 1, 1], 1 / 4), ([3, 0, 0, 0], 1), ([2, 2, 0, 0], 1 / 2)])
def test_crowding_loss_is_one_over_the_directions_that_features_take(loud, expected):
    rng = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=rng))[0]
    features = torch.randn(8, 2001, 4, generator=rng) * torch.tensor(loud) @ turn
    features[:, 0] = 1000
    assert crowding_loss(features).item() == pytest.approx(expected, rel=0.01)


def test_a_mean_that_all_features_share_counts_as_a_direction():
    features = torch.randn(8, 2001, 4, generator=torch.Generator().manual_seed(0))
    assert crowding_loss(features + 50).item() == pytest.approx(1, rel=0.01)


def test_means_that_each_clip_has_for_itself_are_directions_of_their_own():
    means = 50 * torch.eye(8)[:, None, :]
    features = torch.randn(8, 2001, 8, generator=torch.Generator().manual_seed(0)) + means
    assert crowding_loss(features).item() == pytest.approx(1 / 8, rel=0.01)


def test_drift_loss_is_how_far_age_moves_features_against_how_far_they_lie_apart():
    generator = torch.Generator().manual_seed(0)
    young = 2 * torch.randn(4, 2001, 3, generator=generator) + 50 * torch.randn(4, 1, 3, generator=generator)
    young[:, 0] = 1000
    moved = young + torch.tensor([0.0, 3.0, 0.0])
    moved[:, 0] = -1000
    assert drift_loss(young, young).item() == 0
    assert drift_loss(young[:0], young[:0]).item() == 0
    assert drift_loss(young, moved).item() == pytest.approx(9 / 12, rel=0.05)
    elsewhere = young[:, torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(2000)])]
    assert drift_loss(young, elsewhere).item() == pytest.approx(0, abs=1e-6), "what is in the picture may change"
    young.requires_grad_()
    drift_loss(young, moved.requires_grad_()).backward()
    assert young.grad is None
    assert moved.grad.any()


def test_temporal_consistency_of_one_frame_is_nothing():
    assert temporal_consistency_loss(torch.ones(3, 1, 2, 2)).tolist() == [0, 0, 0]


def test_perceptual_loss_is_the_distance_between_the_judges_tokens(tiny_run):
    torch.manual_seed(0)
    judge = RVM(tiny_run().model.scratch()).requires_grad_(False)
    frames, targets = torch.rand(2, 2, 32, 32, 3, requires_grad=True), torch.rand(2, 2, 32, 32, 3)
    loss = perceptual_loss(judge, frames, targets)
    for clip in range(2):
        tokens = [judge.encode(images[clip]) for images in (frames, targets)]
        assert loss[clip].item() == pytest.approx((tokens[0] - tokens[1]).square().mean().item(), rel=1e-5)
    loss.sum().backward()
    assert frames.grad.abs().max() > 0
    assert perceptual_loss(judge, targets, targets).tolist() == [0, 0]


def test_baselines_repeat_the_last_and_the_mean_source_frame():
    sources = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(2, 3, 4, 4, 3)
    assert copy_last(sources, 5).shape == (2, 5, 4, 4, 3)
    assert copy_last(sources, 5).unique().tolist() == [2.0]
    assert mean_frame(sources, 5).unique().tolist() == [1.0]


def test_psnr_of_known_errors():
    assert psnr(torch.tensor([1.0, 0.01, 0.0])).tolist() == pytest.approx([0.0, 20.0, 100.0])
