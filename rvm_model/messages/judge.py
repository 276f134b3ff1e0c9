"""What has to happen to a camera's state before its next frame, judged by what its messages say of themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from rvm_model.messages.continuity import Continuity, Transition

ON_GAP = ("reset", "continue", "decay")
"""What becomes of the state at a gap: it starts anew, goes on, or fades by the length of the pause."""
OTHER_CAMERA = "frame_id changed"
"""The reason of a reset after which nothing that was followed means anything."""


@dataclass(frozen=True)
class Rules:
    """How the frames of a camera are judged."""

    max_gap_s: float = 1.0
    """A longer pause between stamps is a gap."""
    on_gap: str = ON_GAP[0]
    """One of ON_GAP."""


@dataclass(frozen=True)
class Due:
    """What has to happen to the state before a frame goes in."""

    reset: str = ""
    """Why it starts anew; empty where it goes on."""
    decay_s: float = 0.0
    """Seconds of pauses that it has to fade for."""

    def then(self, newer: Due) -> Due:
        """This and what became due after it."""
        return newer if newer.reset else Due(self.reset, self.decay_s + newer.decay_s)


def _take_all(_due: Due) -> bool:
    return True


class Judge:
    """Follows one camera. Messages may arrive in one thread and be decoded in another."""

    def __init__(self, on_gap: Callable[[], object] = lambda: None) -> None:
        """Start without a frame.

        Args:
            on_gap: called at each gap.
        """
        self._on_gap = on_gap
        self._continuity = Continuity()
        self._lock = threading.Lock()
        self._frame_id: str | None = None
        # What messages owed that did not go in: left out on arrival, and not to be decoded.
        self._left_out = Due()
        self._unseen = Due()
        self._blind = False
        self._seen_ns = 0
        self._shape: tuple[int, ...] | None = None

    def forget(self, due: Due) -> None:
        """Judge nothing by the frames before the next one, which owes no more than this. Any thread."""
        with self._lock:
            self._continuity.forget()
            self._left_out, self._unseen = due, Due()
            self._blind, self._seen_ns = False, 0

    def arrive(
        self,
        stamp_ns: int,
        frame_id: str,
        *,
        now_s: float,
        rules: Rules,
        takes: Callable[[Due], bool] = _take_all,
    ) -> tuple[Transition, Due | None]:
        """Judge a message that is no nonsense, in the order of arrival.

        Args:
            stamp_ns: acquisition time, 0 for a driver that does not stamp.
            frame_id: the header's.
            now_s: time.monotonic() at its arrival.
            rules: how to judge.
            takes: whether a frame is taken that owes so much; what one owes that is not, is left to the next.

        Returns:
            How it follows the one before, and what is due before it goes in; None where it does not go in.
        """
        with self._lock:
            verdict = self._continuity.check(stamp_ns, now_s=now_s, max_gap_s=rules.max_gap_s)
            if verdict.transition.skips:
                return verdict.transition, None
            due = self._left_out.then(self._due(verdict.transition, verdict.dt_s, frame_id, rules))
            taken = takes(due)
            self._left_out = Due() if taken else due
            return verdict.transition, due if taken else None

    def not_seen(self, due: Due) -> None:
        """A message that arrived could not be decoded."""
        with self._lock:
            self._blind, self._unseen = True, self._unseen.then(due)

    def seen(self, stamp_ns: int, shape: tuple[int, ...], due: Due, *, rules: Rules) -> Due:
        """A message was decoded, to an image of a shape; returns all that is due before it goes in."""
        with self._lock:
            due, self._unseen = self._unseen.then(due), Due()
            due = self._after_blindness(stamp_ns, due, rules)
            before, self._shape = self._shape, shape
            return Due(reset="image size changed") if before not in (None, shape) else due

    def _due(self, transition: Transition, dt_s: float, frame_id: str, rules: Rules) -> Due:
        before, self._frame_id = self._frame_id, frame_id
        if transition.rewinds:
            return Due(reset=transition.value)
        if before not in (None, frame_id):
            return Due(reset=OTHER_CAMERA)
        return self._gap(dt_s, rules) if transition is Transition.GAP else Due()

    def _gap(self, dt_s: float, rules: Rules) -> Due:
        self._on_gap()
        if rules.on_gap == "reset":
            return Due(reset=Transition.GAP.value)
        return Due(decay_s=dt_s) if rules.on_gap == "decay" else Due()

    def _after_blindness(self, seen_ns: int, due: Due, rules: Rules) -> Due:
        """Frames came all the while, but none that could be seen: a gap for the state."""
        dt_s = (seen_ns - self._seen_ns) / 1e9 if self._blind and self._seen_ns and seen_ns else 0.0
        self._blind, self._seen_ns = False, seen_ns
        return due.then(self._gap(dt_s, rules)) if dt_s > rules.max_gap_s and not due.reset else due
