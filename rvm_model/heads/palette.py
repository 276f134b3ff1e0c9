"""Colours of labels, the same in every tool, and labels laid over an image."""

from __future__ import annotations

import colorsys
import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

HUES, SATURATIONS, VALUES = 36, (1.0, 0.7, 0.45), (1.0, 0.75, 0.5)
"""The colours to choose from; with more labels than these have, colours repeat."""


def palette(count: int) -> npt.NDArray[np.uint8]:
    """Colours of labels, uint8 [count, 3]; label i has the same one whatever the count, early ones differ most."""
    order = _ordered()
    return order[np.arange(count) % len(order)]


@lru_cache(maxsize=1)
def _ordered() -> npt.NDArray[np.uint8]:
    """All candidates, each as far as possible from those before it."""
    grid = itertools.product(range(HUES), SATURATIONS, VALUES)
    rgb = np.array([colorsys.hsv_to_rgb(hue / HUES, s, v) for hue, s, v in grid]) * 255
    nearest = np.full(len(rgb), np.inf)
    chosen = [0]  # Red.
    while len(chosen) < len(rgb):
        nearest = np.minimum(nearest, _distance(rgb, rgb[chosen[-1]]))
        chosen.append(int(nearest.argmax()))
    return np.round(rgb[chosen]).astype(np.uint8)


def _distance(colours: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Perceived distance of RGB colours by the usual "redmean" weights."""
    red_mean = (colours[:, 0] + other[0]) / 2
    squares = (colours - other) ** 2
    weights = np.stack([2 + red_mean / 256, np.full_like(red_mean, 4.0), 2 + (255 - red_mean) / 256], axis=1)
    return np.asarray((weights * squares).sum(axis=1))


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
