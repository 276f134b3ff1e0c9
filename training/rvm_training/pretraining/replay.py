"""States that are older than a clip: its frames are played forward and backward before they count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rvm_model.rvm import RVM


@dataclass(frozen=True)
class Older:
    """What playing a clip forward and backward leaves."""

    state: Tensor
    """State to go on from with the clip's first frame, [B, 1 + N, D]."""
    young: Tensor
    """Features of the last frame when it was first seen, [B, 1 + N, D]."""


@torch.no_grad()
def replayed(network: RVM, sources: Tensor, times: int, *, origin: tuple[int, int] = (0, 0)) -> Older:
    """Play sources [B, T, H, W, 3] forward and backward so many times, from an empty state.

    Raises:
        ValueError: no times, or a network without a recurrent core.
    """
    if times < 1 or network.config.aggregator != "gated":
        raise ValueError(
            f"replay: got {times} times and the aggregator {network.config.aggregator}, expected one time or more, and "
            "the recurrent core"
        )
    tokens = network.encode(sources.flatten(0, 1), origin=origin).unflatten(0, sources.shape[:2]).unbind(1)
    state, young = torch.zeros_like(tokens[0]), None
    for _ in range(times):
        for token in tokens:
            state = network.core(token, state)
        young = state if young is None else young
        for token in reversed(tokens):
            state = network.core(token, state)
    assert young is not None
    return Older(state, young)
