"""Doing something at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Iterator


def at_rate(rate_hz: float, count: int) -> Iterator[int]:
    """Yield 0, 1, ... count - 1, one each period; what takes longer delays the next, and no time is made up for.

    Args:
        rate_hz: per second; 0 does not wait.
        count: how many.
    """
    period_s = 1 / rate_hz if rate_hz else 0.0
    due_s = time.monotonic()
    for index in range(count):
        now_s = time.monotonic()
        if due_s > now_s:
            time.sleep(due_s - now_s)
        due_s = max(due_s, now_s) + period_s
        yield index
