"""Feature maps as the bytes of an image message: exact, or smaller with an error that is declared.

The message is a `sensor_msgs/Image` of h rows and w columns of patches, whose `encoding` says how a token is stored:

- `32FC<D>`: float32, exact, what the live node sends.
- `16FC<D>`: float16, half the bytes. The error of a value is at most 2^-11 of it, and below 2^-14 at most 2^-25.
- `8SC<D>+32FC1`: int8 and then the token's scale as float32, a good quarter of the bytes. The error of a value is at
  most 1/253 of the largest absolute value of its token.
- `16FC<K>/32FC<D>`: K coefficients as float16 of the basis that another message holds, an Image `32FC<D>` of one column
  whose first row is the mean and whose K others are the components. How much is lost depends on the features: see
  `Basis.unexplained`.

Samples are little-endian but for the two plain encodings, where `is_bigendian` is heeded. Shape legend: h w patch rows
and columns, D feature width, K components.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_model.messages.image_headers import ImageError

Features = npt.NDArray[np.float32]
_SCALE = np.dtype("<f4")
_LARGEST_INT8 = 127


@dataclass(frozen=True)
class Coded:
    """What goes into an image message; `is_bigendian` is 0."""

    height: int
    width: int
    encoding: str
    step: int
    """Bytes of a row."""
    data: npt.NDArray[np.uint8]
    """[height * step]."""


def to_float32(features: Features) -> Coded:
    """Code [h, w, D] exactly.

    Raises:
        ValueError: not float32 [h, w, D].
    """
    _check(features)
    return _coded(features.astype("<f4", copy=False), f"32FC{features.shape[2]}")


def to_float16(features: Features) -> Coded:
    """Code [h, w, D] in half the bytes.

    Raises:
        ValueError: not float32 [h, w, D], or a value that float16 cannot hold.
    """
    _check(features)
    return _coded(_halved(features), f"16FC{features.shape[2]}")


def to_int8(features: Features) -> Coded:
    """Code [h, w, D] in a good quarter of the bytes.

    Raises:
        ValueError: not float32 [h, w, D], or a value that is not finite.
    """
    _check(features)
    height, width, dim = features.shape
    largest = np.abs(features).max(2, keepdims=True)
    if not np.isfinite(largest).all():
        raise ValueError("features: got values that are not finite, expected numbers")
    scale = largest / _LARGEST_INT8
    coded = np.empty((height, width, dim + _SCALE.itemsize), np.uint8)
    coded[..., :dim] = np.rint(features / np.where(scale > 0, scale, 1)).astype(np.int8).view(np.uint8)
    coded[..., dim:] = scale.astype(_SCALE).view(np.uint8)
    return _coded(coded, f"8SC{dim}+32FC1")


@dataclass(frozen=True)
class Basis:
    """What features of one network and scene are written in: a mean and the directions in which they differ most."""

    mean: Features
    """[D]"""
    components: Features
    """[K, D], orthonormal rows, the main one first."""
    unexplained: float = 0.0
    """Share of the variance of the features that it was made of that it cannot tell, 0..1."""

    @classmethod
    def of(cls, features: Features, count: int) -> Basis:
        """Find the best basis of feature maps [..., D].

        Raises:
            ValueError: more components than the features have width, or than there are tokens.
        """
        tokens = features.reshape(-1, features.shape[-1]).astype(np.float64)
        if not 1 <= count <= min(tokens.shape):
            raise ValueError(
                f"components: got {count}, expected 1 to {min(tokens.shape)} for features {features.shape}"
            )
        mean = tokens.mean(0)
        centred = tokens - mean
        values, vectors = np.linalg.eigh(centred.T @ centred)
        total = float(values.sum())
        components = np.ascontiguousarray(vectors[:, ::-1][:, :count].T)
        left = float(values[: len(values) - count].clip(min=0).sum()) / total if total > 0 else 0.0
        return cls(mean.astype(np.float32), components.astype(np.float32), left)

    def code(self, features: Features) -> Coded:
        """Code [h, w, D].

        Raises:
            ValueError: not float32 [h, w, D] of this width, or a coefficient that float16 cannot hold.
        """
        _check(features)
        count, dim = self.components.shape
        if features.shape[2] != dim:
            raise ValueError(f"features: got width {features.shape[2]}, expected {dim}, as the basis was made for")
        return _coded(_halved((features - self.mean) @ self.components.T), f"16FC{count}/32FC{dim}")

    def rebuild(self, coefficients: Features) -> Features:
        """Features [h, w, D] of coefficients [h, w, K]."""
        return coefficients @ self.components + self.mean

    def coded(self) -> Coded:
        """The basis itself, for a message of its own."""
        return to_float32(np.vstack([self.mean, self.components])[:, None])

    @classmethod
    def of_message(cls, message: Any) -> Basis:
        """The basis that a message holds.

        Raises:
            ImageError: the message holds no basis.
        """
        rows = msg_to_features(message)
        if rows.shape[0] < 2 or rows.shape[1] != 1:
            raise ImageError(f"got features {rows.shape}, expected a basis: a mean and components in one column")
        return cls(rows[0, 0].copy(), rows[1:, 0].copy())


def msg_to_features(message: Any, basis: Basis | None = None) -> Features:
    """Unwrap a feature map, however it is coded.

    OpenCV and cv_bridge stop at 512 channels, so features are read from the buffer.

    Args:
        message: with the fields of sensor_msgs/Image.
        basis: what `16FC<K>/32FC<D>` is written in.

    Returns:
        float32 [h, w, D], for `32FC<D>` a view of the message where its byte order is this machine's.

    Raises:
        ImageError: not an Image of one of the encodings whose sizes agree, or its basis is missing or another.
    """
    layout = re.fullmatch(r"32FC(\d+)|16FC(\d+)(?:/32FC(\d+))?|8SC(\d+)\+32FC1", message.encoding, re.ASCII)
    if layout is None:
        raise ImageError(
            f"got encoding {message.encoding!r}, expected 32FC<D>, 16FC<D>, 8SC<D>+32FC1 or 16FC<K>/32FC<D>; subscribe "
            "to a features topic"
        )
    single, half, width, quarter = (int(number) if number else 0 for number in layout.groups())
    if quarter:
        stored = _stored(message, np.dtype(np.uint8), quarter + _SCALE.itemsize)
        scale = np.ascontiguousarray(stored[..., quarter:]).view(_SCALE)
        return stored[..., :quarter].view(np.int8) * scale
    order = ">" if message.is_bigendian and not width else "<"
    values = _stored(message, np.dtype(f"{order}f{4 if single else 2}"), single or half).astype(np.float32, copy=False)
    if not width:
        return values
    if basis is None:
        raise ImageError(f"got encoding {message.encoding!r}, expected with it the basis that its own topic has")
    if basis.components.shape != (half, width):
        raise ImageError(
            f"got encoding {message.encoding!r}, expected coefficients of a basis of "
            f"{basis.components.shape[0]} components of width {basis.components.shape[1]}; it is another one's"
        )
    return basis.rebuild(values)


def relative_error(features: npt.NDArray[Any], decoded: npt.NDArray[Any]) -> float:
    """Root mean square of what is lost, relative to that of the features; 0 where both are zero."""
    size = float(np.square(features, dtype=np.float64).sum())
    lost = float(np.square(np.subtract(features, decoded, dtype=np.float64)).sum())
    return float(np.sqrt(lost / size)) if size > 0 else float(np.sqrt(lost))


def _check(features: npt.NDArray[Any]) -> None:
    if features.ndim != 3 or features.dtype != np.float32 or 0 in features.shape:
        raise ValueError(f"features: got {features.dtype} {features.shape}, expected float32 [h, w, D]")


def _halved(values: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halved = values.astype("<f2")
    if not np.isfinite(halved).all():
        raise ValueError(
            f"features: got a value of {np.abs(values).max()}, expected at most {np.finfo(np.float16).max}, float16's "
            "largest; record them as float32 or int8"
        )
    return halved


def _coded(rows: npt.NDArray[Any], encoding: str) -> Coded:
    height, width = rows.shape[:2]
    data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
    return Coded(height, width, encoding, data.nbytes // height, data)


def _stored(message: Any, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """The samples [h, w, channels] of a message, as a view."""
    row_bytes = message.width * channels * dtype.itemsize
    if message.step != row_bytes or len(message.data) != row_bytes * message.height:
        raise ImageError(
            f"got step {message.step} and {len(message.data)} bytes for {message.encoding} "
            f"{message.width}x{message.height}, expected step {row_bytes} and {row_bytes * message.height} bytes"
        )
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)
