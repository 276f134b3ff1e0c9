"""Means over clips between two reports, summed on the device and reduced over processes once per report."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Meter:
    """Weighted means of named values per clip."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, weight: Tensor, **values: Tensor) -> None:
        """Add values [B] of clips with weights [B]; nothing waits for the device."""
        for name, value in {"": torch.ones_like(weight), **values}.items():
            # Where the weight is 0 the value may be anything, also not a number.
            total = torch.where(weight > 0, value * weight, 0.0).sum().double()
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def take(self, reduce_sum: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The means since the last call, over all processes; empty where no clip had weight.

        Args:
            reduce_sum: sums a tensor over processes.
        """
        if not self._sums:
            return {}
        names = sorted(self._sums)
        totals = reduce_sum(torch.stack([self._sums[name] for name in names])).tolist()
        self._sums = {}
        by_name = dict(zip(names, totals, strict=True))
        count = by_name.pop("")
        return {name: total / count for name, total in by_name.items()} if count else {}
