"""A scene of textured layers under a moving camera: pictures, masks, optical flow and point tracks at any time.

Coordinates are (x, y) in pixels with integer values at pixel centres; times are in frames and need not be whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from rvm_training.synthetic.motion import Camera, Pose, Ripple, Wave

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A flat textured thing at a depth. The texture's centre is the origin of its own coordinates."""

    texture: U8
    """RGB [h, w, 3]."""
    pose: Pose
    """From own to world coordinates."""
    alpha: F32 | None = None
    """Coverage [h, w] in [0, 1]; None covers everything, the texture mirrored beyond its border."""
    depth: float = 1.0
    """1 moves with the camera in full, infinity not at all."""
    ripple: Ripple | None = None
    """Deformation of its surface and outline."""
    smooth: bool = True
    """Interpolate linearly; False takes the nearest texel, which keeps the statistics of noise."""

    @cached_property
    def pixels(self) -> U8:
        """RGB [h, w, 3], and with a coverage RGBA [h, w, 4]."""
        if self.alpha is None:
            return self.texture
        coverage = np.rint(self.alpha * 255).astype(np.uint8)
        return np.ascontiguousarray(np.concatenate([self.texture, coverage[..., None]], axis=2))


@dataclass(frozen=True)
class Optics:
    """What light and lens do to the picture."""

    gain: Wave = Wave()
    """Exposure over time: the picture is multiplied by 1 + gain."""
    shade: float = 0.0
    """Strength of a linear shadow over the picture, in [0, 1)."""
    shade_turn: float = 0.0
    """Radians per frame by which the shadow's direction turns."""
    defocus: float = 0.0
    """Standard deviation of the blur in pixels."""
    shutter: float = 0.0
    """Share of a frame's time that the shutter is open; motion blurs by it."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise, in grey levels."""


