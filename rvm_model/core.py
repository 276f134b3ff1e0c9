"""The recurrent core: a gated update of the state by a transformer that looks back at the state (paper section 3.2).

Shape legend: B batch, N tokens of a frame with CLS, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvm_model.config import RVMConfig
from rvm_model.layers import CrossTransformer, lecun_normal_

STATE_NORM_EPS = 1e-4
"""The state's LayerNorm has its own eps, a scale and no bias in the authors' code."""


class GatedCore(nn.Module):
    """One recurrent step: a GRU-like convex update whose candidate comes from cross-attention to the gated state.

    u = sigmoid(W_u x + U_u s), r = sigmoid(W_r x + U_r s), h = Transformer(x, keys/values r * LayerNorm(s)),
    s' = (1 - u) * s + u * h. The reset gate multiplies the normalised state. The output is the new state.
    """

    def __init__(self, config: RVMConfig) -> None:
        super().__init__()
        dim = config.dim
        self.input_update = nn.Linear(dim, dim, bias=False)
        self.input_reset = nn.Linear(dim, dim, bias=False)
        self.state_update = nn.Linear(dim, dim, bias=False)
        self.state_reset = nn.Linear(dim, dim, bias=False)
        for gate in (self.input_update, self.input_reset, self.state_update, self.state_reset):
            lecun_normal_(gate.weight, dim)
        self.state_norm = nn.LayerNorm(dim, eps=STATE_NORM_EPS, bias=False)
        self.transformer = CrossTransformer(dim, config.core_depth, config.core_heads, config.core_mlp_dim)

    def forward(self, x_BND: Tensor, state_BND: Tensor) -> Tensor:
        """Advance the state [B, N, D] by one encoded frame [B, N, D]; returns the new state, which is the output."""
        update = torch.sigmoid(self.input_update(x_BND) + self.state_update(state_BND))
        reset = torch.sigmoid(self.input_reset(x_BND) + self.state_reset(state_BND))
        candidate = self.transformer(x_BND, reset * self.state_norm(state_BND))
        return (1 - update) * state_BND + update * candidate
