"""What the heads share: checking a feature map, and keeping a state when a frame is bad.

No decision is read back from the device: a bad frame is masked, not branched on.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    State = TypeVar("State", bound=DataclassInstance)


LARGEST = 1e15
"""Values of this size and beyond count as not finite."""


def as_matrix(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A feature map as float32 rows, with rows that are not finite set to the mean of the others.

    Args:
        tokens: features [h, w, D], floating point.

    Returns:
        (rows [h * w, D], bool scalar on the device: whether everything was finite).

    Raises:
        ValueError: not a floating point map [h, w, D] with at least one token.
    """
    if tokens.ndim != 3 or not tokens.is_floating_point() or 0 in tokens.shape:
        raise ValueError(f"tokens: got {tokens.dtype} {tuple(tokens.shape)}, expected floating point [h, w, D]")
    rows = tokens.flatten(0, 1).to(torch.float32)
    # Squares of larger values overflow, and a decomposition then fails instead of returning.
    good = (rows.abs() < LARGEST).all(dim=1, keepdim=True)
    kept = torch.where(good, rows, 0.0)
    mean = kept.sum(0, keepdim=True) / good.sum().clamp(min=1)
    return torch.where(good, rows, mean), good.all()


def check_width(rows: Tensor, like: Tensor) -> None:
    """Check that features have the width of a state.

    Raises:
        ValueError: they have not.
    """
    if rows.shape[1] != like.shape[-1]:
        raise ValueError(
            f"tokens: got width {rows.shape[1]}, expected the state's {like.shape[-1]}; "
            "a state belongs to one model: start from None after a change"
        )


def running_weight(frames: Tensor, momentum: float) -> Tensor:
    """Weight of the next frame in a running mean: a plain average at first, then exponential forgetting.

    Args:
        frames: float32 scalar, frames already in the mean.
        momentum: weight that it settles at; 0 freezes the mean.

    Returns:
        float32 scalar: the larger of `momentum` and 1 / (frames + 1), or 0 when frozen.
    """
    return (1 / (frames + 1)).clamp(min=momentum) if momentum > 0 else torch.zeros_like(frames)


def where_all(condition: Tensor, new: State, old: State) -> State:
    """The new state where the scalar condition holds on the device, else the old one, tensor by tensor."""
    both = {field.name: (getattr(new, field.name), getattr(old, field.name)) for field in dataclasses.fields(new)}
    chosen = {name: torch.where(condition, a, b) for name, (a, b) in both.items() if isinstance(a, Tensor)}
    return dataclasses.replace(new, **chosen)
