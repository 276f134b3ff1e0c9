"""A node as a process of its own, which SIGINT and SIGTERM end cleanly, whenever they come and however often."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 1.8
"""Seconds from the first signal after which the process ends, whatever it is at: it is gone within two."""

AnyNode = TypeVar("AnyNode", bound=Node)


def run(
    name: str,
    make: Callable[[], AnyNode],
    begin: Callable[[AnyNode], Future[int]],
    end: Callable[[AnyNode], object],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one node until it is done or a signal comes.

    A signal while the node is made or begins, which may load or build for long, is heard when that is over, or after
    `GRACE_S`: then the process ends at once, for nothing is lost. One that comes later ends the node in order, with a
    context that is still valid, so that nothing is cut off in the middle; a second one, as `ros2 launch` and a terminal
    send it, changes nothing.

    Args:
        name: for the log, where there is no node yet.
        make: makes the node; a ValueError is told, and ends the process.
        begin: called once with the node; what it returns is the exit status, when it is done.
        end: called last, before the node is destroyed.
        arguments: the command line, with ROS arguments; None takes the process's own.

    Returns:
        The exit status.
    """
    stop: Future[int] = Future()
    ended, begun = threading.Event(), threading.Event()

    def on_signal() -> None:
        stop.set_result(0)
        if not ended.wait(GRACE_S):
            doing = "it was busy all the while" if begun.is_set() else "it was still starting"
            print(f"{name}: ended {GRACE_S:.0f} s after the signal, for {doing}", file=sys.stderr, flush=True)
            os._exit(int(begun.is_set()))

    with _signals(on_signal):
        rclpy.init(args=None if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.NO)
        try:
            try:
                node = make()
            except ValueError as error:
                rclpy.logging.get_logger(name).fatal(f"not started: {error}")
                return 1
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            try:
                done = begin(node)
                begun.set()
                done.add_done_callback(lambda _: stop.set_result(done.result() or 0))
                executor.spin_until_future_complete(stop)
                return (done.result() if done.done() else stop.result()) or 0
            finally:
                end(node)
                executor.remove_node(node)
                node.destroy_node()
        finally:
            rclpy.try_shutdown()
            ended.set()


def leave(status: int) -> NoReturn:
    """End a process whose node is gone, at once.

    Not by `sys.exit`: Python takes a second or two to take torch and OpenVINO apart, for nothing, and a signal that
    comes meanwhile is not heard any more but ends the process with a status of its own.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def _signals(on_first: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread of its own at the first signal, and do nothing at the next ones.

    Not in a Python handler: those run in the main thread alone, and only when what it waits for in C returns.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        if os.read(reading, 1):
            on_first()

    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=wait, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        # The handlers stay: the process ends now, and another signal shall change nothing.
        os.close(writing)  # Wakes the thread with nothing to read.
