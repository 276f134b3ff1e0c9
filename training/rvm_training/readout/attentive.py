"""The attentive readout of Scaling 4D Representations: queries that look at all of a clip's features once.

LayerNorm, a learned code for time, one cross-attention, an MLP with a residual, and a linear layer; the layers and
their order are the authors' (representations4d, `AttentionReadout`).

Shape legend: B clips, T frames, N patches of a frame, D feature width, Q queries, W width of the readout, K heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6
"""Of the layer norms, as in Flax."""
QUERY_STD = 0.02
"""Standard deviation of learned queries at the start."""


@dataclass(frozen=True)
class AttentiveConfig:
    """Sizes of a readout."""

    dim: int
    """Width D of the features."""
    outputs: int
    """Numbers that each query gives."""
    frames: int = 16
    """Most frames T of a clip."""
    width: int = 768
    """W."""
    heads: int = 12
    """K; divides the width."""
    queries: int = 1
    """Learned queries Q; 0 where they are given with every clip."""
    query_dim: int = 0
    """Width of queries that are given."""

    def __post_init__(self) -> None:
        """Refuse sizes that no readout can have."""
        for name, least in (("dim", 1), ("outputs", 1), ("frames", 1), ("width", 1), ("heads", 1), ("queries", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least {least}")
        if self.width % self.heads:
            raise ValueError(f"width: got {self.width}, expected a multiple of the {self.heads} heads")
        if (self.queries > 0) == (self.query_dim > 0):
            raise ValueError(
                f"got {self.queries} learned queries and given ones of width {self.query_dim}, expected one of the two"
            )


class AttentiveReadout(nn.Module):
    """Queries attend to the features of a whole clip."""

    def __init__(self, config: AttentiveConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.time_code = nn.Parameter(torch.randn(config.frames, 1, config.dim) * QUERY_STD)
        self.query = (
            nn.Parameter(torch.randn(config.queries, width) * QUERY_STD)
            if config.queries
            else nn.Linear(config.query_dim, width)
        )
        self.key = nn.Linear(config.dim, width)
        self.value = nn.Linear(config.dim, width)
        self.attended = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.out = nn.Linear(width, config.outputs)

    def forward(self, features_BTND: Tensor, queries: Tensor | None = None) -> Tensor:
        """Read a batch of clips.

        Args:
            features_BTND: [B, T, N, D] with T up to the configuration's.
            queries: [B, Q, query_dim], where the configuration has no learned ones.

        Returns:
            [B, Q, outputs].

        Raises:
            ValueError: features or queries of another shape.
        """
        config = self.config
        if features_BTND.ndim != 4 or features_BTND.shape[-1] != config.dim or features_BTND.shape[1] > config.frames:
            raise ValueError(
                f"features: got {tuple(features_BTND.shape)}, expected [B, up to {config.frames}, N, {config.dim}]"
            )
        query_BQW = self._queries(queries, len(features_BTND))
        x_BMD = (self.norm(features_BTND) + self.time_code[: features_BTND.shape[1]]).flatten(1, 2)
        attended_BKQH = functional.scaled_dot_product_attention(
            self._heads(query_BQW), self._heads(self.key(x_BMD)), self._heads(self.value(x_BMD))
        )
        token_BQW = query_BQW + self.attended(attended_BKQH.transpose(1, 2).flatten(2))
        token_BQW = token_BQW + self.mlp(self.mlp_norm(token_BQW))
        outputs: Tensor = self.out(token_BQW)
        return outputs

    def _heads(self, x_BMW: Tensor) -> Tensor:
        return x_BMW.unflatten(-1, (self.config.heads, -1)).transpose(1, 2)

    def _queries(self, queries: Tensor | None, batch: int) -> Tensor:
        if isinstance(self.query, nn.Parameter):
            if queries is not None:
                raise ValueError("queries: got some, expected None: this readout has learned ones")
            return self.query.expand(batch, -1, -1)
        if queries is None or queries.ndim != 3 or queries.shape[::2] != (batch, self.config.query_dim):
            got = None if queries is None else tuple(queries.shape)
            raise ValueError(f"queries: got {got}, expected [{batch}, Q, {self.config.query_dim}]")
        projected: Tensor = self.query(queries)
        return projected


def fourier(values: Tensor, bands: int = 16) -> Tensor:
    """Sines and cosines of numbers in 0..1 at `bands` frequencies that double: [..., C] to [..., C (1 + 2 bands)]."""
    scales = torch.pi * 2.0 ** torch.arange(bands, device=values.device, dtype=values.dtype)
    angles = (values[..., None] * scales).flatten(-2)
    return torch.cat([values, angles.sin(), angles.cos()], -1)
