"""What someone marks on a camera's image, so that it is followed: a mask, a box, or points."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rvm_model.heads.prompts import mask_from_box, mask_from_points, masks_from_labels
from rvm_model.heads.propagation import LARGEST_ID

Point = tuple[float, float]

AHEAD_S = 1.0
"""How far after the newest frame a prompt's stamp may be, which takes that frame: the marked one is under way."""
_KEYS = {"id", "name", "box", "points", "negative", "stamp", "remove", "clear"}


@dataclass(frozen=True)
class Seen:
    """A frame that is kept."""

    stamp_ns: int
    """Acquisition time."""
    tokens: Tensor
    """Features [h, w, D]."""
    image_size: tuple[int, int]
    """Height and width of the camera's image."""
    input_size: tuple[int, int]
    """Height and width that it was resized to for the engine."""


@dataclass(frozen=True)
class Prompt:
    """One thing to do: mark objects with a mask, mark one with a box or points, remove one, or clear all."""

    stamp_ns: int = 0
    """Of the frame that it was made on; 0 takes the newest."""
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None = None
    """Label image [H, W] of any size: 0 says nothing, 1..254 are objects, 255 is unlabelled."""
    id: int = 1
    """Object of a box or of points."""
    name: str = ""
    """For people; empty leaves it to the id."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels of the camera's image."""
    points: tuple[Point, ...] = ()
    """x, y in pixels, on the object."""
    negative: tuple[Point, ...] = ()
    """x, y in pixels, not on it."""
    remove: int | None = None
    """Object to follow no more."""
    clear: bool = False
    """Follow nothing any more."""

    def frame(self, seen: Sequence[Seen]) -> int:
        """Index of the frame that this was made on: the one nearest to its stamp.

        Raises:
            ValueError: no frame is there yet, or that one is too long ago.
        """
        if not seen:
            raise ValueError("prompt: got none of the camera's frames yet; send it when features come")
        if self.stamp_ns and self.stamp_ns < seen[0].stamp_ns:
            ago_s = (seen[-1].stamp_ns - self.stamp_ns) / 1e9
            kept_s = (seen[-1].stamp_ns - seen[0].stamp_ns) / 1e9
            raise ValueError(
                f"prompt: its frame was {ago_s:.2f} s before the newest, and those of the last {kept_s:.2f} s are "
                "kept; raise prompt_history, or mark a newer frame"
            )
        if not self.stamp_ns:
            return len(seen) - 1
        if (ahead_s := (self.stamp_ns - seen[-1].stamp_ns) / 1e9) > AHEAD_S:
            raise ValueError(
                f"prompt: its stamp is {ahead_s:.2f} s after the newest frame's, expected that of an image that was "
                "marked, or 0; is it by another clock?"
            )
        return min(range(len(seen)), key=lambda i: abs(seen[i].stamp_ns - self.stamp_ns))

    def masks(self, seen: Seen) -> dict[int, Tensor]:
        """Soft masks [h, w] on a frame's grid, by object.

        Raises:
            ValueError: nothing is marked, or not on the image.
        """
        height, width = seen.image_size
        grid = (int(seen.tokens.shape[0]), int(seen.tokens.shape[1]))
        if self.labels is not None:
            return masks_from_labels(self.labels, grid, size=seen.input_size)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):  # False for NaN too.
                raise ValueError(
                    f"box: got {list(self.box)}, expected [x0, y0, x1, y1] with x0 < x1 and y0 < y1, in pixels of the "
                    f"camera's image, which has {width}x{height}"
                )
            return {self.id: mask_from_box(seen.tokens, (x0 / width, y0 / height, x1 / width, y1 / height))}
        for x, y in (*self.points, *self.negative):
            if not (0 <= x <= width and 0 <= y <= height):
                raise ValueError(
                    f"points: got [{x}, {y}], expected [x, y] in pixels of the camera's image, which has "
                    f"{width}x{height}"
                )
        on, off = ([(x / width, y / height) for x, y in each] for each in (self.points, self.negative))
        return {self.id: mask_from_points(seen.tokens, on, off)}


def prompt_from_json(text: str) -> Prompt:
    """Read a prompt.

    Args:
        text: an object with `box` ([x0, y0, x1, y1] in pixels) or `points` ([[x, y], ...], and `negative` ones), with
            the `id` (1..254, by default 1) and `name` of what is marked; or with `remove` (an id); or with `clear`
            (true). `stamp` ([seconds, nanoseconds] of the image that was marked) may come with the first two.

    Raises:
        ValueError: it is something else; says what was got and expected.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"prompt: got {text[:80]!r}, expected JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"prompt: got {text[:80]!r}, expected a JSON object like {{'id': 1, 'box': [0, 0, 9, 9]}}")
    if unknown := content.keys() - _KEYS:
        raise ValueError(f"prompt: got {', '.join(sorted(unknown))[:80]}, expected some of {', '.join(sorted(_KEYS))}")
    asked = [key for key in ("box", "points", "remove", "clear") if key in content]
    if len(asked) != 1:
        raise ValueError(f"prompt: got {asked or 'none'} of box, points, remove, clear; expected one of them")
    if "clear" in content:
        if content["clear"] is not True:
            raise ValueError(f"clear: got {content['clear']!r}, expected true")
        return Prompt(clear=True)
    if "remove" in content:
        return Prompt(remove=_id(content["remove"]))
    return Prompt(
        stamp_ns=_stamp_ns(content),
        id=_id(content.get("id", 1)),
        name=_name(content.get("name", "")),
        box=_box(content["box"]) if "box" in content else None,
        points=_points("points", content.get("points", ())),
        negative=_points("negative", content.get("negative", ())),
    )


def _id(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= LARGEST_ID:
        raise ValueError(f"id: got {value!r}, expected a whole number 1..{LARGEST_ID}")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 100 or not (value.isprintable()):
        raise ValueError(f"name: got {str(value)[:80]!r}, expected printable text of at most 100 characters")
    return value


def _box(value: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = _numbers("box", value, 4)
    return x0, y0, x1, y1


def _points(name: str, value: Any) -> tuple[Point, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > 1000:
        raise ValueError(f"{name}: got {str(value)[:80]}, expected a list of at most 1000 points [x, y]")
    return tuple((x, y) for x, y in (_numbers(name, each, 2) for each in value))


def _numbers(name: str, value: Any, count: int) -> list[float]:
    good = isinstance(value, list) and len(value) == count and all(type(each) in (int, float) for each in value)
    if not good:
        raise ValueError(f"{name}: got {str(value)[:80]}, expected {count} numbers in pixels of the image")
    try:
        return [float(each) for each in value]
    except OverflowError as error:  # JSON's whole numbers have no end.
        raise ValueError(f"{name}: got a number beyond all measure, expected pixels of the image") from error


def _stamp_ns(content: Mapping[str, Any]) -> int:
    stamp = content.get("stamp", [0, 0])
    whole = isinstance(stamp, list) and len(stamp) == 2 and all(type(each) is int for each in stamp)
    if not whole or not (0 <= stamp[0] < 2**31 and 0 <= stamp[1] < 10**9):
        raise ValueError(f"stamp: got {repr(stamp)[:80]}, expected [seconds, nanoseconds] of an image, whole numbers")
    return int(stamp[0]) * 1_000_000_000 + int(stamp[1])
