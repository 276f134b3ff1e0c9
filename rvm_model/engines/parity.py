"""How far an engine is from the float32 network, over many recurrent steps on the same frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import trange

from rvm_model.engines.base import Engine
from rvm_model.engines.manifest import Parity, Precision
from rvm_model.rvm import RVM

STEPS = 64
"""Recurrent steps of a comparison."""
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 5e-3, "bf16": 2e-2, "int8": 2e-2, "fp8": 1e-1}
"""Largest relative error of a step for each precision, where the user gives none."""


@dataclass(frozen=True)
class Drift:
    """Errors by step: each state is the engine's own, so that errors may grow."""

    relative: list[float]
    """Per step |features - reference| / |reference|, over all tokens of all cameras."""
    worst_token: list[float]
    """Per step the largest relative error of a token."""

    def beyond(self, limit: float) -> int | None:
        """Index of the first step whose relative error is above a limit; None where none is."""
        return next((index for index, error in enumerate(self.relative) if not error <= limit), None)

    def parity(self, tolerance: float) -> Parity:
        """The summary that a manifest holds."""
        quarter = -(-len(self.relative) // 4)
        first, last = sum(self.relative[:quarter]), sum(self.relative[-quarter:])
        return Parity(
            steps=len(self.relative),
            worst=max(self.relative),
            last=self.relative[-1],
            growth=last / first if first else 1.0,
            worst_token=max(self.worst_token),
            by_step=self.relative,
            tolerance=tolerance,
        )


@torch.inference_mode()
def measure(engine: Engine, model: RVM, frames: Tensor, *, show: bool = True) -> Drift:
    """Run an engine and the network side by side.

    Args:
        engine: on a CPU or GPU.
        model: the float32 network, on the CPU.
        frames: uint8 [steps, cameras, H, W, 3].
        show: draw a progress bar.
    """
    state = engine.init_state(frames.shape[1])
    reference: Tensor | None = None
    relative, worst = [], []
    for t in trange(len(frames), desc="parity", unit="step", disable=not show):
        features, state = engine.step(frames[t].to(engine.info.device), state)
        reference, _ = model.step(frames[t], reference)
        error = features.cpu().float() - reference
        relative.append(float(error.norm() / reference.norm()))
        worst.append(float((error.norm(dim=-1) / reference.norm(dim=-1)).max()))
    return Drift(relative, worst)
