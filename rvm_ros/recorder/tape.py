"""Takes messages from callbacks and writes them in a thread of its own, from the moment that it is told to.

Before that moment it keeps the last seconds, which are written first.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rvm_model.bags import BagError, BagWriter, Message

FLUSH_S = 0.5
"""Longest that what was taken stays in this process alone, where a kill would lose it; the disk permitting."""
REWIND_NS = 10**9
"""By how much time may go back without being taken for another run's."""


@dataclass(frozen=True)
class Progress:
    """What was recorded."""

    bag: str = ""
    """Folder; empty where nothing was recorded."""
    recording: bool = False
    messages: int = 0
    bytes: int = 0
    """Of the messages, before compression."""
    dropped: int = 0
    """Messages that came faster than they could be written."""
    problem: str = ""
    """Why it ended by itself."""


class Preparation(Protocol):
    """What is done to messages before they are written, in the order of arrival, in the writing thread."""

    def begin(self) -> None:
        """A recording begins."""
        return

    def prepare(self, message: Message) -> list[Message]:
        """What is written when this message has come; it may be written later, or in `end`.

        Raises:
            ValueError: this message cannot be written, which is nothing to the others.
        """
        return [message]

    def end(self) -> list[Message]:
        """What is still to be written."""
        return []


class _AsIs(Preparation):
    """Nothing is done."""


