"""The long stream goes on beside the young one, on engines that swap their own buffers too."""

import torch

from rvm_model.engines import EngineInfo
from rvm_model.engines.buffers import StepBuffers
from rvm_training.benchmark.stream import YOUNG, steadiness

INFO = EngineInfo("t", "w", True, "cpu", "fp32", 32, 48, 16, 4)


class Counting:
    """An engine whose state counts its frames, in swapped buffers."""

    def __init__(self) -> None:
        self.info = INFO
        self.seen: list[int] = []
        self._buffers = StepBuffers(INFO, lambda _: lambda frames, state, features: features.copy_(state + 1))

    def init_state(self, batch):
        return INFO.zeros(batch)

    def step(self, frames, state):
        features = self._buffers.step(frames, state)
        self.seen.append(int(features[0, 0, 0]))
        assert torch.equal(features, torch.full_like(features, self.seen[-1]))
        return features, features


def test_early_starts_anew_every_ten_frames_and_late_goes_on():
    engine = Counting()
    result = steadiness(engine, 50, 25)
    assert engine.seen[:50] == list(range(1, 51))
    # One unmeasured round comes first.
    assert engine.seen[50::2] == [1 + i % YOUNG for i in range(26)]
    assert engine.seen[51::2] == list(range(51, 77))
    assert len(result.stream_ms) == 50
    assert len(result.early.each_ms) == len(result.late.each_ms) == 25
