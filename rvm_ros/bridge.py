"""cv_bridge, for encodings that are not known here. On a ROS 2 machine it is installed, from PyPI it cannot be."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from rvm_model.messages.images import ENCODINGS, ImageError, RgbArray


def decoder(encoding: str) -> Callable[[Any], RgbArray]:
    """What decodes images of an encoding; whether cv_bridge knows it shows only then.

    Raises:
        ImageError: there is no cv_bridge.
    """
    bridge, remedy = _cv_bridge()
    if bridge is None:
        raise ImageError(f"got encoding {encoding!r}, expected one of {', '.join(ENCODINGS)}; {remedy}")

    def decode(message: Any) -> RgbArray:
        try:
            return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), np.uint8)
        except Exception as error:  # Not our code, and whatever it raises is about this one image.
            raise ImageError(f"got encoding {encoding!r}, which cv_bridge refused: {error}") from error

    return decode


@functools.cache
def _cv_bridge() -> tuple[Any, str]:
    """cv_bridge's converter, or None and what to do; looked for once, not at every frame."""
    try:
        return importlib.import_module("cv_bridge").CvBridge(), ""
    except ModuleNotFoundError as error:
        if error.name == "cv_bridge":
            return None, "or install cv_bridge, which may know it"
        return None, f"cv_bridge, which may know it, cannot be imported: {error}"
    except Exception as error:  # On numpy 2, those of older distributions fail in ways of their own.
        return None, f"cv_bridge, which may know it, cannot be imported: {error}"
