"""One run of the demo: starts the nodes, draws while frames arrive, and sums up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from tqdm import tqdm

from rvm_ros.demo import recording
from rvm_ros.demo.recorder import RecordedFrame, Recorder
from rvm_ros.environment import ros_environment

NAMESPACE = "/rvm_demo"
"""Own namespace, so that the demo never talks to a robot's nodes."""
START_TIMEOUT_S = 180.0
"""A large model on a slow disk takes its time to load."""
IDLE_TIMEOUT_S = 2.0
"""Without a message for so long after the player's end, nothing more comes."""


class DemoError(RuntimeError):
    """The demo could not run to its end; the message says why."""


@dataclass(frozen=True)
class DemoOptions:
    """What to play and where to write."""

    video: Path
    """Video file or folder of images."""
    out: Path
    """Folder for the results; made where it is missing."""
    masks: Path | None = None
    """`masks.npz` with the true masks of the video's frames: the objects of the first frame are marked for the node to
    follow, and what it makes of the others is scored. Without it there is nothing to follow, and frames are clustered.
    """
    model: str = ""
    """Weights for the node's parameter `model`; empty for the node's default."""
    engine: str = ""
    """Engine for the node's parameter `engine`; empty for the node's default."""
    rate_hz: float = 5.0
    """Frames per second to play: what two CPU cores keep up with, from the camera to the recording."""
    max_frames: int = 120
    """Stop after so many frames."""


@dataclass(frozen=True)
class _Seen:
    """What is kept of a frame once it is drawn; its pictures would fill the memory."""

    stamp_ns: int
    finished_s: float
    latency_ms: float
    segmentation: recording.U8 | None
    """Where it will be scored."""


@dataclass
class _Run:
    """What has been seen so far."""

    frames: list[_Seen] = field(default_factory=list)
    feature_map: tuple[int, ...] = ()
    """Rows, columns and width of the features."""
    diagnostics: dict[str, str] = field(default_factory=dict)
    camera_frames: int = 0
    first_stamp_ns: int = 0
    marked: int | None = None
    """Number of the frame whose objects were marked."""


def run(options: DemoOptions) -> Path:
    """Run the demo.

    Returns:
        Path of the report.

    Raises:
        DemoError: a node ended early, or no frame came through.
    """
    if not options.video.exists():
        raise DemoError(f"video: got {options.video}, which does not exist; give a video file or a folder of images")
    total, fps = _length_and_rate(options)
    masks = None if options.masks is None else _load_masks(options.masks)
    options.out.mkdir(parents=True, exist_ok=True)
    # Set before rclpy starts here, and inherited by the nodes: the shared-memory profile and idle OpenMP threads.
    os.environ.update(ros_environment())
    rclpy.init()
    seen = _Run()
    try:
        with contextlib.ExitStack() as stack:
            nodes = {
                "perception": stack.enter_context(_process("rvm_ros.perception_node", _perception_arguments(options))),
                "player": stack.enter_context(_process("rvm_ros.video_player_node", _player_arguments(options))),
            }
            _record(options, nodes, seen, total, fps, masks)
    finally:
        rclpy.try_shutdown()
    return _summarise(options, seen, fps, masks)


def _perception_arguments(options: DemoOptions) -> list[str]:
    chosen = {"model": options.model, "engine": options.engine}
    if options.masks is not None:
        chosen["segmentation"] = "propagation"
    given = [word for name, value in chosen.items() if value for word in ("-p", f"{name}:={value}")]
    return ["-p", "autostart:=true", *given]


def _player_arguments(options: DemoOptions) -> list[str]:
    # Two subscribers: the perception node, which subscribes once it is active, and the recorder.
    values = {
        "source": options.video.resolve(),
        "rate": options.rate_hz,
        "loop": "false",
        "wait_for_subscribers": 2,
    }
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    return [*parameters, "-p", "frame_id:=camera", "-r", "image_raw:=camera/image_raw"]


