"""Losses in float32, one value per clip, or of a whole batch where they say so. The paper's is `pixel_loss` without
normalisation; the others are extras.

Shape legend: B clips, T target frames, S source frames, H W pixels, N tokens with CLS, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rvm_model.rvm import RVM

_NO_VARIANCE = 1e-12
"""Keeps finite what is divided by how far features lie apart, or from zero, where they do not."""
_PATCH_VARIANCE_EPS = 1e-6
"""As in MAE: keeps plain patches finite."""


def pixel_loss(frames_BTHWC: Tensor, targets_BTHWC: Tensor) -> Tensor:
    """Mean squared error over all pixels of all targets, masked or not (paper section 3.3); returns [B]."""
    return (frames_BTHWC.float() - targets_BTHWC.float()).square().flatten(1).mean(1)


def patch_statistics(frames_BTHWC: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each patch over its pixels and channels, at every pixel: both [B, T, H, W, 3]."""
    batch, targets, height, width, channels = frames_BTHWC.shape
    rows, columns = height // patch, width // patch
    cut = frames_BTHWC.reshape(batch, targets, rows, patch, columns, patch, channels)
    mean = cut.mean(dim=(3, 5, 6), keepdim=True).expand_as(cut)
    std = (cut.var(dim=(3, 5, 6), keepdim=True) + _PATCH_VARIANCE_EPS).sqrt().expand_as(cut)
    return mean.reshape(frames_BTHWC.shape), std.reshape(frames_BTHWC.shape)


def temporal_consistency_loss(features_BSND: Tensor) -> Tensor:
    """1 - cosine between each token and the same token one frame earlier, which is held fixed; returns [B].

    Zero for a single source frame.
    """
    if features_BSND.shape[1] < 2:
        return features_BSND.new_zeros(features_BSND.shape[0], dtype=torch.float32)
    earlier, later = features_BSND[:, :-1].float().detach(), features_BSND[:, 1:].float()
    return (1 - functional.cosine_similarity(earlier, later, dim=-1)).flatten(1).mean(1)


def place_loss(features_BND: Tensor) -> Tensor:
    """Share of the variance within a frame of patches' features (CLS left out) that place explains; returns [].

    From the clips of a batch, corrected for their number: 1 where all clips have the same features, 0 on average where
    places say nothing, at least -1 / (B - 1); 0 for a single clip, which cannot tell.
    """
    batch = features_BND.shape[0]
    if batch < 2:
        return features_BND.new_zeros((), dtype=torch.float32)
    patches_BND = features_BND[:, 1:].float()
    patches_BND = patches_BND - patches_BND.mean(1, keepdim=True)  # What a whole frame has in common is no place's.
    by_place_ND = patches_BND.mean(0)
    within = (patches_BND - by_place_ND).square().mean() * batch / (batch - 1)
    between = by_place_ND.square().mean() - within / batch
    return between / (between + within + _NO_VARIANCE)


def crowding_loss(features_BND: Tensor) -> Tensor:
    """One over the participation ratio of the second moments of patches' features (CLS left out); returns [].

    1 where all features lie along one direction, 1/D where as much lies along each of all D: the sum of the squared
    eigenvalues by the square of their sum. The mean is not taken off: cosines between features that share a
    large one see little else. Over all clips together, so that a mean of each clip's own counts as its direction.
    """
    rows_MD = features_BND[:, 1:].float().flatten(0, 1)
    with torch.autocast(rows_MD.device.type, enabled=False):
        moments_DD = rows_MD.T @ rows_MD / max(len(rows_MD), 1)
    return moments_DD.square().sum() / (moments_DD.trace().square() + _NO_VARIANCE)


def drift_loss(young_BND: Tensor, old_BND: Tensor) -> Tensor:
    """How far the mean feature of a frame lies from where a younger state has it, which is held fixed; returns [].

    `moved_mean` of patches alone, without the CLS token. 0 without clips.
    """
    if not len(young_BND):
        return old_BND.new_zeros((), dtype=torch.float32)
    return moved_mean(young_BND[:, 1:].detach(), old_BND[:, 1:])


def moved_mean(young_BND: Tensor, old_BND: Tensor) -> Tensor:
    """Squared distance between the mean features of the same frames, as a share of the variance within them; [].

    Above one, what sets the two apart tells features apart more than anything in the picture does.
    """
    young, old = young_BND.float(), old_BND.float()
    variance = (young - young.mean(1, keepdim=True)).square().sum(-1).mean()
    return (old.mean(1) - young.mean(1)).square().sum(-1).mean() / (variance + _NO_VARIANCE)


def perceptual_loss(judge: RVM, frames_BTHWC: Tensor, targets_BTHWC: Tensor) -> Tensor:
    """Mean squared distance between a frozen encoder's tokens of reconstruction and target; returns [B]."""
    batch = frames_BTHWC.shape[0]
    got = judge.encode(frames_BTHWC.float().flatten(0, 1))
    with torch.no_grad():
        expected = judge.encode(targets_BTHWC.float().flatten(0, 1))
    return (got.float() - expected.float()).square().reshape(batch, -1).mean(1)


def copy_last(sources_BSHWC: Tensor, targets: int) -> Tensor:
    """Baseline: the last source frame as the prediction of every target, [B, T, H, W, 3]."""
    return sources_BSHWC[:, -1:].expand(-1, targets, -1, -1, -1)


def mean_frame(sources_BSHWC: Tensor, targets: int) -> Tensor:
    """Baseline: the mean of the source frames as the prediction of every target, [B, T, H, W, 3]."""
    return sources_BSHWC.mean(dim=1, keepdim=True).expand(-1, targets, -1, -1, -1)


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of a mean squared error of frames in [0, 1]."""
    return -10 * torch.log10(mse.clamp_min(1e-10))
