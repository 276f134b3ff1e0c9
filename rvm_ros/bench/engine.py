"""The engine's step alone, in a process of its own, with the node's own parameters and threads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from rvm_ros.bench.actor import requests
from rvm_ros.bench.camera import picture
from rvm_ros.bench.pace import at_rate
from rvm_ros.loading import described, load
from rvm_ros.parameters import PERCEPTION_PARAMETERS, camera_parameters

CAMERA = "camera"
"""Name of the one camera."""


@dataclass(frozen=True)
class Facts:
    """What runs; the first answer, before anything was asked."""

    engine: str
    """In words."""
    shape: tuple[int, int, int]
    """Of a feature map: h, w, D."""


@dataclass(frozen=True)
class Step:
    """A request: take so many steps; the answer is Steps."""

    rate_hz: float
    """0 does not wait between them."""
    frames: int


@dataclass(frozen=True)
class Steps:
    """What they took."""

    each_ms: list[float]
    cpu_s: float
    """Of the process, all threads."""


def serve(pipe: Connection, chosen: Mapping[str, Any]) -> None:
    """Run the process.

    Args:
        pipe: for requests and answers.
        chosen: parameters of the node that differ from their defaults.
    """
    specs = (*PERCEPTION_PARAMETERS, *camera_parameters(CAMERA))
    loaded = load((CAMERA,), {spec.name: spec.default for spec in specs} | dict(chosen), print)
    perception, info = loaded.perceptions[CAMERA], loaded.info(CAMERA)
    pipe.send(Facts(described(loaded), (*info.grid, info.dim)))
    batch = perception.prepare({CAMERA: picture()})
    for request in requests(pipe):
        each_ms, cpu_s = [], time.process_time()
        for _ in at_rate(request.rate_hz, request.frames):
            start_s = time.perf_counter()
            perception.encode([CAMERA], batch)
            each_ms.append((time.perf_counter() - start_s) * 1e3)
        pipe.send(Steps(each_ms, time.process_time() - cpu_s))
