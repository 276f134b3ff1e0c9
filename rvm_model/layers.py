"""Transformer layers shared by encoder, core and decoder.

Shape legend: B batch, N tokens, M key/value tokens, D width, K heads, H head width (D = K*H).
All layers follow the authors' Flax modules: LayerNorm eps 1e-6, tanh GELU, biases everywhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6
"""Flax's default, used by every LayerNorm but the one on the core's state."""


def lecun_normal_(weight: Tensor, fan_in: int) -> None:
    """Fill `weight` in place as Flax's `lecun_normal`: truncated at two standard deviations, variance 1 / fan_in."""
    # 0.8796 is the standard deviation of a unit normal truncated at +-2: dividing restores the wanted variance.
    std = math.sqrt(1.0 / fan_in) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Attention(nn.Module):
    """Multi-head attention of queries [B, N, D] over keys and values [B, M, D]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        for linear in (self.query, self.key, self.value, self.out):
            lecun_normal_(linear.weight, dim)
            nn.init.zeros_(linear.bias)

    def forward(self, x_BND: Tensor, kv_BMD: Tensor) -> Tensor:
        """Attend from `x_BND` to `kv_BMD`; returns [B, N, D]."""
        q_BKNH = self._split(self.query(x_BND))
        k_BKMH = self._split(self.key(kv_BMD))
        v_BKMH = self._split(self.value(kv_BMD))
        # The kernels behind this keep the softmax in float32 under bfloat16 too, as the authors' code does.
        y_BKNH = functional.scaled_dot_product_attention(q_BKNH, k_BKMH, v_BKMH)
        return self.out(y_BKNH.transpose(1, 2).flatten(2))

    def _split(self, x_BND: Tensor) -> Tensor:
        return x_BND.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with a tanh GELU between, on [..., D]."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.dense_in = nn.Linear(dim, hidden_dim)
        self.dense_out = nn.Linear(hidden_dim, dim)
        for linear in (self.dense_in, self.dense_out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        return self.dense_out(functional.gelu(self.dense_in(x), approximate="tanh"))


class Block(nn.Module):
    """Pre-norm ViT block: self-attention, then MLP, each with a residual."""

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, mlp_dim)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Map tokens [B, N, D] to [B, N, D]."""
        normed_BND = self.attention_norm(x_BND)
        x_BND = x_BND + self.attention(normed_BND, normed_BND)
        return x_BND + self.mlp(self.mlp_norm(x_BND))


class CrossBlock(nn.Module):
    """Cross-attention, MLP, self-attention, in this order, each with a residual.

    The keys and values are used as given: only the queries are normalised.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.ca_attention_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.ca_attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, mlp_dim)
        self.attention_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attention = Attention(dim, heads)

    def forward(self, x_GND: Tensor, kv_BMD: Tensor) -> Tensor:
        """Map tokens [G, N, D] to [G, N, D], where G is a multiple of B.

        Rows g*G/B .. share key/value set g: cross-attention treats every query alone, so the groups are folded into
        the query axis and the keys and values are projected once instead of once per group.
        """
        batch = kv_BMD.shape[0]
        folded_BnD = self.ca_attention_norm(x_GND).reshape(batch, -1, x_GND.shape[-1])
        x_GND = x_GND + self.ca_attention(folded_BnD, kv_BMD).reshape_as(x_GND)
        x_GND = x_GND + self.mlp(self.mlp_norm(x_GND))
        normed_GND = self.attention_norm(x_GND)
        return x_GND + self.attention(normed_GND, normed_GND)


class CrossTransformer(nn.Module):
    """A stack of `CrossBlock` over the same keys and values, with a final LayerNorm."""

    def __init__(self, dim: int, depth: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CrossBlock(dim, heads, mlp_dim) for _ in range(depth))
        self.output_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)

    def forward(self, x_GND: Tensor, kv_BMD: Tensor) -> Tensor:
        """Map tokens [G, N, D] to [G, N, D]; G is a multiple of B, see `CrossBlock.forward`."""
        for block in self.blocks:
            x_GND = block(x_GND, kv_BMD)
        return self.output_norm(x_GND)


def as_unit_float(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Frames in [0, 1] of type `dtype`: uint8 is divided by 255, floating point is taken as it is.

    Raises:
        ValueError: neither uint8 nor floating point.
    """
    if frames.dtype == torch.uint8:
        # Divided in float32 whatever the target: 255 levels do not survive a division in bfloat16 alike.
        return (frames.to(torch.float32) / 255.0).to(dtype)
    if frames.is_floating_point():
        return frames.to(dtype)
    raise ValueError(f"frames: got dtype {frames.dtype}, expected uint8 (0..255) or floating point (0..1)")
