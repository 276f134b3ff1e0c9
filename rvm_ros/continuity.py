"""Whether a camera's next frame goes on from the last one: the recurrent state is only worth keeping if it does."""

from __future__ import annotations

import enum


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
    """Earlier by more, or late time after time: a bag that loops, a clock that was set back."""
    UNSTAMPED = "unstamped"
    """The stamp is zero, which a driver sends that does not stamp; nothing can be said, so the state goes on."""

    @property
    def resets(self) -> bool:
        """Whether the state from before must not be used."""
        return self in (Transition.GAP, Transition.BACKWARDS)

    @property
    def skips(self) -> bool:
        """Whether the frame must not be taken in."""
        return self in (Transition.DUPLICATE, Transition.LATE)


PATIENCE = 3
"""Late frames in a row after which time itself has gone back."""


class Continuity:
    """Follows the stamps of one camera."""

    def __init__(self, max_gap_s: float) -> None:
        """Follow a camera whose frames are at most `max_gap_s` seconds apart.

        Raises:
            ValueError: the gap is not positive.
        """
        if not max_gap_s > 0:
            raise ValueError(f"max_gap: got {max_gap_s} s, expected more than 0")
        self._max_gap_ns = round(max_gap_s * 1e9)
        self._last_ns: int | None = None
        self._late = 0

    def check(self, stamp_ns: int) -> Transition:
        """Classify a frame and remember its stamp.

        Args:
            stamp_ns: acquisition time in nanoseconds, 0 for a driver that does not stamp.
        """
        if stamp_ns == 0:
            return Transition.UNSTAMPED
        last = self._last_ns
        if last is not None and 0 < last - stamp_ns <= self._max_gap_ns and self._late < PATIENCE:
            self._late += 1
            return Transition.LATE
        self._last_ns, self._late = stamp_ns, 0
        if last is None:
            return Transition.FIRST
        if stamp_ns == last:
            return Transition.DUPLICATE
        if stamp_ns < last:
            return Transition.BACKWARDS
        return Transition.GAP if stamp_ns - last > self._max_gap_ns else Transition.NEXT
