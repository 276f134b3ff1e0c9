"""The perception node under test: a process of its own, its memory, its log, its end."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACE = "/rvm_soak"
"""Own namespace, so that hostile messages never meet a robot's nodes."""
NODE = f"{NAMESPACE}/perception"
END_S = 2.0
"""Seconds from a signal to the end of the process: the issue's figure."""
LOG_PERIOD_S = 5.0
"""A kind of line may come once in so many seconds from one camera; the issue's figure, not read from the node."""
CLOCKS_S = 0.1
"""The log is stamped by another clock than the node throttles by, and a little later."""
_LINE = re.compile(r"\[(\w+)\] \[(\d+\.\d+)\] \[([\w./]+)\]: (.*)")
_WIRE = re.compile(
    r"^sequence size exceeds remaining buffer\n|^>>> \[rcutils\|error_handling.*?Fast CDR exception.*?<<<\n",
    re.MULTILINE | re.DOTALL,
)
"""What the middleware prints of serialized messages that it cannot read, before anything of ours sees them."""


class SoakError(RuntimeError):
    """The soak could not go on; the message says why."""


@dataclass(frozen=True)
class Memory:
    """Memory of a process in bytes."""

    total: int
    """All that is resident."""
    own: int
    """Of that, what no file and no other process has a part in: the heap."""


@dataclass
class Log:
    """What a node has logged."""

    text: list[str] = field(default_factory=list)
    """Its lines."""
    by_kind: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """Times in seconds of the lines of each logger and kind: the text without what differs between messages."""
    strange: list[str] = field(default_factory=list)
    """Lines that are no log lines: traces, and what libraries print."""
    on_the_wire: int = 0
    """What the middleware said of messages that it could not read, which is not among the lines."""

    @classmethod
    def read(cls, path: Path) -> Log:
        """Read a log file."""
        text, on_the_wire = _WIRE.subn("", path.read_text(errors="replace"))
        log = cls(text.splitlines(), on_the_wire=on_the_wire)
        for line in log.text:
            found = _LINE.match(line)
            if found:
                log.by_kind[found[3], kind_of(found[4])].append(float(found[2]))
            elif line.strip():
                log.strange.append(line)
        return log

    def too_often(self) -> list[str]:
        """Kinds that came again sooner than they may."""
        found = []
        for (logger, kind), times in self.by_kind.items():
            shortest = min((b - a for a, b in itertools.pairwise(times)), default=LOG_PERIOD_S)
            if shortest < LOG_PERIOD_S - CLOCKS_S:
                found.append(f"{logger}: {kind!r} came {len(times)} times, {shortest:.3f} s apart at the least")
        return found

    def holds(self, logger: str, text: str) -> bool:
        """Whether a line of a logger holds a text."""
        return any(f"[{logger}]" in line and text in line for line in self.text)


def kind_of(text: str) -> str:
    """A line without what differs from message to message: what is quoted, and words with digits."""
    text = re.sub(r"(['\"]).*\1", "", text)
    return re.sub(r"\S*\d\S*|starting with \S+", "", text)[:120]


class Subject:
    """A perception node in a process of its own."""

    def __init__(self, parameters: Mapping[str, object], log: Path) -> None:
        """Start it.

        Args:
            parameters: the node's, by name.
            log: file for what it logs.
        """
        self.log_path = log
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        command = [sys.executable, "-m", "rvm_ros.perception_node", "--ros-args", "-r", f"__ns:={NAMESPACE}", *words]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def check(self) -> None:
        """Check that it lives.

        Raises:
            SoakError: it has ended.
        """
        if (status := self._process.poll()) is not None:
            tail = "\n".join(Log.read(self.log_path).text[-20:])
            raise SoakError(f"the node ended with status {status}; its log {self.log_path} ends with\n{tail}")

    def memory(self) -> Memory:
        """Its memory now; what it shares with DDS is in `total` alone."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        values = {name: value for name, _, value in (line.partition(":") for line in lines)}
        return Memory(*(int(values[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon")))

    def catches(self, number: int) -> bool:
        """Whether it has a handler of its own for a signal."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        caught = next((line.split()[1] for line in lines if line.startswith("SigCgt")), "0")
        return bool(int(caught, 16) >> (number - 1) & 1)

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Send a signal and wait for the end.

        Returns:
            Exit status, and seconds from the signal to the process's end.
        """
        start_s = time.monotonic()
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout=20), time.monotonic() - start_s
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode, time.monotonic() - start_s

    def kill(self) -> None:
        """End it at once; nothing happens where it has ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
