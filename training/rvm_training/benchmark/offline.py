"""What decoding and writing cost `rvm features` beside the engine: its rate over that of the bare engine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from rvm_model.engines import Engine
from rvm_model.perception import Perception
from rvm_training.offline.features import Target, extract
from rvm_training.offline.pipeline import Settings
from rvm_training.offline.recordings import Recording


@dataclass(frozen=True)
class Comparison:
    """Frames per second of both, round by round."""

    bare: list[float]
    """The engine's steps on frames that lie ready, as many cameras at once."""
    whole: list[float]
    """From the recordings to what is written."""

    @property
    def shares(self) -> list[float]:
        """Of each round: the whole's rate over the bare engine's just before and after it."""
        around = zip(self.bare, self.bare[1:], strict=False)
        return [whole / statistics.mean(pair) for whole, pair in zip(self.whole, around, strict=True)]


def compare(recordings: Sequence[Recording], engine: Engine, target: Target, batch: int, rounds: int) -> Comparison:
    """Time both in turn, the bare engine first and last.

    Args:
        recordings: what is processed in every round.
        engine: what runs.
        target: how results are written; where, is a temporary folder beside it.
        batch: cameras at once.
        rounds: how often.

    Raises:
        ValueError: a recording cannot be processed to its end.
    """
    frames = [arrival.decode() for recording in recordings for arrival in islice(recording, 32)]
    perception = Perception(engine)
    prepared = [perception.prepare({"": frame}) for frame in frames]
    bare, whole = [_bare(perception, prepared, batch, 32)], []
    for _ in range(rounds):
        with TemporaryDirectory(dir=target.out) as folder:
            own = Target(Path(folder), target.kind, target.outputs, target.node, target.coding, target.components)
            start_s = time.monotonic()
            done = extract(recordings, engine, own, Settings(batch))
            spent_s = time.monotonic() - start_s
        if done.failed:
            raise ValueError(f"{done.failed[0].recording.path}: {done.failed[0].error}")
        whole.append(done.spent.frames / spent_s)
        bare.append(_bare(perception, prepared, batch, max(32, done.spent.frames // 2)))
    return Comparison(bare, whole)


def _bare(perception: Perception, prepared: Sequence[torch.Tensor], batch: int, frames: int) -> float:
    """Frames per second."""
    cameras = [str(index) for index in range(batch)]
    steps = max(1, frames // batch)
    start_s = time.monotonic()
    for step in range(steps):
        together = [prepared[(step * batch + index) % len(prepared)] for index in range(batch)]
        perception.sound(perception.encode(cameras, torch.cat(together)))
    return steps * batch / (time.monotonic() - start_s)
