"""Whether a camera's next frame goes on from the last one: the recurrent state is only worth keeping if it does."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Transition(enum.Enum):
    """How a frame's acquisition stamp relates to the one before."""

    FIRST = "first"
    """No frame came before."""
    NEXT = "next"
    """Later than the last frame by at most the largest gap."""
    GAP = "gap"
    """Later by more: the scene may be another one."""
    DUPLICATE = "duplicate"
    """The same stamp again: a frame that was already taken in."""
    LATE = "late"
    """Earlier than the last frame by at most the largest gap: overtaken on its way, or from a second sender."""
    BACKWARDS = "backwards"
    """Earlier by more, or late time after time: a clock that was set back."""
    LOOP = "bag loop"
    """Back at the stamps that came first: a bag that is played again."""
    UNSTAMPED = "unstamped"
    """The stamp is zero, which a driver sends that does not stamp, and no pause was seen between arrivals."""

    @property
    def rewinds(self) -> bool:
        """Whether time went back, so that nothing from before may be used."""
        return self in (Transition.BACKWARDS, Transition.LOOP)

    @property
    def skips(self) -> bool:
        """Whether the frame must not be taken in."""
        return self in (Transition.DUPLICATE, Transition.LATE)


@dataclass(frozen=True)
class Verdict:
    """What is known of a frame by its stamp."""

    transition: Transition
    dt_s: float = 0.0
    """Seconds since the frame before, below 0 where time went back; 0 for the first."""


PATIENCE = 3
"""Late frames in a row after which time itself has gone back."""


class Continuity:
    """Follows the stamps of one camera."""

    def __init__(self) -> None:
        """Start without a frame."""
        self.forget()

    def forget(self) -> None:
        """Take the next frame for the first."""
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._last_arrival_s: float | None = None
        self._late = 0

    def check(self, stamp_ns: int, *, now_s: float, max_gap_s: float) -> Verdict:
        """Classify a frame and remember its stamp.

        Args:
            stamp_ns: acquisition time in nanoseconds, 0 for a driver that does not stamp.
            now_s: time.monotonic() at its arrival, by which frames without a stamp are judged.
            max_gap_s: a longer pause than this is a gap.

        Raises:
            ValueError: the gap is not positive.
        """
        if not max_gap_s > 0:
            raise ValueError(f"max_gap: got {max_gap_s} s, expected more than 0")
        arrived_s, self._last_arrival_s = self._last_arrival_s, now_s
        if stamp_ns == 0:
            dt_s = 0.0 if arrived_s is None else now_s - arrived_s
            return Verdict(Transition.GAP if dt_s > max_gap_s else Transition.UNSTAMPED, dt_s)
        if self._last_ns is None or self._first_ns is None:
            self._first_ns = self._last_ns = stamp_ns
            return Verdict(Transition.FIRST)
        dt_s = (stamp_ns - self._last_ns) / 1e9
        transition = self._judge(stamp_ns, dt_s, max_gap_s)
        if transition is Transition.LATE:
            self._late += 1
        else:
            self._last_ns, self._late = stamp_ns, 0
            if transition.rewinds:
                self._first_ns = stamp_ns
        return Verdict(transition, dt_s)

    def _judge(self, stamp_ns: int, dt_s: float, max_gap_s: float) -> Transition:
        assert self._first_ns is not None, "there was a frame before"
        if dt_s == 0:
            return Transition.DUPLICATE
        if dt_s > 0:
            return Transition.GAP if dt_s > max_gap_s else Transition.NEXT
        if dt_s >= -max_gap_s and self._late < PATIENCE:
            return Transition.LATE
        near_start = abs(stamp_ns - self._first_ns) / 1e9 <= max_gap_s
        return Transition.LOOP if near_start else Transition.BACKWARDS
