"""Where messages wait for the engine, are decoded in one thread per camera, and are gathered into batches.

The engine asks when it is free. Only then is a camera's newest message decoded, so that no frame is older than it has
to be and none is decoded in vain; and the cameras are decoded beside each other, so that a large image holds nobody up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rvm_ros.deferred import torch_thread

GATHER_S = 0.005
"""How long a frame that is ready waits for those of other cameras, so that they go through the engine together."""

Item = TypeVar("Item")
Frame = TypeVar("Frame")


@dataclass(frozen=True)
class Policy(Generic[Item]):
    """What happens to items that the engine has no time for."""

    every: bool
    """Take each item in order, as a bag is replayed; else the newest wins, as on a robot."""
    length: int
    """Most items of a camera that wait; the oldest goes when one more comes. 1 where the newest wins."""
    merge: Callable[[Item, Item], Item]
    """What stands for an item that is dropped and the next one."""
    on_drop: Callable[[str], object]
    """Told the camera of each that is dropped."""


@dataclass
class _Camera(Generic[Item, Frame]):
    waiting: deque[Item] = field(default_factory=deque)
    busy: bool = False
    ready: Frame | None = None


class Intake(Generic[Item, Frame]):
    """Takes items from any thread and gives what was made of them to one."""

    def __init__(self, cameras: Iterable[str], make: Callable[[str, Item], Frame | None], policy: Policy[Item]) -> None:
        """Prepare the threads; `start` starts them.

        Args:
            cameras: who sends.
            make: makes a frame of a camera's item, or None of one that is no good; must not raise.
            policy: what to do with more items than the engine takes.
        """
        self._make = make
        self._policy = policy
        self._cameras: dict[str, _Camera[Item, Frame]] = {camera: _Camera() for camera in cameras}
        self._changed = threading.Condition()
        self._wanted = self._woken = self._closed = False
        self._threads = [torch_thread(f"intake_{camera}", self._run, camera) for camera in self._cameras]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, camera: str, item: Item) -> None:
        """Leave an item for the engine."""
        with self._changed:
            slot = self._cameras[camera]
            slot.waiting.append(item)
            if len(slot.waiting) > self._policy.length:
                oldest = slot.waiting.popleft()
                slot.waiting[0] = self._policy.merge(oldest, slot.waiting[0])
                self._policy.on_drop(camera)
            self._changed.notify_all()

    def take(self) -> dict[str, Frame] | None:
        """Wait for frames and take one of every camera that has one.

        Returns:
            Camera to frame, which is empty after `wake`; None once closed.
        """
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or self._woken or self._any_ready())
            if not (self._closed or self._woken):
                self._changed.wait_for(lambda: self._closed or not self._more_comes(), timeout=GATHER_S)
            self._woken = False
            if self._closed:
                return None
            frames = {}
            for camera, slot in self._cameras.items():
                if slot.ready is not None:
                    frames[camera], slot.ready = slot.ready, None
            self._wanted = not frames  # Who was only woken comes back at once, for what is decoded till then.
            self._changed.notify_all()
            return frames

    def wake(self) -> None:
        """Let `take` return, with frames or without."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads and wake the taker for good. What was not taken is lost."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the threads, each of which ends after the item that it is at."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _any_ready(self) -> bool:
        return any(slot.ready is not None for slot in self._cameras.values())

    def _more_comes(self) -> bool:
        return any(slot.busy or self._may_make(slot) for slot in self._cameras.values())

    def _may_make(self, slot: _Camera[Item, Frame]) -> bool:
        # One at a time: a newer one would come too late for this step, and be old at the next.
        if not slot.waiting or slot.ready is not None:
            return False
        return self._policy.every or self._wanted

    def _run(self, camera: str) -> None:
        slot = self._cameras[camera]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._may_make(slot))
                if self._closed:
                    return
                item, slot.busy = slot.waiting.popleft(), True
            frame = self._make(camera, item)
            with self._changed:
                slot.busy = False
                if frame is not None:
                    slot.ready = frame
                self._changed.notify_all()
