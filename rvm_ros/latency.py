"""Where the time of a frame goes, over a sliding window of recent frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

STAGES = ("wait", "convert", "engine", "heads", "publish")
"""Stages of a frame in the node, in order: in the slot, message to array and resize, step, heads, messages out.

On a GPU the engine's kernels are awaited where their result is first read, so part of their time shows under `heads`.
"""


class Latency:
    """Durations of the last frames of one camera, in milliseconds, by stage and in total."""

    def __init__(self, window: int = 200) -> None:
        """Keep the last `window` frames."""
        self._totals: deque[float] = deque(maxlen=window)
        self._stages: dict[str, deque[float]] = {stage: deque(maxlen=window) for stage in STAGES}

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
            self._stages[stage].append(duration)
        self._totals.append(sum(stages_ms.values()))

    def summary(self) -> dict[str, float]:
        """p50, p95 and max of the total and p50 of each stage, in milliseconds; empty when nothing was recorded."""
        if not self._totals:
            return {}
        p50, p95 = np.percentile(self._totals, [50, 95])
        result = {
            "latency_p50_ms": float(p50),
            "latency_p95_ms": float(p95),
            "latency_max_ms": max(self._totals),
        }
        for stage in STAGES:
            result[f"{stage}_p50_ms"] = float(np.median(self._stages[stage]))
        return result
