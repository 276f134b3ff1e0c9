"""Colours of labels, the same in every tool, and labels laid over an image."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

GOLDEN_RATIO = 0.618033988749895
"""Steps of this share around the colour circle never come close to an earlier one."""


def palette(count: int) -> npt.NDArray[np.uint8]:
    """Distinct colours, uint8 [count, 3]; label i has the same one whatever the count."""
    # Saturation and value alternate, so that neighbours on the circle differ in more than hue.
    tones = ((0.85, 1.0), (0.6, 0.75), (1.0, 0.85), (0.45, 1.0))
    colours = [
        colorsys.hsv_to_rgb((0.02 + index * GOLDEN_RATIO) % 1.0, *tones[index % len(tones)]) for index in range(count)
    ]
    return np.round(np.array(colours).reshape(count, 3) * 255).astype(np.uint8)


def overlay(image: Tensor, labels: Tensor, alpha: float, colours: Tensor) -> Tensor:
    """Lay the labels' colours over an image.

    Args:
        image: uint8 RGB [H, W, 3].
        labels: integers [H, W], each below the number of colours.
        alpha: share of the colour, 0..1.
        colours: uint8 [K, 3] on the same device.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: image and labels differ in size.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f"overlay: got image {tuple(image.shape)} and labels {tuple(labels.shape)}, expected one size")
    blended = torch.lerp(image.float(), colours[labels.long()].float(), alpha)
    return blended.round_().to(torch.uint8)
