"""Answers that take their time: a service's callback waits for them while the executor goes on with its frames."""

from __future__ import annotations

import threading
import types
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def torch_thread(name: str, target: Callable[..., object], *arguments: object) -> threading.Thread:
    """A thread in which torch computes as in any other; it does not hold up the process's end.

    Left to itself, a new thread takes the number of threads that was set only at its first parallel operation. A matrix
    product before that takes as many as the machine has, and gives other last bits.
    """

    def run() -> None:
        torch.get_num_threads()
        target(*arguments)

    return threading.Thread(target=run, name=name, daemon=True)


def in_thread(name: str, function: Callable[[], Result]) -> Future[Result]:
    """Run a function in a thread of its own, which does not hold up the process's end."""
    future: Future[Result] = Future()
    torch_thread(name, settle, function, future).start()
    return future


def settle(action: Callable[[], Result], future: Future[Result]) -> None:
    """Do something for whoever waits for the future, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(action())
    except BaseException as error:  # Whoever waits is told.
        future.set_exception(error)


class Actions:
    """What any thread leaves for another one, which does it when it can, or never when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def leave(self, action: Callable[[], Result]) -> Future[Result]:
        """Leave one; returns what it will give or raise, cancelled where nobody will do it any more."""
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
            else:
                self._waiting.append((action, future))
        return future

    def do_next(self) -> None:
        """Do the oldest one, if there is one."""
        with self._lock:
            oldest = self._waiting.popleft() if self._waiting else None
        if oldest is not None:
            settle(*oldest)

    def close(self) -> None:
        """Take no more, and cancel those that wait."""
        with self._lock:
            self._closed = True
            while self._waiting:
                self._waiting.popleft()[1].cancel()


async def result(future: Future[Result], wake: Callable[[], object]) -> Result:
    """What a future gives, in a callback of an rclpy executor, which runs callbacks of other groups meanwhile.

    Args:
        future: what is waited for.
        wake: wakes the executor, which by itself looks here only when it has something else to do.

    Raises:
        RuntimeError: it was cancelled, for what was to give it has ended.
        Exception: whatever the future was given.
    """
    future.add_done_callback(lambda _: wake())
    while not future.done():
        await _turn()
    try:
        return future.result()
    except CancelledError as error:
        raise RuntimeError("the node was deactivated meanwhile") from error


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Come back at the executor's next turn."""
    yield
