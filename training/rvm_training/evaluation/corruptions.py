"""What happens to a robot's pictures: blur, noise, lost frames, exposure, something in the way, compression.

Each is a pure function of the frames, a strength and a seed. Strength 0 changes nothing, 1 is mild, 5 is severe, as in
ImageNet-C (Hendrycks and Dietterich, 2019). Lengths are shares of the image's shorter side.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]  # It ships no py.typed.

U8 = npt.NDArray[np.uint8]
STRENGTHS = (0, 1, 3, 5)
"""Where curves are measured; any number from 0 to 5 may be given."""


def kept_frames(count: int, strength: float, seed: int) -> npt.NDArray[np.int64]:
    """Indices of the frames that are left when some are lost, up to 60 %; never the first two or the last."""
    rng = np.random.default_rng(seed)
    lost = rng.random(count) < 0.12 * strength
    lost[:2] = lost[-1] = False
    return np.flatnonzero(~lost)


def corrupted(name: str, frames: U8, strength: float, seed: int = 0) -> U8:
    """Frames [T, H, W, 3] as a worse camera would have taken them; `dropped frames` leaves them as they are.

    Args:
        name: one of `NAMES`.
        frames: RGB.
        strength: 0 to 5.
        seed: of what is random.

    Raises:
        ValueError: no such corruption, or a strength out of range.
    """
    if name not in NAMES or not 0 <= strength <= 5:
        raise ValueError(f"corruption: got {name!r} at {strength}, expected one of {', '.join(NAMES)} at 0 to 5")
    if strength == 0 or name not in _CHANGES:
        return frames
    return _CHANGES[name](frames, strength, np.random.default_rng(seed))


def _blurred(frames: U8, strength: float, _: np.random.Generator) -> U8:
    sigma = 0.004 * strength * min(frames.shape[1:3])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames]).astype(np.uint8)


def _noisy(frames: U8, strength: float, rng: np.random.Generator) -> U8:
    return _bytes(frames + rng.standard_normal(frames.shape, np.float32) * np.float32(12 * strength))


def _exposed(frames: U8, strength: float, rng: np.random.Generator) -> U8:
    # A gain that wanders, as an automatic exposure does, by up to a factor of 2^(strength / 2).
    time = np.arange(len(frames))
    stops = 0.5 * strength * np.sin(2 * np.pi * (time / rng.uniform(8, 16) + rng.random()))
    return _bytes(frames * (2.0**stops).astype(np.float32)[:, None, None, None])


def _occluded(frames: U8, strength: float, rng: np.random.Generator) -> U8:
    # A grey bar, up to two fifths of the picture wide, crosses it once. It is outside on the first frame and the last.
    count, _, width = frames.shape[:3]
    bar = round(0.08 * strength * width)
    edges = np.linspace(-bar, width, count).round().astype(int)
    spoiled = frames.copy()
    for frame, left in zip(spoiled, edges if rng.random() < 0.5 else edges[::-1], strict=True):
        frame[:, max(0, left) : max(0, left + bar)] = 128
    return spoiled


def _compressed(frames: U8, strength: float, _: np.random.Generator) -> U8:
    quality = max(2, round(60 - 11.6 * strength))
    coded = (simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality) for frame in frames)
    return np.stack([simplejpeg.decode_jpeg(each) for each in coded])


def _bytes(values: npt.NDArray[np.float32]) -> U8:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_CHANGES: dict[str, Callable[[U8, float, np.random.Generator], U8]] = {
    "blur": _blurred,
    "noise": _noisy,
    "exposure": _exposed,
    "occlusion": _occluded,
    "JPEG": _compressed,
}
NAMES = ("blur", "noise", "dropped frames", "exposure", "occlusion", "JPEG")
