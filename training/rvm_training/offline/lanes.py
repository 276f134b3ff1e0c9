"""Recordings read ahead: a thread reads each, a pool decodes, and frames come out in order, cameras side by side."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

from rvm_model.messages.encodings import RgbArray
from rvm_training.offline.recordings import Arrival, Recording

AHEAD = 8
"""Images of a recording that may be decoded before they are needed."""


@dataclass(frozen=True)
class Decoded:
    """An image, ready for an engine."""

    image: RgbArray
    """[H, W, 3]."""
    batch: Tensor
    """uint8 [1, h, w, 3], resized for the engine, on its device."""


@dataclass(frozen=True)
class Waiting:
    """An image that is decoded, or still being decoded."""

    arrival: Arrival
    decoded: Future[Decoded]


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


class Lane:
    """One recording. For one thread; close it."""

    def __init__(
        self, recording: Recording, cameras: int, pool: Executor, prepare: Callable[[RgbArray], Tensor]
    ) -> None:
        """Begin to read.

        Args:
            recording: what is read.
            cameras: how many it has.
            pool: what decodes.
            prepare: resizes an image [H, W, 3] to the engine's batch of one.
        """
        self.recording = recording
        self._cameras = cameras
        self._pool = pool
        self._prepare = prepare
        self._queue: queue.Queue[Waiting | _End] = queue.Queue(maxsize=AHEAD)
        self._next: Waiting | _End | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"read {recording.name}", daemon=True)
        self._thread.start()

    def take(self) -> list[Waiting]:
        """The next images, of distinct cameras; none at the end.

        Raises:
            Exception: what reading ended with; what was read before was given before.
        """
        group: dict[str, Waiting] = {}
        while len(group) < self._cameras:
            if self._next is None:
                self._next = self._queue.get()
            if isinstance(self._next, _End):
                if not group and self._next.error is not None:
                    raise self._next.error
                break
            if self._next.arrival.camera in group:
                break
            group[self._next.arrival.camera] = self._next
            self._next = None
        return list(group.values())

    def close(self) -> None:
        """Read no more."""
        self._closed.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        self._thread.join()

    def _read(self) -> None:
        try:
            for arrival in self.recording:
                self._queue.put(Waiting(arrival, self._pool.submit(self._decode, arrival)))
                if self._closed.is_set():
                    return
            self._queue.put(_End())
        except BaseException as error:  # It belongs to whoever takes.
            self._queue.put(_End(error))

    def _decode(self, arrival: Arrival) -> Decoded:
        image = arrival.decode()
        return Decoded(image, self._prepare(image))
