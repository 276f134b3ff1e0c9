"""The recurrent step written for inference at one image size: the numbers of `RVM.step`, in fewer and larger products.

What the network keeps apart, for training and for the released names, is joined: queries, keys and values of a
self-attention are one product; so are the keys and values of all cross-attentions of the core, which read the same
gated state, and the two gates. The position code is a constant. Biases of keys are left out: they add the same to all
scores of a query, which the softmax takes away.

Every exported engine is made of this module, and the torch engine runs it.

Shape legend: B cameras, N patches, T = 1 + N tokens, D width, K heads, H head width (D = K*H).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvm_model.core import GatedCore
from rvm_model.layers import Attention, Block, CrossBlock
from rvm_model.position import position_code
from rvm_model.rvm import RVM


class InferenceStep(nn.Module):
    """(frames uint8 [B, H, W, 3], state [B, T, D]) -> features [B, T, D], which are the new state."""

    table: Tensor

    def __init__(self, model: RVM, size: tuple[int, int]) -> None:
        """Take over a network: joined weights are copies, the other layers are its own, from now on without gradients.

        Args:
            model: the network; its decoder is not used.
            size: height and width of the frames.

        Raises:
            ValueError: the size does not fit the patch, or the network has no recurrent core.
        """
        super().__init__()
        config, core = model.config, model.core
        if not isinstance(core, GatedCore):
            raise ValueError(
                f"inference: got a network with the aggregator {config.aggregator!r}, expected the recurrent core; "
                "self-attention over a clip has no step"
            )
        self.grid = config.grid(*size)
        self.dim, self.patch_size = config.dim, config.patch_size
        self.patch_embedding = model.tokenizer.patch_embedding
        weight = self.patch_embedding.weight
        code_ND = position_code(
            self.grid, config.base_grid, config.dim, kind=config.position, device=weight.device, dtype=weight.dtype
        )
        # Row 0 is the CLS token, which has no position code; the others are added to the patches.
        self.register_buffer("table", torch.cat([model.cls_token.detach(), code_ND])[None])
        self.layers = nn.ModuleList(EncoderBlock(cast(Block, block)) for block in model.encoder.layers)
        self.norm = model.encoder.norm
        self.input_gates = _joined([core.input_update, core.input_reset])
        self.state_gates = _joined([core.state_update, core.state_reset])
        self.state_norm = core.state_norm
        blocks = [cast(CrossBlock, block) for block in core.transformer.blocks]
        readers = [part for block in blocks for part in (block.ca_attention.key, block.ca_attention.value)]
        self.keys_values = _joined(readers, without_bias=range(0, len(readers), 2))
        self.blocks = nn.ModuleList(CoreBlock(block) for block in blocks)
        self.output_norm = core.transformer.output_norm
        self.requires_grad_(False).eval()

    def forward(self, frames_BHWC: Tensor, state_BTD: Tensor) -> Tensor:
        """Advance the states by one frame each; the division by 255 is part of it."""
        x_BTD = self._tokens(frames_BHWC)
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        x_BTD = self.norm(x_BTD)
        gates = torch.sigmoid(self.input_gates(x_BTD) + self.state_gates(state_BTD))
        update, reset = gates.split(self.dim, dim=-1)
        keys_values = self.keys_values(reset * self.state_norm(state_BTD)).split(self.dim, dim=-1)
        candidate_BTD = x_BTD
        for index, block in enumerate(self.blocks):
            candidate_BTD = block(candidate_BTD, keys_values[2 * index], keys_values[2 * index + 1])
        return state_BTD + update * (self.output_norm(candidate_BTD) - state_BTD)

    def _tokens(self, frames_BHWC: Tensor) -> Tensor:
        (rows, columns), patch = self.grid, self.patch_size
        # Five axes, not six: a patch's columns and their colours lie side by side in memory.
        patches = frames_BHWC.reshape(-1, rows, patch, columns, patch * 3).transpose(2, 3)
        patches = patches.reshape(-1, rows * columns, patch * patch * 3).to(self.table.dtype) / 255.0
        return functional.pad(self.patch_embedding(patches), (0, 0, 1, 0)) + self.table


class EncoderBlock(nn.Module):
    """Self-attention, then MLP, each with a residual."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.attention_norm = block.attention_norm
        self.attention = SelfAttention(block.attention)
        self.mlp_norm = block.mlp_norm
        self.mlp = block.mlp

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map tokens [B, T, D] to [B, T, D]."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return cast(Tensor, x_BTD + self.mlp(self.mlp_norm(x_BTD)))


class CoreBlock(nn.Module):
    """Cross-attention to keys and values that are given, MLP, self-attention, each with a residual."""

    def __init__(self, block: CrossBlock) -> None:
        super().__init__()
        self.ca_attention_norm = block.ca_attention_norm
        self.query, self.out, self.heads = block.ca_attention.query, block.ca_attention.out, block.ca_attention.heads
        self.mlp_norm = block.mlp_norm
        self.mlp = block.mlp
        self.attention_norm = block.attention_norm
        self.attention = SelfAttention(block.attention)

    def forward(self, x_BTD: Tensor, key_BTD: Tensor, value_BTD: Tensor) -> Tensor:
        """Map tokens [B, T, D] to [B, T, D]."""
        query_BTD = self.query(self.ca_attention_norm(x_BTD))
        x_BTD = x_BTD + self.out(_attend(query_BTD, key_BTD, value_BTD, self.heads))
        x_BTD = x_BTD + self.mlp(self.mlp_norm(x_BTD))
        return cast(Tensor, x_BTD + self.attention(self.attention_norm(x_BTD)))


class SelfAttention(nn.Module):
    """Attention of tokens to each other, with one product for queries, keys and values."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.query_key_value = _joined([attention.query, attention.key, attention.value], without_bias=(1,))
        self.out = attention.out

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Map tokens [B, T, D] to [B, T, D]."""
        query_BTD, key_BTD, value_BTD = self.query_key_value(x_BTD).chunk(3, dim=-1)
        return cast(Tensor, self.out(_attend(query_BTD, key_BTD, value_BTD, self.heads)))


def _attend(query_BTD: Tensor, key_BTD: Tensor, value_BTD: Tensor, heads: int) -> Tensor:
    q_BKTH, k_BKTH, v_BKTH = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query_BTD, key_BTD, value_BTD)
    )
    return functional.scaled_dot_product_attention(q_BKTH, k_BKTH, v_BKTH).transpose(1, 2).flatten(2)


def _joined(parts: Sequence[nn.Linear], without_bias: Sequence[int] = ()) -> nn.Linear:
    """One linear layer that gives the outputs of several side by side."""
    weight = torch.cat([part.weight.detach() for part in parts])
    joined = nn.Linear(weight.shape[1], weight.shape[0], bias=parts[0].bias is not None, device="meta")
    joined.weight = nn.Parameter(weight)
    if parts[0].bias is not None:
        biases = [torch.zeros_like(part.bias) if i in without_bias else part.bias for i, part in enumerate(parts)]
        joined.bias = nn.Parameter(torch.cat([bias.detach() for bias in biases]))
    return joined
