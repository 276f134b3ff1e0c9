"""What happened to one camera's frames since activation."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from rvm_ros.latency import Latency, Window
from rvm_ros.pace import Pace

AWAKE_S = 2.0
"""Seconds without a message after which the next one begins anew to be waited for."""
COUNTED = {
    "received": "Messages that arrived",
    "processed": "Frames that the state took in",
    "dropped": "Frames replaced by a newer one before the engine took them",
    "limited": "Frames left out by the camera's max_rate",
    "stale": "Frames older than max_age when they arrived; not taken in",
    "refused": "Malformed messages, or of another frame_id than the camera's",
    "failed": "Frames that were lost to an error of the engine or the heads",
    "duplicates": "Frames with the stamp of the one before; not taken in",
    "late": "Frames with an earlier stamp than one before, by no more than max_gap; not taken in",
    "gaps": "Pauses between stamps that were longer than max_gap",
    "pictures_dropped": "Frames whose pictures were not drawn, for the next ones were due",
}
"""What is counted, in the order in which diagnostics tell it."""


@dataclass
class CameraCounts:
    """Counts and durations of one camera; written in several threads, read in another."""

    last_reset: str = "none"
    """Reason of the last reset."""
    last_reset_ns: int = 0
    """Stamp of the frame that was to come next then; 0 where there was none."""
    resets: Counter[str] = field(default_factory=Counter)
    """Times the state was started anew, by reason."""
    latency: Latency = field(default_factory=Latency)
    """Durations of the last frames."""
    intervals: Window = field(default_factory=Window)
    """Seconds between the stamps of frames that the state took in, one after the other."""
    arrivals: Pace = field(default_factory=Pace)
    """When messages arrived."""
    completions: Pace = field(default_factory=Pace)
    """When frames were done."""
    restarts: Pace = field(default_factory=lambda: Pace(events=4000))
    """When the state was started anew."""
    awake_s: float = 0.0
    """time.monotonic() at the first message after a silence."""

    def __post_init__(self) -> None:
        """Start at nothing."""
        self._counted: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note_arrival(self, now_s: float) -> None:
        """Note that a message arrived."""
        silent_s = self.arrivals.silent_s(now_s)
        if silent_s is None or silent_s > AWAKE_S:
            self.awake_s = now_s
        self.arrivals.note(now_s)

    def add(self, what: str) -> int:
        """Count one more of COUNTED; returns how many there are now."""
        if what not in COUNTED:
            raise ValueError(f"counts: got {what!r}, expected one of {', '.join(COUNTED)}")
        with self._lock:
            self._counted[what] += 1
            return self._counted[what]

    def __getitem__(self, what: str) -> int:
        """How many of COUNTED there were."""
        return self._counted[what]

    def note_reset(self, reason: str, stamp_ns: int, now_s: float) -> None:
        """Note that the state was started anew."""
        with self._lock:
            self.last_reset, self.last_reset_ns = reason, stamp_ns
            self.resets[reason] += 1
        self.restarts.note(now_s)

    def resets_by_reason(self) -> dict[str, int]:
        """A copy of `resets`."""
        with self._lock:
            return dict(self.resets)
