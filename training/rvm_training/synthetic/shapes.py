"""Outlines of objects as coverage maps with soft edges."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

_MARGIN = 3
"""Empty pixels around a shape, so that its soft edge is not cut."""


def shape(rng: np.random.Generator, size: int) -> F32:
    """Draw an outline: coverage float32 [size, size] in [0, 1], zero at the border."""
    outline = OUTLINES[rng.integers(len(OUTLINES))](rng)
    # Scaled to fill the square, whatever the outline's own extent.
    low, high = outline.min(axis=0), outline.max(axis=0)
    extent = float((high - low).max())
    points = (outline - (low + high) / 2) / extent * (size - 2 * _MARGIN - 1) + (size - 1) / 2
    return filled(points, size)


def square(size: int) -> F32:
    """Coverage of a full square [size, size]: ones, with hard edges."""
    return np.ones((size, size), np.float32)


def filled(points: npt.NDArray[np.float64], size: int) -> F32:
    """Fill a polygon [n, 2] of (x, y) pixel positions with an edge of one pixel."""
    alpha = np.zeros((size, size), np.uint8)
    bits = 4  # Fractional bits of cv2's coordinates.
    fixed = np.rint(points * 2**bits).astype(np.int32)
    cv2.fillPoly(alpha, [fixed], 255, cv2.LINE_AA, bits)
    return alpha.astype(np.float32) / np.float32(255)


def _angles(count: int) -> npt.NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _polar(radii: npt.NDArray[np.float64], angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _blob(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    angles = _angles(96)
    radii = np.ones_like(angles)
    for order in range(2, 7):
        radii += rng.normal(0, 0.5 / order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    return _polar(np.clip(radii, 0.25, None), angles)


def _ellipse(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return _polar(np.ones(64), _angles(64)) * (1, rng.uniform(0.4, 1))


def _polygon(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    corners = int(rng.integers(3, 9))
    return _polar(rng.uniform(0.6, 1, corners), _angles(corners) + rng.uniform(0, 2 * np.pi))


def _rectangle(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    return corners * (1, rng.uniform(0.35, 1))


def _star(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    rays = int(rng.integers(4, 8))
    radii = np.where(np.arange(2 * rays) % 2, rng.uniform(0.4, 0.7), 1.0)
    return _polar(radii, _angles(2 * rays) + rng.uniform(0, np.pi))


def _animal(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    # A body with a few limbs: bumps on an ellipse, so that parts overlap and deform differently.
    angles = _angles(128)
    radii = 1 / np.hypot(np.cos(angles), np.sin(angles) / rng.uniform(0.4, 0.7))
    for _ in range(int(rng.integers(3, 6))):
        distance = np.angle(np.exp(1j * (angles - rng.uniform(0, 2 * np.pi))))
        radii += rng.uniform(0.3, 0.9) * np.exp(-((distance / rng.uniform(0.08, 0.2)) ** 2))
    return _polar(radii, angles)


OUTLINES: tuple[Callable[[np.random.Generator], npt.NDArray[np.float64]], ...] = (
    _blob,
    _ellipse,
    _polygon,
    _rectangle,
    _star,
    _animal,
)
"""Polygons [n, 2], each of its own extent."""
