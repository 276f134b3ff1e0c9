"""Fewer frames of a camera than it sends: an even choice by their stamps, never more than asked for on average."""

from __future__ import annotations


class RateLimit:
    """Says of each frame of one camera whether it is taken."""

    def __init__(self) -> None:
        """Take the first frame."""
        self._due_ns: int | None = None
        self._period_ns = 0

    def forget(self) -> None:
        """Take the next frame, whatever came before."""
        self._due_ns = None

    def takes(self, time_ns: int, max_rate_hz: float) -> bool:
        """Whether a frame is taken.

        Args:
            time_ns: its stamp, or another clock that only goes forward.
            max_rate_hz: frames per second that are taken at most; 0 takes all.
        """
        if not max_rate_hz > 0:
            return True
        period_ns = round(1e9 / max_rate_hz)
        if self._due_ns is None or period_ns != self._period_ns:
            self._due_ns, self._period_ns = time_ns, period_ns
        if time_ns < self._due_ns:
            return False
        # From when it was due, not from when it came: a camera's jitter would otherwise make the rate lower each time.
        # After a pause from when it came: what was missed is not made up for.
        late = time_ns >= self._due_ns + period_ns
        self._due_ns = (time_ns if late else self._due_ns) + period_ns
        return True