class Tape:
    """One recording at a time."""

    def __init__(
        self,
        *,
        preparation: Preparation | None = None,
        on_problem: Callable[[str], object] = lambda text: None,
        keep_s: float = 0.0,
        buffer_bytes: int = 256 * 2**20,
        split_bytes: int = 0,
        split_s: float = 0.0,
        compressed: bool = True,
    ) -> None:
        """Start the thread; nothing is recorded yet.

        Args:
            preparation: what is done to messages before they are written.
            on_problem: told, in the thread, why a message was lost or the recording ended by itself.
            keep_s: seconds before the start that are recorded, too.
            buffer_bytes: most that waits to be written, or is kept.
            split_bytes: see `BagWriter`.
            split_s: see `BagWriter`.
            compressed: see `BagWriter`.
        """
        self._preparation, self._on_problem = preparation or _AsIs(), on_problem
        self._keep_ns, self._buffer_bytes = int(keep_s * 1e9), buffer_bytes
        self._options = {"split_bytes": split_bytes, "split_s": split_s, "compressed": compressed}
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._latched: dict[str, Message] = {}
        self._writer: BagWriter | None = None
        self._fresh = self._ending = self._closed = self._told_short = False
        self._deadline_s = math.inf
        self._progress = Progress()
        self._thread = threading.Thread(target=self._run, name="rvm_tape", daemon=True)
        self._thread.start()

    @property
    def progress(self) -> Progress:
        """Of the recording that runs, or the last one."""
        with self._changed:
            return self._progress

    def put(self, message: Message) -> None:
        """Take a message. Any thread; costs no more than the message's place in a queue."""
        with self._changed:
            if message.topic.latched:
                self._latched[message.topic.name] = message
            if not self._progress.recording:
                if not self._keep_ns:
                    return
                self._forget(message)
            elif self._waiting_bytes + len(message.data) > self._buffer_bytes:
                self._progress = replace(self._progress, dropped=self._progress.dropped + 1)
                return
            self._waiting.append(message)
            self._waiting_bytes += len(message.data)
            self._changed.notify_all()

    def start(self, folder: Path, now_ns: int) -> None:
        """Begin a recording with what was kept.

        Args:
            folder: the bag, which must not exist.
            now_ns: the time, which latched messages of before what was kept are given.

        Raises:
            BagError: one runs already, or the folder exists.
            OSError: it cannot be made.
        """
        with self._changed:
            if self._progress.recording:
                raise BagError(f"{self._progress.bag} is being recorded; stop that first")
            writer = BagWriter(folder, **self._options)  # type: ignore[arg-type]
            kept = {message.topic.name for message in self._waiting}
            first_ns = self._waiting[0].time_ns if self._waiting else now_ns
            for name, message in self._latched.items():
                if name not in kept:
                    self._waiting.appendleft(replace(message, time_ns=first_ns))
                    self._waiting_bytes += len(message.data)
            self._writer, self._fresh = writer, True
            self._progress = Progress(str(folder), recording=True)
            self._changed.notify_all()

    def stop(self) -> Progress:
        """End the recording when all of it is written; where none runs, nothing happens."""
        with self._changed:
            self._ending = self._progress.recording
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._ending)
            return self._progress

    def close(self, within_s: float = math.inf) -> None:
        """End the recording, and the thread.

        Args:
            within_s: after which what still waits is given up and counted as lost; the bag is ended all the same.
        """
        with self._changed:
            self._deadline_s = time.monotonic() + within_s
        self.stop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _forget(self, newest: Message) -> None:
        """Let go of what is too old to be kept, or too much."""
        if self._waiting and newest.time_ns < self._waiting[-1].time_ns - REWIND_NS:
            self._waiting.clear()  # Time went back, as that of a simulation does: these are of another run.
            self._waiting_bytes = 0
        before_ns = newest.time_ns - self._keep_ns
        while self._waiting and self._waiting[0].time_ns < before_ns:
            self._waiting_bytes -= len(self._waiting.popleft().data)
        while self._waiting and self._waiting_bytes + len(newest.data) > self._buffer_bytes:
            self._waiting_bytes -= len(self._waiting.popleft().data)
            if not self._told_short and self._waiting:
                self._told_short = True
                kept_s = (newest.time_ns - self._waiting[0].time_ns) / 1e9
                self._on_problem(
                    f"keep_s: only the last {kept_s:.1f} of {self._keep_ns / 1e9:.1f} s fit into buffer_mb, "
                    f"{self._buffer_bytes / 1e6:.0f}; raise it, or record less"
                )

    def _run(self) -> None:
        flush_s = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, timeout=FLUSH_S if self._progress.recording else None)
                if self._closed:
                    return
                writer, fresh, ending = self._writer, self._fresh, self._ending
                batch, self._fresh = list(self._waiting), False
                if writer is None:
                    continue
                self._waiting.clear()
                self._waiting_bytes = 0
            try:
                if fresh:
                    self._preparation.begin()
                for index, message in enumerate(batch):
                    if time.monotonic() > self._deadline_s:
                        self._lose(len(batch) - index)
                        break
                    self._prepare(writer, message)
                    if time.monotonic() - flush_s > FLUSH_S:
                        writer.flush()
                        flush_s = time.monotonic()
                if ending:
                    self._write(writer, self._preparation.end())
                    self._end(writer)
                elif time.monotonic() - flush_s > FLUSH_S:
                    writer.flush()
                    flush_s = time.monotonic()
            except BagError as error:
                self._fail(str(error))
            except Exception:  # The thread's last place to tell; whoever waits for the end must not wait for ever.
                self._fail(traceback.format_exc())
                with contextlib.suppress(BagError):
                    writer.close()

    def _lose(self, count: int) -> None:
        with self._changed:
            self._progress = replace(self._progress, dropped=self._progress.dropped + count)

    def _has_work(self) -> bool:
        return self._closed or (self._writer is not None and bool(self._waiting or self._ending))

    def _prepare(self, writer: BagWriter, message: Message) -> None:
        try:
            messages = self._preparation.prepare(message)
        except ValueError as error:
            self._on_problem(f"{message.topic.name}: a message was not recorded: {error}")
            return
        self._write(writer, messages)

    def _write(self, writer: BagWriter, messages: list[Message]) -> None:
        for each in messages:
            writer.add(each.topic)
            writer.write(each.topic.name, each.time_ns, each.data)
        with self._changed:
            self._progress = replace(
                self._progress,
                messages=self._progress.messages + len(messages),
                bytes=self._progress.bytes + sum(len(each.data) for each in messages),
            )

    def _end(self, writer: BagWriter) -> None:
        """What came since the end was asked for is not in it."""
        writer.close()
        with self._changed:
            self._writer, self._ending = None, False
            if not self._keep_ns:
                self._waiting.clear()
                self._waiting_bytes = 0
            self._progress = replace(self._progress, recording=False)
            self._changed.notify_all()

    def _fail(self, problem: str) -> None:
        with self._changed:
            self._writer, self._ending = None, False
            self._progress = replace(self._progress, recording=False, problem=problem)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()
        self._on_problem(f"recording ended: {problem}")
