"""One camera's pictures, drawn in a thread of their own: what somebody looks at holds up neither engine nor cameras."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from rvm_ros.deferred import Actions, torch_thread

Job = TypeVar("Job")
Result = TypeVar("Result")


class Renderer(Generic[Job]):
    """A thread and a slot before it."""

    def __init__(self, name: str, draw: Callable[[Job], None], *, every: bool) -> None:
        """Prepare the thread; `start` starts it.

        Args:
            name: of the thread.
            draw: does a job; must not raise.
            every: wait with a new job until the one before was taken; else the newest wins.
        """
        self._draw = draw
        self._every = every
        self._changed = threading.Condition()
        self._job: Job | None = None
        self._busy = self._closed = False
        self._actions = Actions()
        self._thread = torch_thread(name, self._run)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, job: Job) -> Job | None:
        """Leave a job; returns the one that it replaced, if that was not taken."""
        with self._changed:
            if self._every:
                self._changed.wait_for(lambda: self._closed or self._job is None)
            replaced, self._job = self._job, job
            self._changed.notify_all()
            return replaced

    def run(self, action: Callable[[], Result]) -> Future[Result]:
        """Let the thread do something between two jobs.

        Returns:
            What it returns or raises; cancelled where the thread ends before.
        """
        with self._changed:
            future = self._actions.leave(action)
            self._changed.notify_all()
        return future

    @property
    def actions(self) -> int:
        """How many of `run` wait."""
        return len(self._actions)

    def finish(self) -> None:
        """Wait until what was left is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._job is None and not self._busy and not self._actions))

    def close(self) -> None:
        """End the thread after the job that it is at. A job that was not taken is lost."""
        with self._changed:
            self._closed = True
            self._actions.close()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread's end."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._job is not None or self._actions)
                if self._closed:
                    return
                self._busy, job = True, None
                if not self._actions:
                    job, self._job = self._job, None
                self._changed.notify_all()
            if job is not None:
                self._draw(job)
            else:
                self._actions.do_next()
            del job  # Or a picture would be kept until the next comes.
            with self._changed:
                self._busy = False
                self._changed.notify_all()
