"""The thread between subscriptions and publishers: newest frames of all cameras in, outputs of all cameras out."""

from __future__ import annotations

import dataclasses
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rclpy.impl.rcutils_logger import RcutilsLogger
from torch import Tensor

from rvm_model.perception import Perception
from rvm_ros.camera_port import CameraMessage, CameraPort
from rvm_ros.continuity import Continuity, Transition
from rvm_ros.diagnostics import CameraCounts
from rvm_ros.image_headers import ImageError
from rvm_ros.mailbox import Mailbox

REFUSAL_LOG_PERIOD_S = 5.0
"""A camera that sends nothing but garbage is told of this often, not at its frame rate."""
FAILURES, PAUSE_S = 5, 0.5
"""Failed steps in a row after which the worker ends, and the pause after the first; each is twice the one before."""


@dataclass(frozen=True)
class Received:
    """A message and when it arrived."""

    message: CameraMessage
    at_s: float
    """time.monotonic() at arrival."""
    reset: str = ""
    """Why the state has to start anew before this frame; empty where it goes on."""

    def over(self, newer: Received) -> Received:
        """The newer one in place of this; what came between them is as long ago for it."""
        return newer if newer.reset else dataclasses.replace(newer, reset=self.reset)


@dataclass(frozen=True)
class _Accepted:
    received: Received
    frame: npt.NDArray[np.uint8]
    taken_s: float
    converted_s: float


