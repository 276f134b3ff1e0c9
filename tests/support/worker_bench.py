"""A worker of three cameras with recorders in place of everything around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rvm_model.camera_heads import Wanted
from rvm_model.messages.judge import Due
from rvm_ros.camera_stream import Frame, StreamSettings
from rvm_ros.worker import Worker, WorkerSettings

TIMEOUT_S = 10.0
INFO = SimpleNamespace(height=1, width=1, device="cpu", grid=(1, 1))


class Recorded:
    """In place of a Perception: notes which cameras are in a batch, and in which order; fails where it is told to."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[int]]] = []
        self.reset: list[str] = []
        self.decayed: list[tuple[str, float]] = []
        self.states = SimpleNamespace(
            reset=lambda *cameras: self.reset.extend(cameras),
            age=lambda _: 0,
            decay=lambda *each: self.decayed.append(each),
        )
        self.engine = SimpleNamespace(info=INFO)
        self.step_errors: list[Exception] = []
        self.unsound: set[str] = set()

    def prepare(self, frames):
        return torch.cat([torch.full((1, 1, 1, 3), int(image.flat[0])) for image in frames.values()])

    def encode(self, cameras, batch):
        if self.step_errors:
            raise self.step_errors.pop()
        self.batches.append((cameras, batch[:, 0, 0, 0].tolist()))
        return {camera: torch.zeros(2, 4) for camera in cameras}

    def sound(self, features):
        return {camera: camera not in self.unsound for camera in features}


class Heads:
    """In place of CameraHeads: notes what is drawn; fails or waits where it is told to."""

    def __init__(self) -> None:
        self.drawn: list[int] = []
        self.forgotten = 0
        self.broken = False
        self.gate: threading.Event | None = None
        self.drawing = threading.Event()
        self.anew: list[str] = []
        self.needs_every_frame = False

    def draw(self, image, features, wanted, stamp_ns):
        self.drawing.set()
        if self.gate is not None:
            assert self.gate.wait(TIMEOUT_S)
        if self.broken:
            raise RuntimeError("broken heads")
        self.drawn.append(int(image.flat[0]))
        return SimpleNamespace(labels=f"labels of {image.flat[0]}")

    def forget(self):
        self.forgotten += 1

    def start_anew(self, reason):
        self.anew.append(reason)


class Port:
    """In place of a CameraPort: somebody looks at pictures and features."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.labels: list[object] = []
        self.looked_at = True
        self.broken = self.broken_pictures = False

    def check(self, message):
        pass

    def to_array(self, message):
        return message.image

    def wanted(self):
        return Wanted(features=True, overlay=self.looked_at)

    def publish_labels(self, labels):
        self.labels.append(labels)

    def publish(self, outputs, header):
        if self.broken or (self.broken_pictures and isinstance(outputs, SimpleNamespace)):
            raise RuntimeError("broken port")
        self.sent.append(outputs)


class Told(list):
    """In place of a logger."""

    def get_child(self, _):
        return self

    def error(self, text, **_):
        self.append(text)

    warning = info = error


class Bench:
    """A worker of cameras a, b and c with everything around it recorded."""

    def __init__(self, **settings) -> None:
        self.perception, self.told, self.resets, self.headless = Recorded(), Told(), [], []
        self.heads, self.ports = {c: Heads() for c in "abc"}, {c: Port() for c in "abc"}
        self.worker = Worker(
            dict.fromkeys("abc", self.perception),
            self.heads,
            self.ports,
            dict.fromkeys("abc", StreamSettings()),
            settings=WorkerSettings(**settings),
            logger=self.told,
            now_ns=lambda: 0,
            on_reset=self.resets.append,
            on_heads_failure=self.headless.append,
            on_failure=lambda *_: pytest.fail("the worker ended"),
        )
        self.perception.reset.clear()

    def process(self, frames: dict[str, Frame]) -> None:
        """Take frames in without the worker's threads."""
        self.worker._process(self.perception, frames)

    def counts(self, camera: str = "a"):
        return self.worker.streams[camera].counts


def message(stamp_s: float, value: int = 0):
    nanoseconds = round(stamp_s * 1e9)
    stamp = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    header = SimpleNamespace(stamp=stamp, frame_id="front")
    return SimpleNamespace(image=np.full((1, 1, 3), value, np.uint8), header=header)


def frame(stamp_s: float, value: int = 0, **due) -> Frame:
    sent = message(stamp_s, value)
    batch = torch.full((1, 1, 1, 3), value)
    return Frame(sent, time.monotonic(), Due(**due), sent.image, batch, convert_s=0.0)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
