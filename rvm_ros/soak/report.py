"""What held and what did not: a table for people, and JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rvm_ros.soak.script import told
from rvm_ros.soak.subject import NODE, Log

LONGEST_LINE = 1000
"""Letters of a log line: what a message says of itself must not fill the disk."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    what: str
    got: str
    expected: str
    holds: bool


@dataclass
class Report:
    """Everything that was seen."""

    engine: str
    seed: int
    checks: list[Check] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    """Messages by kind."""
    memory_mb: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)
    """By part and frames, the node's resident memory, and the part of it that is its own, in MB of 10^6 bytes."""
    figures: dict[str, float] = field(default_factory=dict)
    """Whatever else was measured."""

    @property
    def holds(self) -> bool:
        """Whether all does."""
        return bool(self.checks) and all(check.holds for check in self.checks)

    def check(self, what: str, got: object, expected: object) -> None:
        """Check that two things are equal."""
        self.checks.append(Check(what, str(got), str(expected), got == expected))

    def check_at_most(self, what: str, got: float, limit: float, unit: str) -> None:
        """Check that a number is small enough."""
        self.checks.append(Check(what, f"{got:.4g} {unit}", f"at most {limit:g} {unit}", got <= limit))

    def table(self) -> str:
        """The checks in lines, those that do not hold last."""
        rows = sorted(self.checks, key=lambda check: not check.holds)
        widths = [max(len(row.what) for row in rows), max(len(row.got) for row in rows)]
        lines = [
            f"{'ok  ' if row.holds else 'FAIL'}  {row.what:<{widths[0]}}  {row.got:<{widths[1]}}  "
            f"{'' if row.holds else f'expected {row.expected}'}".rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    def summary(self) -> str:
        """All of it for people."""
        memory = "\n".join(
            f"  {part}, after {frames:>6} frames: {total:8.2f} MB, {own:8.2f} MB of them its own"
            for part, values in self.memory_mb.items()
            for frames, (total, own) in values.items()
        )
        figures = "\n".join(f"  {what}: {value:g}" for what, value in self.figures.items())
        verdict = "all of it holds" if self.holds else "NOT all of it holds"
        return (
            f"memory of the node:\n{memory}\nfigures:\n{figures}\n{self.table()}\n"
            f"soak of {self.sent.total()} messages of {len(self.sent)} kinds, engine {self.engine}, seed "
            f"{self.seed}: {verdict}"
        )

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        content = {
            "holds": self.holds,
            "engine": self.engine,
            "seed": self.seed,
            "checks": [vars(check) for check in self.checks],
            "sent": dict(sorted(self.sent.items())),
            "memory_mb": self.memory_mb,
            "figures": self.figures,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check_log(report: Report, part: str, log: Log, refused: Counter[tuple[str, str]]) -> None:
    """Check that each kind of nonsense was told clearly, and none too often.

    Args:
        report: takes the checks.
        part: of the soak.
        log: the node's.
        refused: messages that had to be refused, by camera and kind.
    """
    missing = [
        f"{camera}: {kind} ({text!r})"
        for camera in sorted({camera for camera, _ in refused})
        for kind, text in told(camera).items()
        if refused[camera, kind] and not log.holds(f"{NODE.strip('/').replace('/', '.')}.{camera}", text)
    ]
    report.check(f"{part}: kinds of refusals without their line in the log", missing, [])
    report.check(f"{part}: kinds of lines that came more often than every 5 s", log.too_often(), [])
    strange = Counter(log.strange)
    report.check(f"{part}: lines in the log that are none of the node's", dict(strange.most_common(5)), {})
    longest = max(map(len, log.text), default=0)
    report.check_at_most(f"{part}: longest line of the log", longest, LONGEST_LINE, "letters")
    report.figures[f"{part}: log lines"] = len(log.text)
    report.figures[f"{part}: what the middleware printed of unreadable messages"] = log.on_the_wire
