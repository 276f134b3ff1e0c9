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
PIXELS_AT_ONCE = 32767 // 3
"""Pixels blended together on a CPU. They stay in the cache, and torch shares no work below 32768 values among its
threads, for which it would wait far longer than it computes when the machine has other things to do."""


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
    blended = torch.empty(image.shape, dtype=torch.uint8, device=image.device)
    pixels, blended_pixels, flat = image.reshape(-1, 3), blended.view(-1, 3), labels.reshape(-1)
    table = colours.float()
    at_once = PIXELS_AT_ONCE if image.device.type == "cpu" else max(1, len(flat))
    for start in range(0, len(flat), at_once):
        some = slice(start, start + at_once)
        mixed = torch.lerp(pixels[some].float(), table.index_select(0, flat[some].int()), alpha)
        # Around 2^23 the floats are the integers, so that the sum rounds and its last byte is the result: faster than a
        # conversion of floats to bytes, and `round` would wake other threads.
        blended_pixels[some] = mixed.add_(2.0**23).view(torch.int32)
    return blended