@dataclass(frozen=True)
class Scene:
    """Layers from back to front, a camera and its optics. Everything is a function of the time."""

    height: int
    width: int
    layers: tuple[Layer, ...]
    """The first one is the background; the label of layer k in masks is k."""
    camera: Camera
    optics: Optics = Optics()
    seed: int = 0
    """Of the sensor's noise."""

    def frame(self, t: float) -> U8:
        """The picture at time t, RGB uint8 [height, width, 3]."""
        if self.optics.shutter:
            times = t + self.optics.shutter * np.linspace(-0.5, 0.5, 5)
            image = np.stack([self._composite(float(time)) for time in times]).mean(axis=0)
        else:
            image = self._composite(t)
        return self._photographed(image, t)

    def mask(self, t: float) -> U8:
        """The label of the layer seen at each pixel at time t, uint8 [height, width]; 0 is the background."""
        labels = np.zeros((self.height, self.width), np.uint8)
        for label, layer in enumerate(self.layers):
            if layer.alpha is not None and (placed := self._place(layer, layer.pixels[..., 3], t)) is not None:
                window, alpha = placed
                labels[window][alpha > 127] = label
        return labels

    def to_image(self, label: int, texture: F64, t: float) -> F64:
        """Image positions [..., 2] at time t of texture positions [..., 2] of a layer."""
        layer = self.layers[label]
        own = texture - _centre(layer)
        if layer.ripple is not None:
            own = layer.ripple.undo(own, t)
        matrix = self._matrix(layer, t)
        return own @ matrix[:2, :2].T + matrix[:2, 2]

    def to_texture(self, label: int, image: F64, t: float) -> F64:
        """Texture positions [..., 2] of a layer that lie under image positions [..., 2] at time t."""
        layer = self.layers[label]
        inverse = np.linalg.inv(self._matrix(layer, t))
        own = image @ inverse[:2, :2].T + inverse[:2, 2]
        if layer.ripple is not None:
            own = own + layer.ripple.displacement(own, t)
        return own + _centre(layer)

    def flow(self, t0: float, t1: float) -> F32:
        """Optical flow [height, width, 2] from t0 to t1: where each pixel's surface goes, also when it gets hidden."""
        labels = self.mask(t0)
        flow = np.zeros((self.height, self.width, 2), np.float32)
        for label in np.unique(labels):
            rows, columns = np.nonzero(labels == label)
            start = np.stack([columns, rows], axis=1).astype(np.float64)
            end = self.to_image(int(label), self.to_texture(int(label), start, t0), t1)
            flow[rows, columns] = end - start
        return flow

    def tracks(self, points: F64, t0: float, times: npt.ArrayLike) -> tuple[F32, npt.NDArray[np.bool_]]:
        """Follow the surface points that are seen at given positions.

        Args:
            points: [P, 2] image positions (x, y) at time t0, inside the image.
            t0: time of the query.
            times: [T] times to follow them to.

        Returns:
            (positions float32 [P, T, 2], visible bool [P, T]: inside the image and not hidden by another layer).
        """
        times = np.asarray(times, np.float64)
        labels = _at(self.mask(t0), points)
        positions = np.zeros((len(points), len(times), 2))
        visible = np.zeros((len(points), len(times)), bool)
        for index, t in enumerate(times):
            for label in np.unique(labels):
                mine = labels == label
                texture = self.to_texture(int(label), points[mine], t0)
                positions[mine, index] = self.to_image(int(label), texture, float(t))
            seen = _at(self.mask(float(t)), positions[:, index])
            visible[:, index] = seen == labels
        return positions.astype(np.float32), visible

    def _matrix(self, layer: Layer, t: float) -> F64:
        return self.camera.matrix(t, layer.depth) @ layer.pose.matrix(t)

    def _composite(self, t: float) -> F32:
        image = np.zeros((self.height, self.width, 3), np.float32)
        for layer in self.layers:
            if (placed := self._place(layer, layer.pixels, t)) is None:
                continue
            window, drawn = placed
            if layer.alpha is None:
                image[window] = drawn
            else:
                alpha = drawn[..., 3:] / np.float32(255)
                image[window] += alpha * (drawn[..., :3] - image[window])
        return image

    def _place(self, layer: Layer, what: U8, t: float) -> tuple[tuple[slice, slice], U8] | None:
        """Draw a layer's pixels or coverage; the image window it falls in and its values there, None outside."""
        matrix = self._matrix(layer, t)
        centre = _centre(layer)
        window = (0, 0, self.width, self.height)
        if layer.alpha is not None:
            reach = layer.ripple.amplitude * 1.5 if layer.ripple else 0.0
            half = centre + 0.5 + reach
            # Half the sides of the upright box around the turned one.
            extent = np.abs(matrix[:2, :2]) @ half
            low = np.floor(matrix[:2, 2] - extent).astype(int).tolist()
            high = (np.ceil(matrix[:2, 2] + extent).astype(int) + 1).tolist()
            window = (max(0, low[0]), max(0, low[1]), min(self.width, high[0]), min(self.height, high[1]))
        left, top, right, bottom = window
        if left >= right or top >= bottom:
            return None
        # Outside a cut-out's texture its coverage is zero, and so the colour there does not matter.
        border = cv2.BORDER_REFLECT_101 if layer.alpha is None else cv2.BORDER_CONSTANT
        flags = cv2.INTER_LINEAR if layer.smooth else cv2.INTER_NEAREST
        if layer.ripple is None:
            to_window = matrix[:2].copy()
            to_window[:, 2] -= matrix[:2, :2] @ centre + (left, top)
            drawn = cv2.warpAffine(what, to_window, (right - left, bottom - top), flags=flags, borderMode=border)
        else:
            grid = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1).astype(np.float64)
            inverse = np.linalg.inv(matrix)
            own = grid @ inverse[:2, :2].T + inverse[:2, 2]
            where = (own + layer.ripple.displacement(own, t) + centre).astype(np.float32)
            drawn = cv2.remap(what, where[..., 0], where[..., 1], flags, borderMode=border)
        return (slice(top, bottom), slice(left, right)), np.asarray(drawn, np.uint8)

    def _photographed(self, image: F32, t: float) -> U8:
        optics = self.optics
        if gain := optics.gain(t):
            image = image * np.float32(1 + gain)
        if optics.shade:
            angle = optics.shade_turn * t
            y, x = np.mgrid[-1 : 1 : self.height * 1j, -1 : 1 : self.width * 1j].astype(np.float32)
            ramp = 0.5 + 0.5 * np.clip(np.cos(angle) * x + np.sin(angle) * y, -1, 1)
            image = image * (1 - np.float32(optics.shade) * ramp.astype(np.float32))[..., None]
        if optics.defocus:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), optics.defocus), np.float32)
        if optics.noise:
            # The time is part of the seed: a frame is the same whatever was rendered before it.
            rng = np.random.default_rng([self.seed, round(t * 1000) % 2**32])
            image = image + rng.standard_normal(image.shape, np.float32) * np.float32(optics.noise)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _centre(layer: Layer) -> F64:
    height, width = layer.texture.shape[:2]
    return np.array([(width - 1) / 2, (height - 1) / 2])


def _at(labels: U8, points: F64) -> npt.NDArray[np.int64]:
    """Labels at the nearest pixels of positions [P, 2]; -1 outside the image."""
    height, width = labels.shape
    x, y = np.rint(points).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = np.full(len(points), -1)
    found[inside] = labels[y[inside], x[inside]]
    return found
