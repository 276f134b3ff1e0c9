"""One camera's messages on their way to the engine: judged as they arrive, decoded later in a thread of their own."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rclpy.impl.rcutils_logger import RcutilsLogger
from torch import Tensor

from rvm_model.messages.continuity import Transition
from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.judge import Due, Judge, Rules
from rvm_model.messages.stamps import check_stamp, stamp_ns
from rvm_ros.camera_port import CameraMessage, CameraPort
from rvm_ros.counts import CameraCounts
from rvm_ros.rate_limit import RateLimit

LOG_PERIOD_S = 5.0
"""A camera that sends nothing but garbage is told of this often, not at its frame rate."""
LONGEST = 600
"""Letters of a refusal that are logged: a message may hold a text as long as it likes."""


@dataclass(frozen=True)
class StreamSettings:
    """How one camera's frames are judged; may be replaced while frames arrive."""

    rules: Rules = Rules()
    """What pauses between stamps mean."""
    max_rate_hz: float = 0.0
    """Frames per second that are taken at most; 0 takes all."""
    max_age_s: float = 0.0
    """Frames older than this on arrival are not taken; 0 takes all."""
    frame_id: str = ""
    """The only frame_id that is taken; empty takes any."""


@dataclass(frozen=True)
class Received:
    """A message that may go in."""

    message: CameraMessage
    at_s: float
    """time.monotonic() at arrival."""
    due: Due = Due()
    """What has to happen to the state before it goes in: by its own stamp, and by messages before it that did not."""

    def over(self, newer: Received) -> Received:
        """The newer one in place of this, with what this one owed."""
        return dataclasses.replace(newer, due=self.due.then(newer.due))


@dataclass(frozen=True)
class Frame:
    """A decoded message."""

    message: CameraMessage
    at_s: float
    """time.monotonic() at arrival."""
    due: Due
    image: npt.NDArray[np.uint8]
    """RGB [H, W, 3]."""
    batch: Tensor
    """uint8 [1, h, w, 3], resized for the engine, on its device."""
    convert_s: float
    """Seconds that this took."""

    @property
    def stamp_ns(self) -> int:
        """Acquisition time; 0 where the driver does not stamp."""
        return stamp_ns(self.message)


