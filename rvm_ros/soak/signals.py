"""The part in which a node is told to end at any moment: while it starts, loads its engine, or runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rvm_ros.soak.report import Report
from rvm_ros.soak.subject import END_S, Log, SoakError, Subject

PART = "signals"
LATEST_S = 3.0
"""A node runs by then, on a machine that is free."""
LISTENS_S = 60.0


@dataclass
class SignalRun:
    """Starts a node so many times, and sends it a signal at another moment each time."""

    parameters: Mapping[str, object]
    log: Path
    seed: int
    report: Report
    progress: Callable[[int], object] = lambda _: None
    """Told of each node that has ended."""

    def run(self, times: int) -> None:
        """Start and end nodes.

        Raises:
            SoakError: a node has ended by itself.
        """
        rng = np.random.default_rng([self.seed, 300])
        statuses, strange, worst = [], [], 0.0
        for moment_s in np.linspace(0, LATEST_S, times):
            number = signal.Signals(int(rng.choice([signal.SIGINT, signal.SIGTERM])))
            status, seconds = self._once(float(moment_s), number)
            if status:
                statuses.append(f"{status} after {number.name} at {moment_s:.2f} s")
            worst = max(worst, seconds)
            strange += Log.read(self.log).strange
            self.progress(1)
        self.report.check(f"{PART}: exit statuses other than 0", statuses, [])
        self.report.check(f"{PART}: lines in the log that are none of the node's", strange[:5], [])
        self.report.check_at_most(f"{PART}: longest of {times} ends", worst, END_S, "s")

    def _once(self, moment_s: float, number: int) -> tuple[int, float]:
        subject = Subject(self.parameters, self.log)
        try:
            # Before its handlers are set, no node is there that could end in order.
            deadline_s = time.monotonic() + LISTENS_S
            while not subject.catches(signal.SIGTERM):
                subject.check()
                if time.monotonic() > deadline_s:
                    raise SoakError(f"waited {LISTENS_S:.0f} s for a node to listen to signals")
                time.sleep(0.01)
            time.sleep(moment_s)  # Whatever it is at then: that is what is tried.
            subject.check()
            return subject.interrupt(number)
        finally:
            subject.kill()
