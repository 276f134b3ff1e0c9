"""How a network is laid out on devices: recomputation, compilation, sharding. The numbers stay the same."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from rvm_model.layers import Block, CrossBlock
from rvm_model.rvm import RVM

Checkpointing = Literal["none", "step", "block"]


def split_batch(batch: int, world_size: int, micro_batch: int) -> tuple[int, int]:
    """Split the global batch: (clips of a micro-batch, micro-batches per process and step).

    Args:
        batch: clips per step over all processes.
        world_size: processes.
        micro_batch: most clips of a micro-batch.

    Raises:
        ValueError: the batch cannot be dealt out evenly.
    """
    if batch % world_size:
        raise ValueError(
            f"optimizer.batch: got {batch} for {world_size} processes, expected a multiple of their number"
        )
    mine = batch // world_size
    accumulate = next(count for count in range(-(-mine // micro_batch), mine + 1) if mine % count == 0)
    return mine // accumulate, accumulate


def recompute(network: RVM, what: Checkpointing) -> None:
    """Let the backward pass compute activations again instead of keeping them.

    `step` keeps the inputs of the encoder's and the core's calls, so of each recurrent step only its state and frame,
    and of each decoder block its tokens. `block` keeps the tokens between all transformer blocks.
    """
    if what == "none":
        return
    chosen: set[nn.Module] = {module for module in network.modules() if isinstance(module, Block | CrossBlock)}
    if what == "step":
        whole = (network.encoder, network.core)
        chosen -= {inner for part in whole for inner in part.modules()}
        chosen |= set(whole)
    apply_activation_checkpointing(
        network, checkpoint_wrapper_fn=checkpoint_wrapper, check_fn=lambda module: module in chosen
    )


def compile_blocks(network: RVM) -> None:
    """Compile each transformer block where it stands: one graph per kind and shape, and names stay as they are."""
    import torch._dynamo  # A second that only those who compile pay.

    # Blocks of a kind share their code, and so the limit of graphs: two networks, each with several shapes.
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)
    for module in network.modules():
        if isinstance(module, Block | CrossBlock):
            module.compile(dynamic=False)


def shard(network: RVM, mesh: DeviceMesh, *, trained: bool) -> None:
    """Shard parameters over the mesh with FSDP2: one group per transformer block, and one for the rest.

    The core's blocks are used once per source frame. For a network that is `trained` they are gathered once and kept
    until the backward pass; after a forward pass without one, call `gather_anew`.
    """
    kept = set(network.core.modules()) if trained else set()
    for module in list(network.modules()):
        if isinstance(module, Block | CrossBlock):
            fully_shard(module, mesh=mesh, reshard_after_forward=module not in kept)
    # By default the root's parameters stay whole after a forward pass, which is wrong for one without a backward pass.
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    # What is called instead of forward: parameters are gathered around it.
    register_fsdp_forward_method(network, "reconstruct")


def gather_anew(network: RVM) -> None:
    """Let go of parameters that were gathered for a forward pass; without sharding there is nothing to do."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
