"""What the node tells on /diagnostics, by the conventions of REP 107: a status of its own, and one per camera."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from rvm_model.engines import EngineInfo
from rvm_ros.counts import COUNTED, CameraCounts
from rvm_ros.latency import STAGES

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
RESETS_WITHIN_S = 60.0
"""Over what time resets are counted for the level."""
LEVELS = (
    ("STALE", "camera", "no image for `stale_after`"),
    (
        "ERROR",
        "camera",
        "images arrive and none was processed for `stale_after`; or 95% latency from `error_latency` on",
    ),
    (
        "WARN",
        "camera",
        "no image since activation; or `warn_resets` resets within a minute; or 95% latency from `warn_latency` on",
    ),
    ("ERROR", "node", "processing ended because steps failed time after time, so that the node deactivated"),
    (
        "WARN",
        "node",
        "the weights are untrained; or an engine that was asked for could not be loaded, so the old one runs",
    ),
    ("OK", "both", "none of these"),
)
"""Levels, of what, and when; of several that hold, the first of a camera is told, and the gravest of the node."""
ENGINE_VALUES = {
    "engine": "What runs: kind, arithmetic, width x height of the input",
    "engine_digest": "Identity of what runs; states that are saved belong to it",
    "device": "Where it runs",
    "weights": "Identity of the weights",
    "trained": "False for random weights",
}
"""Values of every status while an engine is loaded."""
NODE_VALUES = {
    "state": "unconfigured, inactive or active",
    "memory_mb": "Memory of the process now, in MB of 10^6 bytes; on Linux",
    "memory_peak_mb": "The most that it ever was",
    "<device>_memory_mb": "Memory that torch holds on a GPU that is used, `cuda` or `cuda:N`",
    **ENGINE_VALUES,
}
"""Values of the node's own status."""
_STATISTICS = "50th, 95th, 99th percentile and maximum (`p50`, `p95`, `p99`, `max`) over the last 200 frames"
CAMERA_VALUES = {
    "input_hz": "Images per second that arrive",
    "output_hz": "Frames per second that are processed",
    "resets": "Times the state was started anew",
    "resets_by_reason": "The same by reason",
    "last_reset": "Reason of the last one",
    "state_age_frames": "Frames in the state",
    "latency_*_ms": f"From arrival to the last output sent, in milliseconds: {_STATISTICS}",
    **{f"{stage}_*_ms": f"{text}, likewise" for stage, text in STAGES.items()},
    "interval_*_ms": "Between the stamps of frames that the state took in one after the other, likewise: what the "
    "recurrence sees",
    **ENGINE_VALUES,
}
"""Values of a camera's status, beside what is counted."""


@dataclass(frozen=True)
class Thresholds:
    """From where on something is told of."""

    stale_after_s: float
    """Seconds without an image."""
    idle_after_s: float
    """Seconds without a processed one, though images arrive: the same, or more where a camera's rate is limited."""
    warn_latency_s: float
    """95th percentile of the latency from which it is a warning."""
    error_latency_s: float
    """And from which it is an error."""
    warn_resets: int
    """Resets within RESETS_WITHIN_S."""


def camera_status(
    node: str,
    camera: str,
    counts: CameraCounts,
    info: EngineInfo,
    *,
    state_age: int,
    now_s: float,
    thresholds: Thresholds,
    publishers: str = "",
) -> DiagnosticStatus:
    """Status of one camera of an active node.

    Args:
        node: the node's full name.
        camera: the camera's name.
        counts: what happened to its frames.
        info: the engine that runs.
        state_age: frames in the recurrent state.
        now_s: time.monotonic().
        thresholds: from where on something is told of.
        publishers: who sends on the camera's topic, in words, for when nothing comes.
    """
    latency, resets = counts.latency.summary(), counts.resets_by_reason()
    level, message = _judge(counts, latency.get("latency_p95_ms", 0.0), now_s, thresholds, publishers)
    intervals = {f"interval_{name}_ms": seconds * 1e3 for name, seconds in counts.intervals.summary().items()}
    values: dict[str, object] = {
        "input_hz": f"{counts.arrivals.hz(now_s):.2f}",
        "output_hz": f"{counts.completions.hz(now_s):.2f}",
        **{what: counts[what] for what in COUNTED},
        "resets": sum(resets.values()),
        "resets_by_reason": ", ".join(f"{reason}: {n}" for reason, n in sorted(resets.items())),
        "last_reset": counts.last_reset,
        "state_age_frames": state_age,
        **{name: f"{value:.2f}" for name, value in {**latency, **intervals}.items()},
        **engine_values(info),
    }
    return status(f"{node}: {camera}", camera, level, message, values)


def engine_values(info: EngineInfo) -> dict[str, object]:
    """What runs, as values of a status."""
    return {
        "engine": f"{info.kind} {info.arithmetic} {info.width}x{info.height}",
        "engine_digest": info.digest,
        "device": info.place,
        "weights": info.weights,
        "trained": info.trained,
    }


def memory_values(devices: Iterable[str]) -> dict[str, object]:
    """Memory of this process, and on the GPUs among the devices, in MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    values: dict[str, object] = {"memory_peak_mb": round(peak / 1e6)}
    pages = Path("/proc/self/statm")  # Linux alone has it.
    if pages.is_file():
        values["memory_mb"] = round(int(pages.read_text().split()[1]) * resource.getpagesize() / 1e6)
    for device in sorted({each for each in devices if each.startswith("cuda")}):
        values[f"{device}_memory_mb"] = round(torch.cuda.memory_reserved(device) / 1e6)
    return values


def _judge(
    counts: CameraCounts, p95_ms: float, now_s: float, thresholds: Thresholds, publishers: str
) -> tuple[bytes, str]:
    """Level of one camera and why: the first of these that holds.

    STALE: no image for `stale_after`. ERROR: images arrive and none was processed for `stale_after`; latency. WARN: no
    image since activation; resets; latency.
    """
    silent_s = counts.arrivals.silent_s(now_s)
    if silent_s is None:
        return WARN, f"no images have arrived since activation; {publishers}".rstrip("; ")
    if silent_s > thresholds.stale_after_s:
        return STALE, f"no images for {silent_s:.1f} s; {publishers}".rstrip("; ")
    done_s = counts.completions.silent_s(now_s)
    idle_s = now_s - counts.awake_s if done_s is None else min(done_s, now_s - counts.awake_s)
    if idle_s > thresholds.idle_after_s:
        others = ("refused", "stale", "duplicates", "late", "failed")
        return ERROR, f"images arrive and none was processed for {idle_s:.1f} s; so far " + ", ".join(
            f"{counts[what]} {what}" for what in others
        )
    slow = f"latency {p95_ms:.0f} ms (95th percentile)"
    if p95_ms >= thresholds.error_latency_s * 1e3:
        return ERROR, f"{slow}, error_latency is {thresholds.error_latency_s} s"
    if (resets := counts.restarts.within(RESETS_WITHIN_S, now_s)) >= thresholds.warn_resets:
        return WARN, f"the state was started anew {resets} times in the last minute, last: {counts.last_reset}"
    if p95_ms >= thresholds.warn_latency_s * 1e3:
        return WARN, f"{slow}, warn_latency is {thresholds.warn_latency_s} s"
    return OK, "running"


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