@contextlib.contextmanager
def _process(module: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", module, "--ros-args", "-r", f"__ns:={NAMESPACE}", *arguments]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _record(
    options: DemoOptions,
    nodes: dict[str, subprocess.Popen[bytes]],
    seen: _Run,
    total: int,
    fps: Fraction,
    masks: recording.U8 | None,
) -> None:
    """Draw frames until `total` came through, or the player has ended and nothing more comes."""
    executor = SingleThreadedExecutor()
    with (
        recording.VideoWriter(options.out / "demo.mp4", fps) as video,
        tqdm(total=total, unit="frame", desc="demo") as bar,
    ):

        def on_frame(frame: RecordedFrame) -> None:
            seen.frames.append(_kept(frame, scored=masks is not None))
            if masks is not None and seen.marked is None:
                # The first frame that the node has taken in: one it has not, it could not follow anything from.
                index = _index(frame.stamp_ns, recorder.first_stamp_ns, fps)
                if index < len(masks) and masks[index].any():
                    recorder.mark(masks[index], frame.stamp_ns)
                    seen.marked = index
            seen.feature_map = frame.outputs["features"].shape
            video.write(picture(frame, seen.diagnostics, following=masks is not None))
            bar.set_postfix(rate=f"{_rate_hz(seen.frames):.1f} Hz", latency=f"{frame.latency_ms:.0f} ms")
            bar.update()

        recorder = Recorder(f"{NAMESPACE}/camera/image_raw", f"{NAMESPACE}/perception/camera", on_frame)
        recorder.create_subscription(
            DiagnosticArray, "/diagnostics", lambda message: _note_diagnostics(message, seen), 10
        )
        executor.add_node(recorder)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        try:
            while len(seen.frames) < total:
                executor.spin_once(timeout_sec=0.1)
                if nodes["perception"].poll() is not None:
                    raise DemoError(
                        f"the perception node ended with status {nodes['perception'].returncode}; see above"
                    )
                player_status = nodes["player"].poll()
                if player_status:
                    raise DemoError(f"the player ended with status {player_status}; see above")
                if not seen.frames and time.monotonic() > deadline_s:
                    raise DemoError(f"no frame came through within {START_TIMEOUT_S:.0f} s; see the nodes' logs above")
                if player_status == 0 and time.monotonic() - recorder.last_event_s > IDLE_TIMEOUT_S:
                    break
        except (KeyboardInterrupt, ExternalShutdownException):
            bar.write("interrupted: summing up what was seen")
        seen.camera_frames, seen.first_stamp_ns = recorder.camera_frames, recorder.first_stamp_ns


def _kept(frame: RecordedFrame, *, scored: bool) -> _Seen:
    segmentation = np.asarray(frame.outputs["segmentation"], np.uint8) if scored else None
    return _Seen(frame.stamp_ns, frame.finished_s, frame.latency_ms, segmentation)


def picture(frame: RecordedFrame, diagnostics: dict[str, str], *, following: bool) -> recording.U8:
    """Input, PCA and segmentation side by side, uint8 RGB."""
    note = " - UNTRAINED weights" if diagnostics.get("trained") == "False" else ""
    what = "objects marked once" if following else "k-means"
    return recording.side_by_side(
        {
            "camera": frame.camera,
            f"PCA of the features{note}": np.asarray(frame.outputs["pca"], np.uint8),
            f"segmentation ({what}){note}": np.asarray(frame.outputs["overlay"], np.uint8),
        }
    )


