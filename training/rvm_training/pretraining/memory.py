"""How much memory a training step takes, found by running it on tensors without data.

Shapes are computed, contents are not, so the largest network is measured on a laptop in seconds. Counted are all
tensors alive at once at the worst moment of a step; what the allocator wastes between them and what libraries keep is
not.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from rvm_model.config import RVMConfig
from rvm_model.layers import Block, CrossBlock
from rvm_model.rvm import RVM
from rvm_training.data.frames import FrameSampling
from rvm_training.pretraining.layout import Checkpointing, recompute
from rvm_training.pretraining.objectives import pixel_loss

_FLOAT32 = 4


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one device."""

    parameters: int
    """Float32 weights of this device's shard."""
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    average: int
    """The moving average of the weights, where there is one."""
    gathered: int
    """With sharding: the whole weights of the largest block, twice, and its gradients; and the core's blocks."""
    activations: int
    """Everything else at the worst moment of the step."""

    @property
    def total(self) -> int:
        """The sum."""
        return self.parameters + self.gradients + self.optimizer + self.average + self.gathered + self.activations


class PeakMemory(TorchDispatchMode):
    """Largest sum of the bytes of all tensors made within it that were alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive = 0
        self._storages: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count what it allocated."""
        out = func(*args, **(kwargs or {}))
        inputs = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(out):
            if id(storage) not in inputs and storage not in self._storages:
                self._storages[storage] = None
                size = storage.nbytes()
                self._alive += size
                weakref.finalize(storage, self._free, size)
        self.peak = max(self.peak, self._alive)
        return out

    def _free(self, size: int) -> None:
        self._alive -= size


def activation_bytes(
    config: RVMConfig,
    size: tuple[int, int],
    sampling: FrameSampling,
    *,
    batch: int,
    mask_ratio: float,
    checkpointing: Checkpointing,
    half: bool,
) -> int:
    """Peak of what a forward and backward pass of `batch` clips makes, gradients of the weights not counted."""
    with torch.device("meta"):
        network = RVM(config)
    with FakeTensorMode(allow_non_fake_inputs=True):
        empty = {name: torch.empty(tensor.shape) for name, tensor in network.state_dict().items()}
        network.load_state_dict(empty, assign=True)
        recompute(network, checkpointing)
        for parameter in network.parameters():
            # In place already, so that the measured backward pass makes none.
            parameter.grad = torch.zeros_like(parameter)
        sources = torch.zeros(batch, sampling.sources, *size, 3, dtype=torch.uint8)
        targets = torch.zeros(batch, sampling.targets, *size, 3)
        deltas = torch.zeros(batch, sampling.targets, dtype=torch.int64)
        with PeakMemory() as memory:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                out = network.reconstruct(sources, targets, deltas, mask_ratio=mask_ratio).frames
            pixel_loss(out, targets).mean().backward()
    return memory.peak


def memory_plan(
    config: RVMConfig,
    size: tuple[int, int],
    sampling: FrameSampling,
    *,
    micro_batch: int,
    mask_ratio: float,
    checkpointing: Checkpointing,
    half: bool,
    average: bool,
    shards: int,
) -> MemoryPlan:
    """What one of `shards` devices needs; 1 is a device that holds everything (one process, or DDP)."""
    with torch.device("meta"):
        network = RVM(config)
    weights = weight_bytes(network)
    mine = -(-weights // shards)
    blocks = [module for module in network.modules() if isinstance(module, Block | CrossBlock)]
    recurrent = set(network.core.modules())
    largest = max(weight_bytes(module) for module in blocks)
    kept = sum(weight_bytes(module) for module in blocks if module in recurrent)
    return MemoryPlan(
        parameters=mine,
        gradients=mine,
        optimizer=2 * mine,
        average=mine if average else 0,
        gathered=0 if shards == 1 else 3 * largest + kept,
        activations=activation_bytes(
            config, size, sampling, batch=micro_batch, mask_ratio=mask_ratio, checkpointing=checkpointing, half=half
        ),
    )


def weight_bytes(module: nn.Module) -> int:
    """Bytes of a module's weights in float32."""
    return sum(parameter.numel() for parameter in module.parameters()) * _FLOAT32


def _storages(tree: Any) -> list[Any]:
    leaves = _pytree.tree_leaves(tree)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, Tensor)]
