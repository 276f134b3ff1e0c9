"""Where the time of a frame goes, over a sliding window of recent frames."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

import numpy as np

STAGES = {
    "wait": "Waiting: for the engine, for other cameras, for the pictures before",
    "convert": "Message to array, and resizing",
    "engine": "The recurrent step of all cameras of the batch",
    "heads": "Pictures and labels",
    "publish": "Arrays to messages, and sending",
}
"""Stages of a frame in the node.

On a GPU the engine's kernels are awaited where their result is first read: in the check that features are finite, which
belongs to `engine`.
"""
PERCENTILES = (50, 95, 99)


class Window:
    """The last values of one kind; noted in one thread, read in another."""

    def __init__(self, length: int = 200) -> None:
        """Keep the last `length` values."""
        self._values: deque[float] = deque(maxlen=length)
        self._lock = threading.Lock()

    def note(self, value: float) -> None:
        """Add a value."""
        with self._lock:
            self._values.append(value)

    def summary(self) -> dict[str, float]:
        """`p50`, `p95`, `p99` and `max`; empty when nothing was noted."""
        with self._lock:
            values = tuple(self._values)
        if not values:
            return {}
        percentiles = np.percentile(values, PERCENTILES)
        return {**{f"p{q}": float(v) for q, v in zip(PERCENTILES, percentiles, strict=True)}, "max": max(values)}


class Latency:
    """Durations of the last frames of one camera, in milliseconds, by stage and in total."""

    def __init__(self, window: int = 200) -> None:
        """Keep the last `window` frames."""
        self._total = Window(window)
        self._stages = {stage: Window(window) for stage in STAGES}

    def record(self, stages_ms: Mapping[str, float]) -> None:
        """Add one frame.

        Args:
            stages_ms: duration of every stage of STAGES in milliseconds.

        Raises:
            ValueError: a stage is missing or unknown.
        """
        if set(stages_ms) != set(STAGES):
            raise ValueError(f"latency: got stages {sorted(stages_ms)}, expected {sorted(STAGES)}")
        for stage, duration in stages_ms.items():
            self._stages[stage].note(duration)
        self._total.note(sum(stages_ms.values()))

    def summary(self) -> dict[str, float]:
        """p50, p95, p99 and max of the total and of each stage, in milliseconds; empty when nothing was recorded."""
        windows = {"latency": self._total, **self._stages}
        return {
            f"{name}_{statistic}_ms": value
            for name, window in windows.items()
            for statistic, value in window.summary().items()
        }
