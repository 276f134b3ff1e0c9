"""The thread that runs the engine, between the cameras' threads that decode and those that draw."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import torch
from rclpy.impl.rcutils_logger import RcutilsLogger
from torch import Tensor

from rvm_model.camera_heads import CameraHeads, tensors
from rvm_model.messages.judge import Due
from rvm_model.perception import Perception
from rvm_model.snapshot import CameraSnapshot, SnapshotError
from rvm_ros.camera_port import CameraMessage, CameraPort
from rvm_ros.camera_stream import CameraStream, Frame, Received, StreamSettings
from rvm_ros.deferred import Actions, torch_thread
from rvm_ros.intake import Intake, Policy
from rvm_ros.pictures import Drawing, Pictures

FAILURES, PAUSE_S = 5, 0.5
"""Failed steps in a row after which the worker ends, and the pause after the first; each is twice the one before."""
HANDOVER_S = 0.0003
"""The executor's pause after a message: it would keep the interpreter to itself to look what it waits for next, while
the camera's thread is to decode. It saves more than it costs, see wait and convert in `make bench-node`."""

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
        on_heads_failure: Callable[[str], None],
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
            on_heads_failure: called from a camera's renderer when its heads failed, and dropped what they followed.
            on_failure: called once from the worker's thread, with this and the traceback, when it ends because steps
                fail.
        """
        self.settings = settings
        self._perceptions = dict(perceptions)
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
                on_drop=lambda camera: self.streams[camera].counts.add("dropped"),
            ),
        )
        self.pictures = Pictures(heads, ports, self.streams, every=settings.every, on_heads_failure=on_heads_failure)
        self._last_ns: dict[str, int] = {}
        self._recalled_s: dict[str, float] = {}
        self._failures: Counter[int] = Counter()
        self._retry_s: dict[int, float] = {}
        self._actions = Actions()
        self._thread = torch_thread("rvm_worker", self._run)
        for camera in ports:
            self._perceptions[camera].states.reset(camera)
            self.pictures.heads(camera).start_anew("activated")

    def start(self) -> None:
        """Start the threads."""
        self._intake.start()
        self.pictures.start()
        self._thread.start()

    def stop(self) -> None:
        """End the threads after what they are at. A second call does nothing."""
        self._actions.close()
        self._intake.close()
        self.pictures.close()
        if self._thread.is_alive():
            self._thread.join()
        self._intake.join()
        self.pictures.join()

    def put(self, camera: str, message: CameraMessage) -> None:
        """Leave a camera's message; what becomes of those that are not taken is counted."""
        received = self.streams[camera].arrive(message)
        if received is not None:
            self._intake.put(camera, received)
            time.sleep(HANDOVER_S)

    def between_frames(self, action: Callable[[], Result]) -> Future[Result]:
        """Let the worker's thread do something when no frame is under way, neither in the engine nor in the heads.

        Returns:
            What it returns or raises; cancelled where the worker stops before.
        """
        future = self._actions.leave(action)
        self._intake.wake()
        return future

    def reset(self, reason: str, *cameras: str) -> None:
        """Start states anew, of these cameras or of all. Only in an action of `between_frames`."""
        for camera in cameras or self._ports:
            self._reset(camera, reason, 0)

    def swap(self, perceptions: Mapping[str, Perception], heads: Mapping[str, CameraHeads]) -> None:
        """Go on with other engines and heads, with the states that they have. Only in an action of `between_frames`."""
        self._perceptions = dict(perceptions)
        self.pictures.swap(heads)
        self._failures.clear()
        self._retry_s.clear()
        self._last_ns.clear()

    def recall(self, cameras: Mapping[str, CameraSnapshot]) -> None:
        """Let cameras go on from a snapshot, all or none of them. Only in an action of `between_frames`.

        Raises:
            ValueError: it does not fit what runs; nothing is changed then.
        """
        before = self.remember(cameras)
        try:
            for camera, snapshot in cameras.items():
                self._recall(camera, snapshot)
        except ValueError:
            for camera in cameras:
                self._recall(camera, before.get(camera))
            raise
        for camera in cameras:
            # Whatever came before it was judged by other frames than those that the state had seen.
            self.streams[camera].go_on()
            self._recalled_s[camera] = time.monotonic()
            self._last_ns.pop(camera, None)

    def remember(self, cameras: Iterable[str]) -> dict[str, CameraSnapshot]:
        """What cameras that have a state remember. Only in an action of `between_frames`."""
        remembered = {}
        for camera in cameras:
            perception = self._perceptions[camera]
            state = perception.states.get(camera)
            if state is not None:
                remembered[camera] = CameraSnapshot(
                    state,
                    perception.states.age(camera),
                    perception.engine.info.digest,
                    self.pictures.heads(camera).remember(),
                )
        return remembered

    def _recall(self, camera: str, snapshot: CameraSnapshot | None) -> None:
        perception = self._perceptions[camera]
        if snapshot is None:
            perception.states.reset(camera)
            return
        if snapshot.engine != perception.engine.info.digest:
            raise SnapshotError(f"the engine of camera {camera} was changed meanwhile; load again")
        self.pictures.heads(camera).recall(snapshot.heads)
        perception.states.put(camera, snapshot.state, snapshot.age)

    def perception(self, camera: str) -> Perception:
        """What the camera's frames go through now."""
        return self._perceptions[camera]

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
        # Those that are there now: frames come between them and the next ones.
        for _ in range(len(self._actions)):
            self.pictures.finish()
            self._actions.do_next()

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
        start_s = time.monotonic()
        if start_s < self._retry_s.get(id(perception), 0.0):
            for camera in frames:
                self.streams[camera].lose("its engine failed just before, and is tried again soon", "pause")
            return
        try:
            for camera, frame in frames.items():
                self._settle(perception, camera, frame)
            batch = torch.cat([_fitting(perception, camera, frame) for camera, frame in frames.items()])
            prepared_s = time.monotonic()
            features = perception.encode(list(frames), batch)
            sound = perception.sound(features)
        except Exception as error:
            self._recover(perception, frames, error)
            return
        self._failures[id(perception)] = 0
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
        due = frame.due if frame.at_s > self._recalled_s.get(camera, 0.0) else Due()
        if due.reset:
            self._reset(camera, due.reset, frame.stamp_ns)
        elif due.decay_s > 0:
            perception.states.decay(camera, 0.5 ** (due.decay_s / self.settings.decay_half_life_s))
        last_ns = self._last_ns.get(camera, 0)
        if last_ns and frame.stamp_ns:
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
        drawing = Drawing(frame, features, wanted, spent_s | {"heads": 0.0, "publish": done_s - start_s})
        self.pictures.put(camera, drawing)

    def _recover(self, perception: Perception, frames: Mapping[str, Frame], error: Exception) -> None:
        """Go on after a failed step: states anew, for they may be half written, and a pause that grows.

        Raises:
            Exception: the error, when this engine's steps have failed too often in a row.
        """
        self._failures[id(perception)] += 1
        failures = self._failures[id(perception)]
        if failures >= FAILURES:
            raise error
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        told = "".join(traceback.format_exception(error))
        perception.states.reset(*frames)  # Together: nothing has to be kept of their batch, and no memory is needed.
        for camera, frame in frames.items():
            self.streams[camera].lose(told, type(error).__name__)
            self._reset(camera, "engine failed", frame.stamp_ns)
        self._retry_s[id(perception)] = time.monotonic() + PAUSE_S * 2 ** (failures - 1)

    def _reset(self, camera: str, reason: str, stamp_ns: int) -> None:
        states, stream = self._perceptions[camera].states, self.streams[camera]
        age = states.age(camera)
        states.reset(camera)
        self._last_ns.pop(camera, None)
        self.pictures.heads(camera).start_anew(reason)
        stream.counts.note_reset(reason, stamp_ns, time.monotonic())
        stream.tell_reset(reason, age)
        self._on_reset(camera)


def _fitting(perception: Perception, camera: str, frame: Frame) -> Tensor:
    """The frame as the engine takes it: it may be another engine than when the frame was prepared."""
    info, batch = perception.engine.info, frame.batch
    if tuple(batch.shape[1:3]) == (info.height, info.width) and batch.device.type == torch.device(info.device).type:
        return batch
    return perception.prepare({camera: frame.image})
