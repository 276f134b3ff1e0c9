"""Where things are at a time: closed forms in t, so that any frame is rendered without those before it.

Times are in frames, positions in pixels, angles in radians. A pose maps an object's own coordinates to the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wave:
    """A sum of sinusoids a * sin(w t + p), zero when there is none."""

    amplitudes: tuple[float, ...] = ()
    frequencies: tuple[float, ...] = ()
    """Radians per frame."""
    phases: tuple[float, ...] = ()

    def __call__(self, t: float) -> float:
        """Value at time t."""
        terms = zip(self.amplitudes, self.frequencies, self.phases, strict=True)
        return sum(a * math.sin(w * t + p) for a, w, p in terms)


def random_wave(rng: np.random.Generator, amplitude: float, period: tuple[float, float], terms: int = 1) -> Wave:
    """Draw sinusoids of at most that amplitude together, with periods in frames from that range."""
    if amplitude == 0:
        return Wave()
    amplitudes = rng.uniform(0, amplitude / terms, terms)
    frequencies = 2 * np.pi / rng.uniform(*period, terms)
    phases = rng.uniform(0, 2 * np.pi, terms)
    return Wave(tuple(amplitudes.tolist()), tuple(frequencies.tolist()), tuple(phases.tolist()))


@dataclass(frozen=True)
class Track:
    """A coordinate: constant velocity, reflected at the ends of a range where it has one, and a wave on top."""

    start: float
    velocity: float = 0.0
    """Per frame."""
    low: float = -math.inf
    high: float = math.inf
    wave: Wave = Wave()

    def __call__(self, t: float) -> float:
        """Value at time t."""
        value = self.start + self.velocity * t
        if math.isfinite(self.low) and math.isfinite(self.high):
            extent = self.high - self.low
            phase = (value - self.low) % (2 * extent)
            value = self.low + (phase if phase <= extent else 2 * extent - phase)
        return value + self.wave(t)


@dataclass(frozen=True)
class Pose:
    """A similarity over time: position, log of the scale and angle."""

    x: Track
    y: Track
    log_scale: Track = Track(0.0)
    angle: Track = Track(0.0)

    def matrix(self, t: float) -> F64:
        """The map from own to outer coordinates at time t, homogeneous [3, 3]."""
        scale, angle = math.exp(self.log_scale(t)), self.angle(t)
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        return np.array([[c, -s, self.x(t)], [s, c, self.y(t)], [0, 0, 1]])


@dataclass(frozen=True)
class Camera:
    """A camera that pans, zooms and rolls over layers at different depths.

    A layer at depth d moves by 1 / d of the camera's translation and zoom, which is parallax; the roll is the same for
    all depths.
    """

    pose: Pose
    centre: tuple[float, float]
    """Image centre (x, y) about which it zooms and rolls."""

    def matrix(self, t: float, depth: float) -> F64:
        """The map from world to image at time t for a layer at that depth, [3, 3]."""
        near = 1 / depth
        scale, angle = math.exp(self.pose.log_scale(t) * near), self.pose.angle(t)
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        x, y = self.centre
        turn = np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])
        shift = np.array([[1, 0, -near * self.pose.x(t)], [0, 1, -near * self.pose.y(t)], [0, 0, 1]])
        return turn @ shift


@dataclass(frozen=True)
class Ripple:
    """A deformation: own coordinates are displaced by standing waves along both axes.

    It is defined from image to texture, as rendering needs it: texture = q + displacement(q, t), with q the coordinates
    after the inverse pose.
    """

    amplitude: float
    """Pixels of the texture."""
    wavelength: float
    """Pixels of the texture; the map stays one-to-one while 2 pi amplitude / wavelength < 1."""
    frequency: float
    """Radians per frame."""
    phase: float = 0.0

    def displacement(self, q: F64, t: float) -> F64:
        """Displacement [..., 2] in texture pixels at own coordinates q [..., 2]."""
        k = 2 * np.pi / self.wavelength
        swing = self.amplitude * math.sin(self.frequency * t + self.phase)
        return swing * np.stack([np.sin(k * q[..., 1]), np.cos(k * q[..., 0] + self.phase)], axis=-1)

    def undo(self, texture: F64, t: float, steps: int = 20) -> F64:
        """The q [..., 2] that the deformation takes to these texture coordinates, by fixed-point iteration."""
        q = texture
        for _ in range(steps):
            q = texture - self.displacement(q, t)
        return q
