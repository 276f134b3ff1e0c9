"""From camera frames of any size to the engine's input: one resize. Division by 255 is the engine's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional


def resize(frame: Tensor, height: int, width: int) -> Tensor:
    """Resize one frame with antialiased bilinear interpolation.

    Args:
        frame: uint8 RGB [h, w, 3].
        height: rows wanted.
        width: columns wanted.

    Returns:
        uint8 [height, width, 3] on the same device; the frame itself where the size fits already.

    Raises:
        ValueError: not a uint8 RGB frame.
    """
    if frame.dtype != torch.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or 0 in frame.shape:
        raise ValueError(f"frame: got {frame.dtype} {tuple(frame.shape)}, expected uint8 RGB [h, w, 3]")
    if frame.shape[:2] == (height, width):
        return frame
    image = frame.permute(2, 0, 1)[None]
    if frame.device.type != "cpu":
        image = image.float()  # Only the CPU kernel takes uint8.
    image = functional.interpolate(image, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    if image.is_floating_point():
        image = image.round_().clamp_(0, 255).to(torch.uint8)
    return image[0].permute(1, 2, 0)


def preprocess(frames: Sequence[npt.NDArray[np.uint8]], size: tuple[int, int], device: torch.device | str) -> Tensor:
    """Make one engine input of the newest frames of several cameras.

    Args:
        frames: uint8 RGB arrays [h, w, 3], each of its own size.
        size: height and width of the engine's input.
        device: the engine's device; the frame goes up as uint8 and is resized there.

    Returns:
        uint8 [B, height, width, 3].

    Raises:
        ValueError: a frame is not uint8 RGB, or there is none.
    """
    if not frames:
        raise ValueError("frames: got none, expected at least one")
    return torch.stack([resize(as_tensor(frame).to(device), *size) for frame in frames])


def as_tensor(frame: npt.NDArray[np.uint8]) -> Tensor:
    """A frame as a tensor on the CPU, sharing its memory where torch can."""
    # torch takes neither read-only arrays (a message's buffer) nor reversed ones (a BGR image seen as RGB).
    frame = np.ascontiguousarray(frame)
    return torch.from_numpy(frame if frame.flags.writeable else frame.copy())