class CameraStream:
    """Judges and decodes. `arrive` belongs to the executor's thread, `decode` to the camera's own."""

    def __init__(
        self,
        port: CameraPort,
        settings: StreamSettings,
        prepare: Callable[[npt.NDArray[np.uint8]], Tensor],
        logger: RcutilsLogger,
        now_ns: Callable[[], int],
    ) -> None:
        """Start without a frame.

        Args:
            port: knows how the camera's messages are decoded.
            settings: how they are judged.
            prepare: resizes an image [H, W, 3] to the engine's batch of one.
            logger: the camera's own: rclpy throttles per logger and line, and no camera may silence another.
            now_ns: the node's clock, which is the simulation's where it follows one.
        """
        self.settings = settings
        self.counts = CameraCounts()
        self._port = port
        self._prepare = prepare
        self._logger = logger
        self._now_ns = now_ns
        self._judge = Judge(lambda: self.counts.add("gaps"))
        self._limit = RateLimit()
        self._stamped = True
        self._told: dict[str, float] = {}
        self._telling = threading.Lock()

    def arrive(self, message: CameraMessage) -> Received | None:
        """Judge a message; None where it does not go in.

        Whether the camera goes on is decided here, by the stamp of every message that arrives and is no nonsense: a
        slow node drops frames, and that is no pause of the camera. Nonsense replaces no good image either.
        """
        settings, now_s = self.settings, time.monotonic()
        self.counts.add("received")
        self.counts.note_arrival(now_s)
        try:
            self._port.check(message)
            check_stamp(message)
            self._check_frame_id(message.header.frame_id, settings.frame_id)
        except Exception as error:
            self.refuse(error)
            return None
        taken_ns = stamp_ns(message)
        if settings.max_age_s > 0 and taken_ns and (age_s := (self._now_ns() - taken_ns) / 1e9) > settings.max_age_s:
            self.counts.add("stale")
            self.tell(
                "stale",
                f"image left out: it was {age_s:.3f} s old on arrival, max_age is {settings.max_age_s}; is the clock "
                "of its machine the same as here?",
            )
            return None
        transition, due = self._judge.arrive(
            taken_ns,
            message.header.frame_id,
            now_s=now_s,
            rules=settings.rules,
            takes=lambda due: self._takes(due, taken_ns, now_s),
        )
        if transition is Transition.UNSTAMPED:
            self._logger.warning(
                "stamps are zero, so gaps and loops cannot be seen; let the driver stamp its images", once=True
            )
        if transition.skips:
            self.counts.add("duplicates" if transition is Transition.DUPLICATE else "late")
        return None if due is None else Received(message, now_s, due)

    def _takes(self, due: Due, taken_ns: int, now_s: float) -> bool:
        stamped = taken_ns != 0
        if due.reset or stamped != self._stamped:  # Stamps and arrivals are different clocks.
            self._limit.forget()
        self._stamped = stamped
        takes = self._limit.takes(taken_ns or int(now_s * 1e9), self.settings.max_rate_hz)
        if not takes:
            self.counts.add("limited")
        return takes

    def start_anew(self, reason: str) -> None:
        """Let the next frame start the state anew, and judge nothing by those before it. Any thread."""
        self._judge.forget(Due(reset=reason))

    def go_on(self) -> None:
        """Let the next frame go on from the state as it is, whatever its stamp. Any thread."""
        self._judge.forget(Due())

    def decode(self, received: Received) -> Frame | None:
        """Decode a message; None where it cannot be."""
        start_s, taken_ns = time.monotonic(), stamp_ns(received.message)
        try:
            image = self._port.to_array(received.message)
            batch = self._prepare(image)
        except Exception as error:
            self._judge.not_seen(received.due)
            self.refuse(error)
            return None
        due = self._judge.seen(taken_ns, image.shape, received.due, rules=self.settings.rules)
        return Frame(received.message, received.at_s, due, image, batch, time.monotonic() - start_s)

    def refuse(self, error: Exception) -> None:
        """Count and tell an image that cannot be used: whatever is wrong with it is nothing to the other cameras."""
        count = self.counts.add("refused")
        known = isinstance(error, ImageError)
        told = presentable(str(error)) if known else "".join(traceback.format_exception(error))
        # By where they were found, so that none hides another: what messages hold makes no kinds of its own.
        self.tell(f"refused: {_origin(error)}", f"image refused: {told} ({count} refused so far)")

    def lose(self, why: str, kind: str) -> None:
        """Count and tell a frame that was lost to an error of ours."""
        count = self.counts.add("failed")
        self.tell(f"failed: {kind}", f"frame lost ({count} so far): {why}")

    def tell_reset(self, reason: str, age: int) -> None:
        """Log that the state was started anew."""
        if self._is_time(f"reset: {reason}"):
            self._logger.info(f"state reset after {age} frames: {reason}")

    def tell_prompt(self, outcome: str) -> None:
        """Log what became of a prompt."""
        if outcome.startswith("refused"):
            self.tell("prompt", f"prompt {presentable(outcome)}")
        elif self._is_time("prompt taken"):
            self._logger.info(f"prompt: {outcome}")

    def tell(self, kind: str, text: str) -> None:
        """Log an error, unless one of its kind was logged just before."""
        if self._is_time(kind):
            self._logger.error(text)

    def _is_time(self, kind: str) -> bool:
        # Not rclpy's own throttle, which goes by the system's clock: that may be set back, and lines would be missing.
        now_s = time.monotonic()
        with self._telling:
            if now_s - self._told.get(kind, -math.inf) < LOG_PERIOD_S:
                return False
            self._told[kind] = now_s
            return True

    def _check_frame_id(self, got: str, expected: str) -> None:
        if expected and got != expected:
            raise ImageError(
                f"got frame_id {got!r}, expected {expected!r}, this camera's; is it another camera's topic?"
            )


def presentable(text: str) -> str:
    """A text that quotes a message, for people: not longer than they read, and of characters that are shown."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 3]} [...] {text[-LONGEST * 2 // 3 :]}"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _origin(error: Exception) -> str:
    """Where an error was raised."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else type(error).__name__
