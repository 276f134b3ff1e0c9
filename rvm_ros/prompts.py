"""From prompt messages to prompts; nothing of a message is trusted before it is checked."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import String

from rvm_model.heads.propagation import LARGEST_ID
from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.stamps import stamp_ns
from rvm_model.prompt import Prompt, prompt_from_json

PromptMessage: TypeAlias = Image | String

UNLABELLED = 255
_SAMPLES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2"}
"""Encodings of label images."""


def to_prompt(message: PromptMessage, *, max_pixels: int) -> Prompt:
    """Read a prompt.

    Args:
        message: an Image of labels, of any size: 0 says nothing, 1..254 are objects, 255 is unlabelled; its stamp is
            that of the image that was marked, or 0 for the newest. Or a String of JSON, see `prompt_from_json`.
        max_pixels: images with more are refused.

    Raises:
        ValueError: it is none; says what was got and expected.
    """
    if isinstance(message, String):
        return prompt_from_json(message.data)
    return Prompt(stamp_ns(message), labels=_labels(message, max_pixels))


def _labels(message: Image, max_pixels: int) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if message.encoding not in _SAMPLES:
        raise ImageError(f"prompt_mask: got encoding {message.encoding!r}, expected one of {', '.join(_SAMPLES)}")
    height, width, step, size = message.height, message.width, message.step, len(message.data)
    if not 0 < height * width <= max_pixels:
        raise ImageError(f"prompt_mask: got {width}x{height} pixels, expected 1 to {max_pixels}")
    kind = np.dtype(_SAMPLES[message.encoding]).newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = width * kind.itemsize
    if step < row_bytes or size != step * height:
        raise ImageError(
            f"prompt_mask: got step {step} and {size} bytes for {width}x{height} {message.encoding}, expected a step "
            f"of at least {row_bytes} and step x height bytes"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, :row_bytes]
    labels = np.ascontiguousarray(rows).view(kind)
    # Here, and not where masks are made of them: a depth image has tens of thousands.
    if (largest := int(labels[labels != UNLABELLED].max(initial=0))) > LARGEST_ID:
        raise ImageError(f"prompt_mask: got a pixel of {largest}, expected ids 1..{LARGEST_ID}, 0, or {UNLABELLED}")
    return labels.astype(kind.newbyteorder("="))
