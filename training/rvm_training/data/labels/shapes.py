"""Regions as the tools write them: polygons and run lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Mask = npt.NDArray[np.bool_]


def polygons(rings: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """The union of polygons, each x, y, x, y, ... in pixels, as COCO rasters them: bool [H, W].

    Raises:
        ValueError: none has three corners.
    """
    longest = max(map(len, rings), default=0)
    rings = [ring for ring in rings if len(ring) >= 6]
    if not rings:
        raise ValueError(f"got a polygon of {longest} numbers, expected x, y of three corners or more")
    return _decoded(coco_mask.merge(coco_mask.frPyObjects([list(map(float, ring)) for ring in rings], *size)), size)


def coco_runs(runs: Mapping[str, Any], size: tuple[int, int]) -> Mask:
    """COCO's run lengths, column by column, as numbers or as its text."""
    if isinstance(runs["counts"], list):
        runs = coco_mask.frPyObjects(dict(runs), *size)
    return _decoded(runs, size)


def runs(lengths: Sequence[int], size: tuple[int, int]) -> Mask:
    """Run lengths row by row, the first of what is not marked, as CVAT writes them: bool [H, W].

    Raises:
        ValueError: they do not fill the size.
    """
    if any(length < 0 for length in lengths) or sum(lengths) != size[0] * size[1]:
        raise ValueError(f"got run lengths of {sum(lengths)} pixels, expected {size[0]}x{size[1]}")
    marked = np.arange(len(lengths)) % 2 == 1
    return np.repeat(marked, lengths).reshape(size)


def brush(packed: Sequence[int], size: tuple[int, int]) -> Mask:
    """Label Studio's brush strokes: an RGBA picture packed by the rle-pack of thi.ng/umbrella, whose alpha marks.

    The bits are: 32 for the number of values, 5 for their width less 1, four times 4 for the widths less 1 of run
    lengths; then runs of one value (1) or of several (0), with 2 bits for which width their length less 1 has.

    Raises:
        ValueError: the bytes are no such picture.
    """
    bits = np.unpackbits(np.asarray(packed, np.uint8))
    place = 0

    def take(width: int) -> int:
        nonlocal place
        if place + width > len(bits):
            raise ValueError(f"got {len(packed)} bytes of brush strokes, expected more")
        value = 0
        for bit in bits[place : place + width].tolist():
            value = value << 1 | bit
        place += width
        return value

    count, width = take(32), take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    if count != size[0] * size[1] * 4 or width > 8:
        raise ValueError(f"got {count} values of {width} bits, expected the {size[0] * size[1] * 4} bytes of its RGBA")
    values = np.empty(count, np.uint8)
    filled = 0
    while filled < count:
        same = take(1)
        end = filled + 1 + take(lengths[take(2)])
        if end > count:
            raise ValueError(f"got brush strokes of more than {count} values")
        if same:
            values[filled:end] = take(width)
        else:
            several = (end - filled) * width
            if place + several > len(bits):
                raise ValueError(f"got {len(packed)} bytes of brush strokes, expected more")
            each = bits[place : place + several].reshape(-1, width)
            values[filled:end] = each @ (1 << np.arange(width - 1, -1, -1))
            place += several
        filled = end
    return values.reshape(*size, 4)[..., 3] > 0


def _decoded(packed: Any, size: tuple[int, int]) -> Mask:
    mask = np.asarray(coco_mask.decode(packed), bool)
    if mask.shape != size:
        raise ValueError(f"got a mask of {mask.shape[0]}x{mask.shape[1]}, expected {size[0]}x{size[1]}, its picture's")
    return mask
