"""Buffers that a step runs in on a GPU: fixed addresses, two states that are swapped, one captured graph per direction.

A CUDA graph repeats kernels at the addresses that they were captured with. So each batch size has one buffer for frames
and two for states, A and B: a step reads A and writes B, the next one reads B and writes A, and each direction is a
graph. A state that the caller hands back as it was given is already where it has to be; any other one is copied in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rvm_model.engines.base import EngineInfo

Launch = Callable[[Tensor, Tensor, Tensor], None]
"""(frames, state, features): enqueues the step on the current stream; it writes features and may not synchronise."""


@dataclass
class _Slot:
    """What one batch size runs in."""

    frames: Tensor
    states: tuple[Tensor, Tensor]
    launch: Launch
    graphs: dict[int, torch.cuda.CUDAGraph] = field(default_factory=dict)
    """By the index of the state that is read."""


class StepBuffers:
    """Runs a step in place for any batch size. What it returns holds until the next step, which may write there.

    A step that is given the result of the one before reads that and writes the other state; one that is given a state
    from elsewhere may write where the last result is.
    """

    def __init__(self, info: EngineInfo, launch_for: Callable[[int], Launch]) -> None:
        """Nothing is allocated yet.

        Args:
            info: shapes, and the device; graphs are captured where that is CUDA.
            launch_for: gives the launch for a batch size, called once for each.
        """
        self._info = info
        self._device = torch.device(info.device)
        self._launch_for = launch_for
        self._slots: dict[int, _Slot] = {}
        # One pool of memory and one stream for all captures: torch takes a block again on its own stream alone. Graphs
        # run one after the other, and their results lie outside of the pool.
        self._pool = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None
        self._side = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def step(self, frames: Tensor, state: Tensor) -> Tensor:
        """Take in checked frames [B, H, W, 3] and a state [B, T, D]; the features are one of the buffers."""
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                return self._step(frames, state)
        return self._step(frames, state)

    def _step(self, frames: Tensor, state: Tensor) -> Tensor:
        slot = self._slots.get(len(frames)) or self._new(len(frames))
        slot.frames.copy_(frames, non_blocking=True)
        source = next((i for i, buffer in enumerate(slot.states) if buffer.data_ptr() == state.data_ptr()), None)
        if source is None:
            source = 0
            slot.states[0].copy_(state, non_blocking=True)
        if self._device.type == "cuda":
            if source not in slot.graphs:
                slot.graphs[source] = self._capture(slot, source)
            slot.graphs[source].replay()
        else:
            slot.launch(slot.frames, slot.states[source], slot.states[1 - source])
        return slot.states[1 - source]

    def _new(self, batch: int) -> _Slot:
        info = self._info
        shape = (batch, info.tokens, info.dim)
        slot = _Slot(
            torch.zeros(batch, info.height, info.width, 3, dtype=torch.uint8, device=self._device),
            (torch.zeros(shape, device=self._device), torch.zeros(shape, device=self._device)),
            self._launch_for(batch),
        )
        self._slots[batch] = slot
        return slot

    def _capture(self, slot: _Slot, source: int) -> torch.cuda.CUDAGraph:
        step = slot.frames, slot.states[source], slot.states[1 - source]
        # First without a graph, on a side stream: libraries allocate and choose kernels in their first run.
        side = self._side
        assert side is not None, "captures are for CUDA"
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(2):
                slot.launch(*step)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # The stream is named: torch's own one for captures stays on the device of the first capture of the process.
        with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
            slot.launch(*step)
        return graph
