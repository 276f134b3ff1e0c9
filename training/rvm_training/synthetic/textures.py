"""What surfaces look like: windows of scikit-image's photographs, and procedural patterns."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Surface = Callable[[int], U8]
"""From a side in pixels to RGB uint8 [size, size, 3]."""

TRAIN_PHOTOGRAPHS = (
    "astronaut", "coffee", "hubble_deep_field", "brick", "grass", "camera", "coins", "retina", "page", "cell",
)  # fmt: skip
"""Names in `skimage.data` that training sees; all of them are files of scikit-image's wheel."""
HELD_OUT_PHOTOGRAPHS = ("chelsea", "rocket", "gravel", "immunohistochemistry", "moon", "text")
"""Photographs kept for validation and evaluation."""


@cache
def photographs(held_out: bool = False) -> tuple[U8, ...]:
    """The photographs of one split, RGB uint8 [h, w, 3], reduced to a short side of at most 512 pixels."""
    return tuple(_rgb(getattr(data, name)()) for name in (HELD_OUT_PHOTOGRAPHS if held_out else TRAIN_PHOTOGRAPHS))


def texture(rng: np.random.Generator, size: int, *, photograph_share: float, held_out: bool = False) -> U8:
    """Draw a texture: a window of a photograph with that probability, else a procedural pattern; colours are jittered.

    Args:
        rng: source of randomness.
        size: side of the square in pixels.
        photograph_share: probability of a photograph, in [0, 1].
        held_out: take the photographs that training never sees.

    Returns:
        RGB uint8 [size, size, 3].
    """
    if rng.random() < photograph_share:
        image = _photograph_window(rng, size, held_out)
    else:
        pattern = PATTERNS[rng.integers(len(PATTERNS))]
        image = _coloured(rng, pattern(rng, size))
    return _jittered(rng, image)


def white_noise(rng: np.random.Generator, height: int, width: int) -> U8:
    """Independent grey levels, uniform in 0..255: RGB uint8 [height, width, 3]."""
    return np.repeat(rng.integers(0, 256, (height, width, 1), np.uint8), 3, axis=2)


def one_noise(rng: np.random.Generator, side: int) -> Surface:
    """Draw a kind of noise for an image of that side in pixels: surfaces of it cannot be told apart but by motion.

    Returns:
        A function from a size in pixels to RGB uint8 [size, size, 3]: another window at each call, of the same grain,
        colours and contrast.
    """
    grain = float(rng.uniform(0.3, max(0.5, side / 40)))
    channels = int(rng.choice([1, 3]))
    reach = 2 * int(4 * grain) + 1
    kernel = cv2.getGaussianKernel(reach, grain)
    # By what the blur leaves of unit variance, not by each window's own, which would tell windows apart.
    scale = float(rng.uniform(30, 75)) / float((kernel**2).sum())

    def draw(size: int) -> U8:
        field = cv2.sepFilter2D(
            rng.standard_normal((size, size, channels), np.float32),
            -1,
            kernel,
            kernel,
            borderType=cv2.BORDER_REFLECT_101,
        )
        image = np.clip(np.rint(128 + scale * field.reshape(size, size, channels)), 0, 255).astype(np.uint8)
        return image if channels == 3 else np.repeat(image, 3, axis=2)

    return draw


def fractal_noise(rng: np.random.Generator, size: int, *, octaves: int = 5, roughness: float = 0.55) -> F32:
    """Sum of smooth random fields of doubling frequency, scaled to [0, 1]: float32 [size, size]."""
    total = np.zeros((size, size), np.float32)
    cells = int(rng.integers(2, 5))
    amplitude = 1.0
    for _ in range(octaves):
        grid = rng.random((cells + 3, cells + 3), np.float32)
        # Cut the border away: cv2 flattens the field there.
        scale = -(-size // cells)
        field = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        total += amplitude * field[scale : scale + size, scale : scale + size]
        amplitude *= roughness
        cells *= 2
        if cells * 2 > size:
            break
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _stripes(rng: np.random.Generator, size: int) -> F32:
    x, y = _turned_grid(rng, size)
    wave = np.sin(x * rng.uniform(0.1, 0.8) + rng.uniform(0, 3) * np.sin(y * rng.uniform(0.02, 0.1)))
    return np.asarray(0.5 + 0.5 * np.tanh(wave * rng.uniform(1, 6)), np.float32)


def _checks(rng: np.random.Generator, size: int) -> F32:
    x, y = _turned_grid(rng, size)
    period = rng.uniform(0.1, 0.6)
    return np.asarray(0.5 + 0.5 * np.tanh(6 * np.sin(x * period) * np.sin(y * period)), np.float32)


def _dots(rng: np.random.Generator, size: int) -> F32:
    image = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(10, 60))):
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        cv2.circle(image, centre, int(rng.integers(2, max(3, size // 10))), float(rng.uniform(0.3, 1)), -1, cv2.LINE_AA)
    return image


def _clouds(rng: np.random.Generator, size: int) -> F32:
    return fractal_noise(rng, size, roughness=float(rng.uniform(0.4, 0.8)))


def _marble(rng: np.random.Generator, size: int) -> F32:
    x, _ = _turned_grid(rng, size)
    wave = np.sin(x * rng.uniform(0.05, 0.3) + rng.uniform(4, 12) * fractal_noise(rng, size, octaves=4))
    return np.asarray(0.5 + 0.5 * wave, np.float32)


def _shards(rng: np.random.Generator, size: int) -> F32:
    image = np.full((size, size), rng.random(), np.float32)
    for _ in range(int(rng.integers(12, 40))):
        corner = rng.uniform(0, size, 2)
        points = np.rint(corner + rng.normal(0, size / 6, (3, 2))).astype(np.int32)
        cv2.fillConvexPoly(image, points, float(rng.random()), cv2.LINE_AA)
    return image


PATTERNS: tuple[Callable[[np.random.Generator, int], F32], ...] = (_stripes, _checks, _dots, _clouds, _marble, _shards)
"""Procedural patterns, each float32 [size, size] in [0, 1]."""


def _turned_grid(rng: np.random.Generator, size: int) -> tuple[F32, F32]:
    # 64 units across, so that a pattern looks alike at any size.
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:size, :size].astype(np.float32) * np.float32(64 / size) + np.float32(rng.uniform(0, 100))
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _coloured(rng: np.random.Generator, pattern: F32) -> U8:
    # A palette of a few colours along the pattern's value: two make a plain material, more a busy one.
    count = int(rng.integers(2, 6))
    stops = np.sort(rng.random(count))
    colours = rng.integers(0, 256, (count, 3))
    levels = np.linspace(0, 1, 256)
    table = np.stack([np.interp(levels, stops, colours[:, channel]) for channel in range(3)], axis=1).astype(np.uint8)
    return table[(pattern * 255).astype(np.uint8)]


def _photograph_window(rng: np.random.Generator, size: int, held_out: bool) -> U8:
    images = photographs(held_out)
    image = images[rng.integers(len(images))]
    height, width = image.shape[:2]
    side = int(rng.uniform(0.35, 1.0) * min(height, width))
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    window = image[top : top + side, left : left + side]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(window), (size, size), interpolation=interpolation), np.uint8)


def _jittered(rng: np.random.Generator, image: U8) -> U8:
    gain = rng.uniform(0.75, 1.25, 3) * rng.uniform(0.7, 1.2)
    offset = rng.uniform(-25, 25, 3)
    levels = np.arange(256)[:, None]
    table = np.clip(levels * gain + offset, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _rgb(image: U8) -> U8:
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    scale = 512 / min(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image[..., :3])
