"""Masks as files: PNG with a palette, whose pixels are the labels themselves, as datasets keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rvm_model.heads.palette import palette


def save_mask(path: Path, labels: npt.NDArray[np.integer]) -> None:
    """Write labels [H, W] in 0..255 as PNG; 0 is drawn black.

    Raises:
        ValueError: labels that do not fit a byte.
        OSError: it cannot be written.
    """
    if labels.ndim != 2 or labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"mask: got {labels.shape} with {labels.min()}..{labels.max()}, expected [H, W] in 0..255")
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, *palette(255).flatten().tolist()])
    image.save(path)
