"""The benchmark's other processes: each does what it is asked through a pipe, one thing after the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

ANSWER_S = 30.0
"""Seconds that an answer may take, besides what was asked for."""
# Not forked: neither DDS nor an engine's threads live on in a fork.
_PROCESSES = multiprocessing.get_context("spawn")


class BenchError(RuntimeError):
    """The benchmark could not be run to its end; the message says why."""


class Actor:
    """A process that serves one pipe until it is sent None."""

    def __init__(self, name: str, serve: Callable[..., None], *arguments: object) -> None:
        """Start it.

        Args:
            name: for messages.
            serve: a function of a module, called there with the other end of the pipe and the arguments.
            arguments: sent to the process.
        """
        self._name = name
        self._pipe, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=serve, args=(theirs, *arguments), name=name, daemon=True)
        self._process.start()
        theirs.close()  # Or the end of the process would not end the pipe.

    def ask(self, request: object, within_s: float = 0.0) -> Any:
        """Send a request and wait for its answer; see `answer`."""
        self.tell(request)
        return self.answer(within_s)

    def tell(self, request: object) -> None:
        """Send a request.

        Raises:
            BenchError: the process has ended.
        """
        try:
            self._pipe.send(request)
        except OSError as error:
            raise BenchError(f"{self._name}: its process has ended; see above") from error

    def answer(self, within_s: float = 0.0) -> Any:
        """Wait for an answer.

        Args:
            within_s: seconds that what was asked for takes; ANSWER_S more are allowed.

        Raises:
            BenchError: the process has ended, or does not answer.
        """
        if not self._pipe.poll(within_s + ANSWER_S):
            raise BenchError(f"{self._name}: no answer within {within_s + ANSWER_S:.0f} s, expected one; see above")
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise BenchError(f"{self._name}: its process has ended; see above") from error

    def close(self) -> None:
        """End the process."""
        try:
            self._pipe.send(None)
            self._process.join(timeout=5.0)
        except OSError:
            pass  # It has ended already.
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


def requests(pipe: Connection) -> Any:
    """In the process: the requests, until the last; each is to be answered through the pipe."""
    try:
        while (request := pipe.recv()) is not None:
            yield request
    except (EOFError, KeyboardInterrupt):
        return  # The benchmark has ended, or is being interrupted and will say so itself.
