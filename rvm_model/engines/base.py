"""What every engine is: something that runs `step` at one image size, with the state passed in and returned."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rvm_model.engines.manifest import EngineError

FRAMES, STATE, FEATURES = "frames", "state", "features"
"""Names of the inputs and of the output of a compiled step."""


def arithmetic(precision: str, rest: str) -> str:
    """Both in words, for example `int8 and bf16`."""
    return precision if precision == rest else f"{precision} and {rest}"


@dataclass(frozen=True)
class EngineInfo:
    """What an engine runs and where; what the node reports."""

    kind: str
    """Name of the runtime, for example `torch`."""
    weights: str
    """Identity of the weights: `sha256:...` of the checkpoint file, or the untrained specification."""
    trained: bool
    """False for seeded random weights."""
    device: str
    """torch name of the device that holds features and state."""
    precision: str
    """Arithmetic type, for example `fp32`."""
    height: int
    """Rows of the input in pixels."""
    width: int
    """Columns of the input in pixels."""
    patch_size: int
    """Side of a patch in pixels."""
    dim: int
    """Feature width D."""
    cameras: int | None = None
    """Largest batch; None takes any."""
    version_compatible: bool = False
    """Whether a TensorRT plan was built for later versions too."""
    processor: str = ""
    """Where it computes, if not on `device`: `xpu` for an Intel GPU whose inputs and outputs lie on the host."""
    rest: str = "fp32"
    """Arithmetic of what `precision` leaves out: attention, norms, sums."""
    files: str = ""
    """Digest of a folder's files; empty where the network is run as it is."""

    @property
    def digest(self) -> str:
        """Identity of what runs: a state made by another one means something else, or is not the same to the last bit.

        The same on all devices of one kind, and whatever the largest batch.
        """
        device, _, _ = self.device.partition(":")
        same = dataclasses.replace(self, device=device, cameras=None, trained=True)
        text = json.dumps(dataclasses.asdict(same), sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def place(self) -> str:
        """Where it computes."""
        return self.processor or self.device

    @property
    def arithmetic(self) -> str:
        """Precision in words."""
        return arithmetic(self.precision, self.rest)

    @property
    def grid(self) -> tuple[int, int]:
        """Patch rows and columns of the feature map."""
        return self.height // self.patch_size, self.width // self.patch_size

    @property
    def tokens(self) -> int:
        """1 + N, CLS and patches."""
        return 1 + self.grid[0] * self.grid[1]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names of inputs and output to their shapes without the batch."""
        state = (self.tokens, self.dim)
        return {FRAMES: (self.height, self.width, 3), STATE: state, FEATURES: state}

    def zeros(self, batch: int) -> Tensor:
        """The state before the first frame, float32 [batch, 1 + N, D] on the device."""
        return torch.zeros(batch, self.tokens, self.dim, device=self.device)

    def check_graph(self, path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
        """Check the shapes that a compiled step says it has, each without the batch, against these.

        Raises:
            EngineError: they differ.
        """
        expected = self.shapes
        got = {name: tuple(shapes[name]) for name in expected if name in shapes}
        if got != expected:
            raise EngineError(
                f"{path}: got inputs and outputs {got}, expected {expected}; it is not the step that the manifest "
                "tells: export it again"
            )

    def check_inputs(self, frames: Tensor, state: Tensor) -> None:
        """Check the arguments of `step`.

        Raises:
            ValueError: another shape, type or device than this engine takes.
        """
        expected = (self.height, self.width, 3)
        if frames.dtype != torch.uint8 or frames.ndim != 4 or tuple(frames.shape[1:]) != expected:
            raise ValueError(
                f"frames: got {frames.dtype} {tuple(frames.shape)}, expected uint8 [B, {self.height}, {self.width}, 3];"
                " resize with rvm_model.preprocess or load an engine of that size"
            )
        if self.cameras is not None and frames.shape[0] > self.cameras:
            raise ValueError(
                f"frames: got a batch of {frames.shape[0]}, expected at most {self.cameras}; export an engine for more"
            )
        wanted = (frames.shape[0], self.tokens, self.dim)
        if state.dtype != torch.float32 or tuple(state.shape) != wanted:
            raise ValueError(
                f"state: got {state.dtype} {tuple(state.shape)}, expected float32 [B, 1 + N, D] = {wanted}; "
                "a state belongs to one engine size: start from init_state after a change"
            )
        places = {frames.device, state.device}
        if len(places) > 1 or frames.device.type != torch.device(self.device).type:
            raise ValueError(
                f"frames on {frames.device} and state on {state.device}, expected both on {self.device}, the engine's"
            )


class Engine(Protocol):
    """Runs the recurrent step for a batch of cameras. Holds no state of theirs."""

    @property
    def info(self) -> EngineInfo:
        """What runs here."""
        ...

    def init_state(self, batch: int) -> Tensor:
        """Zeros float32 [batch, 1 + N, D], the state before the first frame, on the engine's device."""
        ...

    def step(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one frame of each camera.

        Args:
            frames: uint8 [B, H, W, 3] RGB on the engine's device.
            state: float32 [B, 1 + N, D], from `init_state` or the step before.

        Returns:
            (features, state), float32 [B, 1 + N, D] on the engine's device; the given state is left as it was. They
            hold until the next step: an engine may swap two buffers of its own, which then belong to one caller.

        Raises:
            ValueError: another shape or type.
        """
        ...
