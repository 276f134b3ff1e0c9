"""What a frame costs after ten and after a thousand frames, and what context costs a space-time transformer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tqdm import trange

from rvm_model.engines import CameraStates, Engine
from rvm_model.rvm import RVM
from rvm_training.benchmark.timing import Timing, interleaved, synchronizer

YOUNG = 10
"""Frames after which the early camera is reset."""


@dataclass(frozen=True)
class Steadiness:
    """One engine early and late in a stream."""

    early: Timing
    """Steps of a camera that was reset ten frames ago at most."""
    late: Timing
    """Steps of the camera of the long stream, after it, in turn with the early ones."""
    stream_ms: tuple[float, ...]
    """The long stream itself, frame by frame."""
    grown_mb: float | None
    """Growth of the process's memory between frame 10 and the last one, in MB (10^6 bytes); None where unknown."""


def steadiness(engine: Engine, frames: int, pairs: int) -> Steadiness:
    """Run a camera for long, then time it in turn with a young one.

    Args:
        engine: what runs the steps.
        frames: of the long stream.
        pairs: measured steps of each after it.
    """
    info = engine.info
    inputs = torch.randint(0, 256, (16, 1, info.height, info.width, 3), dtype=torch.uint8).to(info.device)
    states = CameraStates(engine)  # An engine's own buffers belong to one caller; two streams need what a node has.

    def advance(name: str) -> None:
        if name == "early" and states.age(name) == YOUNG:
            states.reset(name)
        states.step([name], inputs[states.age(name) % 16])

    start, synchronize, stream_ms = _resident_bytes(), synchronizer(info.device), []
    for t in trange(frames, unit="frame", desc="stream"):
        began = time.perf_counter()
        advance("late")
        synchronize()
        stream_ms.append(1e3 * (time.perf_counter() - began))
        if t + 1 == YOUNG:
            start = _resident_bytes()
    end = _resident_bytes()
    timings = interleaved(
        {name: partial(advance, name) for name in ("early", "late")},
        pairs,
        synchronize,
        what="early, late",
    )
    grown = None if start is None or end is None else (end - start) / 1e6
    return Steadiness(timings["early"], timings["late"], tuple(stream_ms), grown)


def space_time(
    network: RVM, size: tuple[int, int], lengths: Sequence[int], rounds: int
) -> tuple[dict[int, Timing], Timing]:
    """Time a transformer over the patches of several frames at once: the network's own encoder, all tokens together.

    Returns:
        (frames that it sees to the time of one pass over them; the time of one step of the network, in turn with them).
    """
    tokens, dim, device = network.config.token_count(*size), network.config.dim, network.cls_token.device
    frames = torch.zeros(1, *size, 3, dtype=torch.uint8, device=device)
    state = torch.zeros(1, tokens, dim, device=device)
    encode, advance = torch.inference_mode()(network.encoder), torch.inference_mode()(network.step)
    actions: dict[str, Callable[[], object]] = {"step": lambda: advance(frames, state)}
    for length in lengths:
        actions[str(length)] = partial(encode, torch.randn(1, length * tokens, dim, device=device))
    timings = interleaved(actions, rounds, synchronizer(device), what="space-time")
    return {length: timings[str(length)] for length in lengths}, timings["step"]


def _resident_bytes() -> int | None:
    """Memory of this process that is in use; None where the system does not tell so simply."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else None
