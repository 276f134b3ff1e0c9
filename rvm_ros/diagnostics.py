"""What the node tells on /diagnostics: one status per camera, by the conventions of REP 107."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from rvm_model.engines import EngineInfo
from rvm_ros.latency import Latency


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


class RateMeter:
    """Frames per second between two looks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}

    def rate(self, name: str, count: int, now_s: float) -> float:
        """Rate in Hz since the last call for `name`; 0 at the first call and over no time."""
        before, at = self._last.get(name, (count, now_s))
        self._last[name] = (count, now_s)
        elapsed = now_s - at
        return (count - before) / elapsed if elapsed > 0 else 0.0


def camera_status(
    node: str,
    camera: str,
    counts: CameraCounts,
    info: EngineInfo,
    *,
    state_age: int,
    input_hz: float,
    output_hz: float,
) -> DiagnosticStatus:
    """Status of one camera of an active node.

    Args:
        node: the node's full name.
        camera: the camera's name.
        counts: what happened to its frames.
        info: the engine that runs.
        state_age: frames in the recurrent state.
        input_hz: messages per second since the last status.
        output_hz: processed frames per second since the last status.
    """
    if input_hz == 0:
        level, message = DiagnosticStatus.WARN, "no images arrive"
    elif output_hz == 0:
        level, message = DiagnosticStatus.ERROR, "images arrive and none is processed"
    else:
        level, message = DiagnosticStatus.OK, "running"
    values: dict[str, object] = {
        "input_hz": f"{input_hz:.2f}",
        "output_hz": f"{output_hz:.2f}",
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