class Worker:
    """Runs the engine and the heads while the node is active."""

    def __init__(
        self,
        perception: Perception,
        ports: Mapping[str, CameraPort],
        *,
        max_gap_s: float,
        logger: RcutilsLogger,
        on_failure: Callable[[str], None],
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            perception: what the frames go through; its cameras start without a past.
            ports: topics by camera name.
            max_gap_s: a longer pause between stamps resets the camera's state.
            logger: the node's.
            on_failure: called once from the worker's thread, with the traceback, when it ends because steps fail.
        """
        self.counts = {camera: CameraCounts() for camera in ports}
        self._perception = perception
        self._ports = ports
        self._continuity = {camera: Continuity(max_gap_s) for camera in ports}
        # One logger each: rclpy throttles per logger and line, and no camera may silence another.
        self._loggers = {camera: logger.get_child(camera) for camera in ports}
        self._on_failure = on_failure
        self._mailbox = Mailbox(Received.over)
        # Cameras whose last frame could not be decoded, and the stamps of the last ones that could.
        self._blind: set[str] = set()
        self._refusing = threading.Lock()
        self._failures = 0
        self._stopping = threading.Event()
        self._seen_ns: dict[str, int] = {}
        self._max_gap_ns = round(max_gap_s * 1e9)
        self._reset_requested = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rvm_worker", daemon=True)
        for camera in ports:
            perception.states.reset(camera)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the frame it is at. A second call does nothing."""
        self._stopping.set()
        self._mailbox.close()
        if self._thread.is_alive():
            self._thread.join()

    def put(self, camera: str, message: CameraMessage) -> None:
        """Leave a camera's newest message; an older one that was not taken is dropped and counted.

        Whether the camera goes on is decided here, by the stamp of every message that arrives and is no nonsense: a
        slow node drops frames, and that is no pause of the camera. Nonsense replaces no good image either.
        """
        counts = self.counts[camera]
        counts.received += 1
        counts.arrivals.note(time.monotonic())
        try:
            self._ports[camera].check(message)
        except Exception as error:
            self._refuse(camera, error)
            return
        transition = self._continuity[camera].check(_stamp_ns(message))
        counts.duplicates += transition is Transition.DUPLICATE
        counts.late += transition is Transition.LATE
        if transition.skips:
            return
        if transition is Transition.UNSTAMPED:
            self._loggers[camera].warning(
                "stamps are zero, so gaps and loops cannot be seen; let the driver stamp its images",
                once=True,
            )
        reset = transition.value if transition.resets else ""
        counts.dropped += self._mailbox.put(camera, Received(message, time.monotonic(), reset))

    def request_reset(self) -> None:
        """Start every camera's state anew before the next frame."""
        self._reset_requested.set()

    def state_age(self, camera: str) -> int:
        """Frames in the camera's state."""
        return self._perception.states.age(camera)

    def _run(self) -> None:
        try:
            while items := self._mailbox.take():
                self._process(items)
        except Exception:  # The thread's last place to tell: it ends here, and the node deactivates.
            self._on_failure(traceback.format_exc())

    def _process(self, items: Mapping[str, Received]) -> None:
        if self._reset_requested.is_set():
            self._reset_requested.clear()
            for camera in self._ports:
                self._reset(camera, "requested")
        accepted = {}
        # In one order whatever arrived first: the same cameras are then the same batch, whose states stay in place.
        for camera, received in sorted(items.items()):
            frame = self._accept(camera, received)
            if frame is not None:
                accepted[camera] = frame
        if not accepted:
            return
        cameras = list(accepted)
        start_s = time.monotonic()
        try:
            batch = self._perception.prepare({camera: item.frame for camera, item in accepted.items()})
            prepared_s = time.monotonic()
            features = self._perception.encode(cameras, batch)
            sound = self._perception.sound(features)
        except Exception as error:
            self._recover(cameras, error)
            return
        self._failures = 0
        encoded_s = time.monotonic()
        for camera, item in accepted.items():
            if not sound[camera]:
                self._fail(camera, "features that are not finite")
                self._reset(camera, "not finite")
                continue
            prepare_s = item.converted_s - item.taken_s + prepared_s - start_s
            try:
                self._finish(camera, item, features[camera], {"convert": prepare_s, "engine": encoded_s - prepared_s})
            except Exception:  # One camera's heads are nothing to the others.
                self._fail(camera, traceback.format_exc())
                self._perception.forget_heads(camera)

    def _finish(self, camera: str, item: _Accepted, features: Tensor, timed: dict[str, float]) -> None:
        """Render and publish one camera's outputs; `timed` has the seconds of the stages before."""
        port, counts = self._ports[camera], self.counts[camera]
        start_s = time.monotonic()
        outputs = self._perception.render(camera, item.frame, features, port.wanted())
        rendered_s = time.monotonic()
        port.publish(outputs, item.received.message.header)
        counts.processed += 1
        done_s = time.monotonic()
        counts.completions.note(done_s)
        timed |= {"heads": rendered_s - start_s, "publish": done_s - rendered_s}
        # What is left of the whole is waiting: in the slot, and for other cameras of the same batch.
        timed["wait"] = done_s - item.received.at_s - sum(timed.values())
        counts.latency.record({stage: seconds * 1e3 for stage, seconds in timed.items()})

    def _recover(self, cameras: Sequence[str], error: Exception) -> None:
        """Go on after a failed step: states anew, for they may be half written, after a pause that grows.

        Raises:
            Exception: the error, when steps have failed too often in a row.
        """
        self._failures += 1
        if self._failures >= FAILURES:
            raise error
        for camera in cameras:
            self._fail(camera, "".join(traceback.format_exception(error)))
            self._reset(camera, "engine failed")
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        self._stopping.wait(PAUSE_S * 2 ** (self._failures - 1))

    def _fail(self, camera: str, why: str) -> None:
        counts = self.counts[camera]
        counts.failed += 1
        self._loggers[camera].error(
            f"frame lost ({counts.failed} so far): {why}", throttle_duration_sec=REFUSAL_LOG_PERIOD_S
        )

    def _accept(self, camera: str, received: Received) -> _Accepted | None:
        """Decode a message and start the state anew where it has to; None when there is nothing to process."""
        message = received.message
        if received.reset:
            self._reset(camera, received.reset)
        taken_s = time.monotonic()
        try:
            frame = self._ports[camera].to_array(message)
        except Exception as error:
            self._blind.add(camera)
            self._refuse(camera, error)
            return None
        converted_s = time.monotonic()
        stamp_ns = _stamp_ns(message)
        # Frames came all the while, but none that could be seen.
        seen_ns = self._seen_ns.get(camera, 0)
        if camera in self._blind and not received.reset and seen_ns and stamp_ns - seen_ns > self._max_gap_ns:
            self._reset(camera, Transition.GAP.value)
        self._blind.discard(camera)
        self._seen_ns[camera] = stamp_ns
        return _Accepted(received, frame, taken_s, converted_s)

    def _refuse(self, camera: str, error: Exception) -> None:
        """Count and tell an image that cannot be used: whatever is wrong with it is nothing to the other cameras."""
        counts = self.counts[camera]
        with self._refusing:  # Two threads get here.
            counts.refused += 1
        told = str(error) if isinstance(error, ImageError) else "".join(traceback.format_exception(error))
        self._loggers[camera].error(
            f"image refused: {told} ({counts.refused} refused so far)",
            throttle_duration_sec=REFUSAL_LOG_PERIOD_S,
        )

    def _reset(self, camera: str, reason: str) -> None:
        age = self._perception.states.age(camera)
        self._perception.states.reset(camera)
        counts = self.counts[camera]
        counts.resets += 1
        counts.last_reset = reason
        self._loggers[camera].info(f"state reset after {age} frames: {reason}")


def _stamp_ns(message: CameraMessage) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
