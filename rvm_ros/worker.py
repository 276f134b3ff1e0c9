"""The thread that runs the engine, between the cameras' threads that decode and those that draw."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import torch
from rclpy.impl.rcutils_logger import RcutilsLogger
from torch import Tensor

from rvm_model.camera_heads import CameraHeads, Wanted, tensors
from rvm_model.perception import Perception
from rvm_ros.camera_port import CameraMessage, CameraPort
from rvm_ros.camera_stream import CameraStream, Frame, Received, StreamSettings
from rvm_ros.intake import Intake, Policy
from rvm_ros.renderer import Renderer

FAILURES, PAUSE_S = 5, 0.5
"""Failed steps in a row after which the worker ends, and the pause after the first; each is twice the one before."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerSettings:
    """How frames are taken."""

    every: bool = False
    """Take each frame in order, as for a bag that is replayed; else the newest wins."""
    queue_length: int = 1
    """Frames of a camera that may wait where each is taken."""
    decay_half_life_s: float = 1.0
    """Seconds of a pause after which half of a state is left, where states fade."""


@dataclass(frozen=True)
class _Drawing:
    """What a camera's renderer needs of a frame."""

    frame: Frame
    features: Tensor
    """[1 + N, D], its own copy."""
    wanted: Wanted
    spent_s: dict[str, float]
    """Seconds of the stages before."""


