"""Memory of the node as frames go by."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from rvm_ros.soak.report import Report
from rvm_ros.soak.subject import Memory

EVERY_FRAMES = 1000
"""How often it is measured."""
FROM_FRAMES = 1000
"""When it is measured first: by then, all that the node keeps was needed."""
SAMPLES = 21
"""Rounds whose memory is measured each time, of which the median counts: one is always at another point of its way."""
GROWTH_PERCENT = 1.0
"""By how much it may have grown: the issue's figure."""


@dataclass
class MemoryRecord:
    """What was measured, by the frames that the node had taken in."""

    measure: Callable[[], Memory]
    _samples: dict[int, list[Memory]] = field(default_factory=dict)

    def note(self, frames: int) -> None:
        """Measure, where it is time for that."""
        at = frames // EVERY_FRAMES * EVERY_FRAMES
        if at >= FROM_FRAMES and len(samples := self._samples.setdefault(at, [])) < SAMPLES:
            samples.append(self.measure())

    def megabytes(self) -> dict[int, tuple[float, float]]:
        """Resident memory, and the node's own part of it, in MB of 10^6 bytes, by frames."""
        return {
            frames: (
                round(statistics.median(sample.total for sample in samples) / 1e6, 2),
                round(statistics.median(sample.own for sample in samples) / 1e6, 2),
            )
            for frames, samples in self._samples.items()
        }

    def conclude(self, report: Report, part: str, *, all_the_way: bool) -> None:
        """Put the figures into the report, and check the growth where there are enough.

        Args:
            report: takes them.
            part: of the soak.
            all_the_way: check the growth since FROM_FRAMES; else that of the last quarter over the one before, by their
                means. Messages of any size up to megabytes leave holes in the heap, which grows until they fit into
                each other's, and goes up and down by how they lie.
        """
        report.memory_mb[part] = values = self.megabytes()
        if len(values) < 2:
            return
        frames = sorted(values)
        totals = [values[each][0] for each in frames]
        whole = 100 * (totals[-1] / totals[0] - 1)
        what = f"{part}: growth of memory from {frames[0]} to {frames[-1]} frames"
        if all_the_way:
            report.check_at_most(what, whole, GROWTH_PERCENT, "%")
            return
        report.figures[f"{what}, %"] = round(whole, 3)
        if quarter := len(totals) // 4:
            before, last = totals[-2 * quarter : -quarter], totals[-quarter:]
            growth = 100 * (statistics.mean(last) / statistics.mean(before) - 1)
            report.check_at_most(f"{part}: growth of memory in the last quarter", growth, GROWTH_PERCENT, "%")
