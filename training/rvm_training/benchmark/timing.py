"""Timing several things in turn, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from tqdm import trange


@dataclass(frozen=True)
class Timing:
    """Durations of one measured thing in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    each_ms: tuple[float, ...]
    """In the order of the rounds."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summary of durations in seconds."""
        each = np.asarray(seconds) * 1e3
        p10, median, p90 = np.percentile(each, [10, 50, 90])
        return cls(float(median), float(p10), float(p90), tuple(each.tolist()))

    def ratio(self, other: Timing) -> tuple[float, float, float]:
        """How many times this takes as long as another, round by round: median, and first and last decile.

        A machine that is slow for a while is so for both.
        """
        ratios = np.asarray(self.each_ms) / np.asarray(other.each_ms)
        p10, median, p90 = np.percentile(ratios, [10, 50, 90])
        return float(median), float(p10), float(p90)


def interleaved(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    synchronize: Callable[[], object] = lambda: None,
    *,
    what: str = "bench",
) -> dict[str, Timing]:
    """Time several actions in turn, so that a machine that slows down slows all of them.

    Args:
        actions: name to what is timed; each runs once unmeasured first.
        rounds: measured runs of each.
        synchronize: waits for the device, within the measured time.
        what: name of the progress bar.
    """
    durations: dict[str, list[float]] = {name: [] for name in actions}
    for round_ in trange(rounds + 1, unit="round", desc=what):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            synchronize()
            if round_:
                durations[name].append(time.perf_counter() - start)
    return {name: Timing.of(values) for name, values in durations.items()}


def synchronizer(device: torch.device | str) -> Callable[[], object]:
    """What waits for a device: CUDA runs on after a call has returned."""
    return partial(torch.cuda.synchronize, device) if torch.device(device).type == "cuda" else lambda: None