class Worker:
    """Runs the engine and the heads while the node is active."""

    def __init__(
        self,
        perceptions: Mapping[str, Perception],
        heads: Mapping[str, CameraHeads],
        ports: Mapping[str, CameraPort],
        streams: Mapping[str, StreamSettings],
        *,
        settings: WorkerSettings,
        logger: RcutilsLogger,
        now_ns: Callable[[], int],
        on_reset: Callable[[str], None],
        on_failure: Callable[[Worker, str], None],
    ) -> None:
        """Prepare the threads; `start` starts them. The mappings are by camera name.

        Args:
            perceptions: what the frames go through, one for all cameras of an input size; the cameras start without a
                past.
            heads: what their features go through.
            ports: their topics.
            streams: how their frames are judged.
            settings: how frames are taken.
            logger: the node's.
            now_ns: the node's clock.
            on_reset: called from the worker's thread with the camera whose state was just started anew.
            on_failure: called once from the worker's thread, with this and the traceback, when it ends because steps
                fail.
        """
        self.settings = settings
        self._perceptions = dict(perceptions)
        self._heads = dict(heads)
        self._ports = ports
        self._on_reset, self._on_failure = on_reset, on_failure
        self.streams = {
            camera: CameraStream(port, streams[camera], self._preparing(camera), logger.get_child(camera), now_ns)
            for camera, port in ports.items()
        }
        self._intake: Intake[Received, Frame] = Intake(
            ports,
            lambda camera, received: self.streams[camera].decode(received),
            Policy(
                settings.every,
                settings.queue_length if settings.every else 1,
                merge=Received.over,
                merge_frames=Frame.over,
                on_drop=lambda camera: self.streams[camera].counts.add("dropped"),
            ),
        )
        self._renderers: dict[str, Renderer[_Drawing]] = {
            camera: Renderer(f"draw_{camera}", self._drawing(camera), every=settings.every) for camera in ports
        }
        self._last_ns: dict[str, int] = {}
        self._failures = 0
        self._stopping = threading.Event()
        self._actions: deque[tuple[Callable[[], object], Future[object]]] = deque()
        self._thread = threading.Thread(target=self._run, name="rvm_worker", daemon=True)
        for camera in ports:
            self._perceptions[camera].states.reset(camera)

    def start(self) -> None:
        """Start the threads."""
        self._intake.start()
        for renderer in self._renderers.values():
            renderer.start()
        self._thread.start()

    def stop(self) -> None:
        """End the threads after what they are at. A second call does nothing."""
        self._stopping.set()
        self._intake.close()
        for renderer in self._renderers.values():
            renderer.close()
        if self._thread.is_alive():
            self._thread.join()
        self._intake.join()
        for renderer in self._renderers.values():
            renderer.join()
        while self._actions:
            self._actions.popleft()[1].cancel()

    def put(self, camera: str, message: CameraMessage) -> None:
        """Leave a camera's message; what becomes of those that are not taken is counted."""
        received = self.streams[camera].arrive(message)
        if received is not None:
            self._intake.put(camera, received)

    def between_frames(self, action: Callable[[], Result]) -> Future[Result]:
        """Let the worker's thread do something when no frame is under way, neither in the engine nor in the heads.

        Returns:
            What it returns or raises; cancelled where the worker stops before.
        """
        future: Future[Result] = Future()
        self._actions.append((action, future))  # type: ignore[arg-type]  # A Future of any result.
        self._intake.wake()
        return future

    @property
    def actions(self) -> int:
        """How many of `between_frames` wait."""
        return len(self._actions)

    def reset(self, reason: str, *cameras: str) -> None:
        """Start states anew, of these cameras or of all. Only in an action of `between_frames`."""
        for camera in cameras or self._ports:
            self._reset(camera, reason, 0)

    def swap(self, perceptions: Mapping[str, Perception], heads: Mapping[str, CameraHeads]) -> None:
        """Go on with other engines and heads, with the states that they have. Only in an action of `between_frames`."""
        self._perceptions, self._heads = dict(perceptions), dict(heads)

    def perception(self, camera: str) -> Perception:
        """What the camera's frames go through now."""
        return self._perceptions[camera]

    def heads(self, camera: str) -> CameraHeads:
        """What the camera's features go through now."""
        return self._heads[camera]

    def _preparing(self, camera: str) -> Callable[..., Tensor]:
        return lambda image: self._perceptions[camera].prepare({camera: image})

    def _run(self) -> None:
        try:
            while (frames := self._intake.take()) is not None:
                self._act()
                for perception, group in self._groups(frames):
                    self._process(perception, group)
        except Exception:  # The thread's last place to tell: it ends here, and the node deactivates.
            self._on_failure(self, traceback.format_exc())

    def _act(self) -> None:
        while self._actions:
            for renderer in self._renderers.values():
                renderer.finish()
            action, future = self._actions.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(action())
            except Exception as error:  # Whoever asked is told.
                future.set_exception(error)

    def _groups(self, frames: Mapping[str, Frame]) -> Iterator[tuple[Perception, dict[str, Frame]]]:
        """Frames that go through one engine together.

        In one order whatever arrived first: the same cameras are then the same batch, whose states stay in place.
        """
        groups: dict[int, dict[str, Frame]] = {}
        for camera, frame in sorted(frames.items()):
            groups.setdefault(id(self._perceptions[camera]), {})[camera] = frame
        for group in groups.values():
            yield self._perceptions[next(iter(group))], group

    def _process(self, perception: Perception, frames: Mapping[str, Frame]) -> None:
        for camera, frame in frames.items():
            self._settle(perception, camera, frame)
        start_s = time.monotonic()
        try:
            batch = torch.cat([_fitting(perception, camera, frame) for camera, frame in frames.items()])
            prepared_s = time.monotonic()
            features = perception.encode(list(frames), batch)
            sound = perception.sound(features)
        except Exception as error:
            self._recover(frames, error)
            return
        self._failures = 0
        encoded_s = time.monotonic()
        for camera, frame in frames.items():
            stream = self.streams[camera]
            if not sound[camera]:
                stream.lose("features that are not finite, or beyond all measure", "not finite")
                self._reset(camera, "not finite", frame.stamp_ns)
                continue
            spent_s = {"convert": frame.convert_s + prepared_s - start_s, "engine": encoded_s - prepared_s}
            try:
                self._finish(perception, camera, frame, features[camera], spent_s)
            except Exception as error:  # One camera's outputs are nothing to the others.
                stream.lose(traceback.format_exc(), type(error).__name__)

    def _settle(self, perception: Perception, camera: str, frame: Frame) -> None:
        """Do to the camera's state what has to happen before this frame."""
        if frame.due.reset:
            self._reset(camera, frame.due.reset, frame.stamp_ns)
        elif frame.due.decay_s > 0:
            perception.states.decay(camera, 0.5 ** (frame.due.decay_s / self.settings.decay_half_life_s))
        last_ns = self._last_ns.get(camera, 0)
        if last_ns and frame.stamp_ns and not frame.due.reset:
            self.streams[camera].counts.intervals.note((frame.stamp_ns - last_ns) / 1e9)
        self._last_ns[camera] = frame.stamp_ns

    def _finish(
        self, perception: Perception, camera: str, frame: Frame, features: Tensor, spent_s: dict[str, float]
    ) -> None:
        """Publish the features, and leave the rest to the camera's renderer."""
        port, counts = self._ports[camera], self.streams[camera].counts
        start_s = time.monotonic()
        wanted = port.wanted()
        if wanted.tensors:
            port.publish(tensors(perception.engine.info, features, wanted), frame.message.header)
        counts.add("processed")
        done_s = time.monotonic()
        counts.completions.note(done_s)
        spent_s |= {"heads": 0.0, "publish": done_s - start_s}
        if not wanted.pictures and not self._heads[camera].needs_every_frame:
            self._record(camera, frame, spent_s)
            return
        # Copied: the engine's result holds until its next step, which will not wait.
        replaced = self._renderers[camera].put(_Drawing(frame, features.clone(), wanted, spent_s))
        if replaced is not None:
            counts.add("pictures_dropped")
            self._record(camera, replaced.frame, replaced.spent_s)

    def _drawing(self, camera: str) -> Callable[[_Drawing], None]:
        def draw(job: _Drawing) -> None:
            try:
                self._draw(camera, job)
            except Exception as error:  # One camera's heads are nothing to the others.
                self.streams[camera].lose(traceback.format_exc(), type(error).__name__)
                self._heads[camera].forget()

        return draw

    def _draw(self, camera: str, job: _Drawing) -> None:
        """Camera's renderer: draw and publish."""
        start_s = time.monotonic()
        heads, port = self._heads[camera], self._ports[camera]
        outputs = heads.draw(job.frame.image, job.features, job.wanted, job.frame.stamp_ns)
        drawn_s = time.monotonic()
        port.publish_labels(heads.labels)
        port.publish(outputs, job.frame.message.header)
        spent_s = job.spent_s | {
            "heads": drawn_s - start_s,
            "publish": job.spent_s["publish"] + time.monotonic() - drawn_s,
        }
        self._record(camera, job.frame, spent_s)

    def _record(self, camera: str, frame: Frame, spent_s: Mapping[str, float]) -> None:
        # What is left of the whole is waiting: in the slots, and for other cameras of the same batch.
        wait_s = time.monotonic() - frame.at_s - sum(spent_s.values())
        stages_s = {"wait": wait_s, **spent_s}
        latency = self.streams[camera].counts.latency
        latency.record({stage: seconds * 1e3 for stage, seconds in stages_s.items()})

    def _recover(self, frames: Mapping[str, Frame], error: Exception) -> None:
        """Go on after a failed step: states anew, for they may be half written, after a pause that grows.

        Raises:
            Exception: the error, when steps have failed too often in a row.
        """
        self._failures += 1
        if self._failures >= FAILURES:
            raise error
        for camera, frame in frames.items():
            self.streams[camera].lose("".join(traceback.format_exception(error)), type(error).__name__)
            self._reset(camera, "engine failed", frame.stamp_ns)
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        self._stopping.wait(PAUSE_S * 2 ** (self._failures - 1))

    def _reset(self, camera: str, reason: str, stamp_ns: int) -> None:
        states, stream = self._perceptions[camera].states, self.streams[camera]
        age = states.age(camera)
        states.reset(camera)
        stream.counts.note_reset(reason, stamp_ns, time.monotonic())
        stream.tell_reset(reason, age)
        self._on_reset(camera)


def _fitting(perception: Perception, camera: str, frame: Frame) -> Tensor:
    """The frame as the engine takes it: it may be another engine than when the frame was prepared."""
    info, batch = perception.engine.info, frame.batch
    if tuple(batch.shape[1:3]) == (info.height, info.width) and batch.device.type == torch.device(info.device).type:
        return batch
    return perception.prepare({camera: frame.image})
