"""What the benchmark measures, and the arithmetic on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from rvm_ros.latency import STAGES

GOAL_MS = 5.0
"""What ROS may cost around the engine's step, at the median."""


@dataclass(frozen=True)
class Durations:
    """Some durations in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, each_ms: Sequence[float]) -> Durations:
        """Summary of durations in milliseconds.

        Raises:
            ValueError: there are none.
        """
        if not each_ms:
            raise ValueError("durations: got none, expected at least one; did no message come through?")
        p50, p95, p99 = (float(value) for value in np.percentile(each_ms, (50, 95, 99)))
        return cls(len(each_ms), p50, p95, p99, float(max(each_ms)))

    @classmethod
    def over_rounds(cls, rounds: Sequence[Durations]) -> Durations:
        """All durations together by count and maximum; of the percentiles, the medians over the rounds."""
        p50, p95, p99 = (median(getattr(each, name) for each in rounds) for name in ("p50", "p95", "p99"))
        return cls(sum(each.count for each in rounds), p50, p95, p99, max(each.max for each in rounds))


def latencies_ms(stamps_ns: Sequence[int], arrivals_ns: Mapping[int, int]) -> list[float]:
    """From the publishing of each frame to the arrival of what came of it, in milliseconds.

    Args:
        stamps_ns: of the frames that count, which are the times when they were published.
        arrivals_ns: stamp to arrival, of those that arrived and possibly of others.
    """
    return [(arrivals_ns[stamp] - stamp) / 1e6 for stamp in stamps_ns if stamp in arrivals_ns]


@dataclass(frozen=True)
class NodePhase:
    """The node at work for a while."""

    sent: int
    """Frames published."""
    latency: Durations | None
    """From publishing a frame to receiving its features; None where nobody subscribed to them."""
    stages_p50_ms: Mapping[str, float]
    """Medians of the node's own stages, and of their sum as `latency`: its /diagnostics, over its last frames."""
    cpu_ms: float
    """Processor time of the node's process for each frame sent, all threads."""
    counts: Mapping[str, int]
    """What the node counted since it was activated, a first second of frames included that counts nowhere else."""


@dataclass(frozen=True)
class EnginePhase:
    """The engine's step alone for a while."""

    step: Durations
    cpu_ms: float
    """Processor time of its process for each step, all threads."""


@dataclass(frozen=True)
class Round:
    """Everything once, one after the other."""

    node: Mapping[str, NodePhase]
    """By who subscribes: none, features, all."""
    relay: Durations
    """From publishing a frame to receiving a feature map of a node that has no engine."""
    paced: EnginePhase
    """Steps at the camera's rate, with pauses between them, as the node takes them."""
    back_to_back: EnginePhase
    """Steps without pauses."""


@dataclass(frozen=True)
class Split:
    """Where the time goes from publishing a frame to receiving its features: medians in milliseconds."""

    total: float
    stages: Mapping[str, float]
    """In the node, by stage."""
    outside: float
    """The rest: messages from process to process, and the executors that wait for them. All add up to the total."""
    relay: float
    """The total of a node without engine."""
    engine: float
    """The engine's step alone, at the camera's rate."""
    around: float
    """What ROS and the node cost around the engine: the median of the rounds' own differences, for what slows the
    machine for a minute slows both."""
    beside: float
    """The same, beside the step within the node instead of the one alone."""

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> Split:
        """The medians over the rounds, with features subscribed.

        Raises:
            ValueError: a round has no features.
        """
        phases = [round_.node["features"] for round_ in rounds]
        total = median(_features(phase).p50 for phase in phases)
        stages = {stage: median(phase.stages_p50_ms[stage] for phase in phases) for stage in STAGES}
        return cls(
            total,
            stages,
            outside=total - sum(stages.values()),
            relay=median(round_.relay.p50 for round_ in rounds),
            engine=median(round_.paced.step.p50 for round_ in rounds),
            around=median(_around_ms(rounds)),
            beside=median(_features(phase).p50 - phase.stages_p50_ms["engine"] for phase in phases),
        )

    def verdict(self) -> str:
        """In one line."""
        kept = "kept" if self.around <= GOAL_MS else "missed"
        return (
            f"publish to features received: {self.total:.1f} ms, engine step: {self.engine:.1f} ms, ROS and the rest: "
            f"{self.around:.1f} ms (goal {GOAL_MS:.0f} ms: {kept})"
        )


def around_ms(rounds: Sequence[Round]) -> tuple[float, float]:
    """Smallest and largest of the rounds' own differences between total and engine step, in milliseconds."""
    each = _around_ms(rounds)
    return min(each), max(each)


def _around_ms(rounds: Sequence[Round]) -> list[float]:
    return [_features(round_.node["features"]).p50 - round_.paced.step.p50 for round_ in rounds]


def over_rounds(rounds: Sequence[Round], of: Callable[[Round], float]) -> float:
    """The median over the rounds."""
    return median(of(round_) for round_ in rounds)


def _features(phase: NodePhase) -> Durations:
    if phase.latency is None:
        raise ValueError("split: got a phase without features, expected one in which they were received")
    return phase.latency
