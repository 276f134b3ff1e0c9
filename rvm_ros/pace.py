"""How often something happens, from when it happened: frames that arrive, frames that are done."""

from __future__ import annotations

import threading
from collections import deque


class Pace:
    """The last events of one kind; noted in one thread, read in another."""

    def __init__(self, events: int = 30) -> None:
        """Keep the times of the last `events` events."""
        self._times: deque[float] = deque(maxlen=events)
        self._lock = threading.Lock()

    def note(self, now_s: float) -> None:
        """Note an event.

        Args:
            now_s: time.monotonic().
        """
        with self._lock:
            self._times.append(now_s)

    def hz(self, now_s: float) -> float:
        """Events per second: over the last intervals, and over the time since the last one where that is longer.

        A slow camera keeps its rate between two frames, and that of one that ended goes to zero. 0 before two events.
        """
        with self._lock:
            times = tuple(self._times)
        if len(times) < 2:
            return 0.0
        intervals, span_s = len(times) - 1, times[-1] - times[0]
        since_s = now_s - times[-1]
        if since_s > span_s / intervals:  # The next one is overdue.
            intervals, span_s = intervals + 1, span_s + since_s
        return intervals / span_s if span_s > 0 else 0.0

    def within(self, seconds: float, now_s: float) -> int:
        """Events of the last so many seconds, as far as they are kept."""
        with self._lock:
            return sum(now_s - time_s <= seconds for time_s in self._times)

    def silent_s(self, now_s: float) -> float | None:
        """Seconds since the last event; None before the first."""
        with self._lock:
            return now_s - self._times[-1] if self._times else None