def _length_and_rate(options: DemoOptions) -> tuple[int, Fraction]:
    if options.video.is_dir():
        return options.max_frames, Fraction(round(options.rate_hz * 1000), 1000)
    try:
        with av.open(str(options.video)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise DemoError(f"video: {options.video} has no video stream")
            count = stream.frames or options.max_frames
            fps = stream.average_rate or Fraction(10)
    except av.FFmpegError as error:
        raise DemoError(f"video: {options.video} cannot be read: {error}") from error
    return min(count, options.max_frames), fps


def _note_diagnostics(message: DiagnosticArray, seen: _Run) -> None:
    for status in message.status:
        if status.name.startswith(f"{NAMESPACE}/perception: "):
            seen.diagnostics = {item.key: item.value for item in status.values}


def _rate_hz(frames: list[_Seen]) -> float:
    recent = frames[-20:]
    span = recent[-1].finished_s - recent[0].finished_s
    return (len(recent) - 1) / span if span > 0 else 0.0


def _summarise(options: DemoOptions, seen: _Run, fps: Fraction, masks: recording.U8 | None) -> Path:
    frames = seen.frames
    if not frames:
        raise DemoError("no frame came through; see the nodes' logs above")
    rows = recording.read_frames(options.out / "demo.mp4", recording.evenly(len(frames), recording.SHEET_ROWS))
    recording.write_contact_sheet(options.out / "contact_sheet.png", rows)
    latencies = np.array([frame.latency_ms for frame in frames])
    span_s = frames[-1].finished_s - frames[0].finished_s
    report: dict[str, object] = {
        "video": str(options.video),
        "weights": seen.diagnostics.get("weights", "unknown: no diagnostics arrived"),
        "weights_trained": seen.diagnostics.get("trained", "unknown: no diagnostics arrived"),
        "engine": seen.diagnostics.get("engine", "unknown: no diagnostics arrived"),
        "feature_map": list(seen.feature_map),
        "played_hz": options.rate_hz,
        "camera_frames": seen.camera_frames,
        "completed_frames": len(frames),
        "rate_hz": (len(frames) - 1) / span_s if span_s > 0 else 0.0,
        "latency_ms": {
            "what": "camera frame received to last output received, in the recorder's process, drawing included",
            "p50": float(np.percentile(latencies, 50)),
            "p95": float(np.percentile(latencies, 95)),
            "max": float(latencies.max()),
        },
        "node_diagnostics": seen.diagnostics,
    }
    if masks is not None:
        report["objects_followed"] = followed = _score(masks, seen, fps)
        print(_followed(followed))
    path = options.out / "report.json"
    recording.write_report(path, report)
    print(
        f"engine: {report['engine']}, weights: {report['weights']} (trained: {report['weights_trained']})\n"
        f"{len(frames)} of {seen.camera_frames} camera frames came through at {report['rate_hz']:.1f} Hz, "
        f"latency p50 {np.percentile(latencies, 50):.0f} ms, p95 {np.percentile(latencies, 95):.0f} ms\n"
        f"look at {options.out / 'demo.mp4'}, {options.out / 'contact_sheet.png'} and {path}"
    )
    return path


def _followed(scores: Mapping[str, Mapping[str, float]]) -> str:
    if not scores:
        return "no object was followed: the node's log above says what became of the marks"
    return "\n".join(
        f"{name}, marked once: IoU {score['iou']:.2f} over the video, {score['iou_in_the_last_frame']:.2f} at its end "
        f"({score['iou_of_the_marked_mask_kept']:.2f} of the mask left where it was)"
        for name, score in scores.items()
    )


def _load_masks(path: Path) -> recording.U8:
    try:
        with np.load(path, allow_pickle=False) as file:
            masks = file["masks"]
    except (OSError, ValueError, KeyError) as error:
        raise DemoError(f"masks: {path} cannot be read: {error}; expected the masks.npz of `rvm demo-clip`") from error
    if masks.ndim != 3 or masks.dtype != np.uint8:
        raise DemoError(f"masks: got {masks.dtype} {masks.shape} in {path}, expected uint8 [frames, height, width]")
    return masks


def _index(stamp_ns: int, first_stamp_ns: int, fps: Fraction) -> int:
    # The player's stamps advance with the video's own clock from the first frame it sent, which may have been dropped.
    return round((stamp_ns - first_stamp_ns) * float(fps) / 1e9)


def _score(masks: recording.U8, seen: _Run, fps: Fraction) -> dict[str, dict[str, float]]:
    """From the first frame on in which the node follows anything: a mark takes a moment to reach it."""
    if seen.marked is None:
        return {}
    wanted = np.unique(masks[seen.marked])[1:]
    numbered = ((_index(frame.stamp_ns, seen.first_stamp_ns, fps), frame.segmentation) for frame in seen.frames)
    pairs = [
        (segments, masks[index])
        for index, segments in numbered
        if seen.marked < index < len(masks) and segments is not None
    ]
    follows = [bool(np.isin(wanted, segments).any()) for segments, _ in pairs]
    pairs = pairs[follows.index(True) :] if any(follows) else []
    return recording.followed_iou([segments for segments, _ in pairs], [mask for _, mask in pairs], masks[seen.marked])
