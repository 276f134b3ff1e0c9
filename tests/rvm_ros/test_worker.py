"""The worker gives the cameras of a moment to the engine as one batch."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rvm_ros.worker import Received, Worker

pytestmark = pytest.mark.ros


class Recorded:
    """In place of a Perception: notes which cameras are in a batch, and in which order."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[int]]] = []
        self.states = SimpleNamespace(reset=lambda _: None, age=lambda _: 0)

    def prepare(self, frames):
        return np.stack(list(frames.values()))

    def encode(self, cameras, batch):
        self.batches.append((cameras, batch[:, 0].tolist()))
        return dict.fromkeys(cameras)

    def render(self, *_):
        return None


def test_a_batch_has_the_same_order_whichever_camera_came_first():
    perception = Recorded()
    port = SimpleNamespace(to_array=lambda message: message.frame, wanted=lambda: None, publish=lambda *_: None)
    log = SimpleNamespace(get_child=lambda _: logging.getLogger("test"))
    worker = Worker(perception, dict.fromkeys("abc", port), max_gap_s=1.0, logger=log, on_failure=pytest.fail)

    def arrived(camera, second):
        header = SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=0))
        return Received(SimpleNamespace(frame=np.array([ord(camera)]), header=header), 0.0)

    for second, order in enumerate(("bca", "cab", "ca"), start=1):
        worker._process({camera: arrived(camera, second) for camera in order})
    assert [cameras for cameras, _ in perception.batches] == [["a", "b", "c"], ["a", "b", "c"], ["a", "c"]]
    assert all([chr(frame) for frame in frames] == cameras for cameras, frames in perception.batches)
