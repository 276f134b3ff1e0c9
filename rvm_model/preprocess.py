"""From camera frames of any size to the engine's input: one resize. Division by 255 is the engine's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize one frame, or several of one size, with antialiased bilinear interpolation.

    Args:
        frames: uint8 RGB [h, w, 3] or [T, h, w, 3].
        height: rows wanted.
        width: columns wanted.

    Returns:
        uint8 [height, width, 3] or [T, height, width, 3] on the same device; the frames themselves where the size fits.

    Raises:
        ValueError: not uint8 RGB frames.
    """
    if frames.dtype != torch.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(
            f"frame: got {frames.dtype} {tuple(frames.shape)}, expected uint8 RGB [h, w, 3] or [T, h, w, 3]"
        )
    if frames.shape[-3:-1] == (height, width):
        return frames
    # The axis of frames first, colours then: the other way round, torch does not see that the colours lie side by side,
    # and takes them apart and together again, which for large pictures takes longer than the resize.
    images = (frames if frames.ndim == 4 else frames[None]).movedim(-1, -3)
    if frames.device.type != "cpu":
        images = images.float()  # Only the CPU kernel takes uint8.
    images = functional.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    if images.is_floating_point():
        images = images.round_().clamp_(0, 255).to(torch.uint8)
    resized = images.movedim(-3, -1)
    return resized if frames.ndim == 4 else resized[0]


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
    return torch.stack([resize(_uploaded(frame, torch.device(device)), *size) for frame in frames])


def _uploaded(frame: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    tensor = as_tensor(frame)
    # From pinned memory the copy to a GPU goes on while the next frame is prepared.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def as_tensor(frame: npt.NDArray[np.uint8]) -> Tensor:
    """A frame as a tensor on the CPU, sharing its memory where torch can."""
    # torch takes neither read-only arrays (a message's buffer) nor reversed ones (a BGR image seen as RGB).
    frame = np.ascontiguousarray(frame)
    return torch.from_numpy(frame if frame.flags.writeable else frame.copy())


def upright(rgb: npt.NDArray[np.uint8], rotation_deg: int) -> npt.NDArray[np.uint8]:
    """Turn a video frame [H, W, 3] by multiples of 90 degrees, as its display matrix says: phones film lying down."""
    return np.ascontiguousarray(np.rot90(rgb, rotation_deg // 90 % 4)) if rotation_deg % 360 else rgb
