"""Answers that take their time: a service's callback waits for them while the executor goes on with its frames."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from typing import TypeVar

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
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # Whoever waits is told.
            future.set_exception(error)

    torch_thread(name, run).start()
    return future


def settle(action: Callable[[], object], future: Future[object]) -> None:
    """Do something for whoever waits for the future, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(action())
    except Exception as error:  # Whoever waits is told.
        future.set_exception(error)


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
