"""What the node tells on /diagnostics: one status per camera, by the conventions of REP 107."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from rvm_model.engines import EngineInfo
from rvm_ros.latency import Latency
from rvm_ros.pace import Pace


@dataclass
class CameraCounts:
    """What happened to one camera's frames since activation."""

    received: int = 0
    """Messages that arrived."""
    processed: int = 0
    """Frames that the state took in."""
    dropped: int = 0
    """Frames replaced by a newer one before the worker took them."""
    refused: int = 0
    """Malformed messages."""
    failed: int = 0
    """Frames that were lost to an error of the engine or the heads."""
    duplicates: int = 0
    """Frames with the stamp of the one before."""
    late: int = 0
    """Frames with an earlier stamp than one before, by no more than the largest gap; not taken in."""
    resets: int = 0
    """Times the state was started anew."""
    last_reset: str = "none"
    """Reason of the last reset."""
    latency: Latency = field(default_factory=Latency)
    """Durations of the last frames."""
    arrivals: Pace = field(default_factory=Pace)
    """When messages arrived."""
    completions: Pace = field(default_factory=Pace)
    """When frames were done."""
    since_s: float = field(default_factory=time.monotonic)
    """time.monotonic() at activation."""


def camera_status(
    node: str,
    camera: str,
    counts: CameraCounts,
    info: EngineInfo,
    *,
    state_age: int,
    now_s: float,
    stale_after_s: float,
) -> DiagnosticStatus:
    """Status of one camera of an active node.

    Args:
        node: the node's full name.
        camera: the camera's name.
        counts: what happened to its frames.
        info: the engine that runs.
        state_age: frames in the recurrent state.
        now_s: time.monotonic().
        stale_after_s: seconds without an image, or without a processed one, that are too long.
    """
    level, message = _judge(counts, now_s, stale_after_s)
    values: dict[str, object] = {
        "input_hz": f"{counts.arrivals.hz(now_s):.2f}",
        "output_hz": f"{counts.completions.hz(now_s):.2f}",
        "received": counts.received,
        "processed": counts.processed,
        "dropped": counts.dropped,
        "refused": counts.refused,
        "failed": counts.failed,
        "duplicates": counts.duplicates,
        "late": counts.late,
        "resets": counts.resets,
        "last_reset": counts.last_reset,
        "state_age_frames": state_age,
        **{name: f"{value:.2f}" for name, value in counts.latency.summary().items()},
        "engine": f"{info.kind} {info.arithmetic} {info.width}x{info.height}",
        "device": info.place,
        "weights": info.weights,
        "trained": info.trained,
    }
    return status(f"{node}: {camera}", camera, level, message, values)


def _judge(counts: CameraCounts, now_s: float, stale_after_s: float) -> tuple[bytes, str]:
    silent_s = counts.arrivals.silent_s(now_s)
    if silent_s is None:
        return DiagnosticStatus.WARN, "no images have arrived since activation"
    if silent_s > stale_after_s:
        return DiagnosticStatus.STALE, f"no images for {silent_s:.1f} s"
    idle_s = now_s - counts.since_s if counts.processed == 0 else counts.completions.silent_s(now_s)
    if idle_s is not None and idle_s > stale_after_s:
        return DiagnosticStatus.ERROR, (
            f"images arrive and none was processed for {idle_s:.1f} s; so far {counts.refused} refused, "
            f"{counts.duplicates} duplicates, {counts.late} late, {counts.failed} failed"
        )
    return DiagnosticStatus.OK, "running"


def status(name: str, hardware_id: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """A DiagnosticStatus with its values as text."""
    return DiagnosticStatus(
        name=name,
        hardware_id=hardware_id,
        level=level,
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def array(stamp: Time, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """The message for /diagnostics."""
    message = DiagnosticArray(status=statuses)
    message.header.stamp = stamp
    return message
