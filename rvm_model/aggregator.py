"""Self-attention over a whole clip in place of the recurrent core: the paper's ablation, for comparison only.

It sees all frames at once, so it cannot stream. The paper does not say how it is built; this one has as many blocks as
the core, of the core's sizes without the cross-attention, and a fixed code of the frame's place in the clip.

Shape legend: B batch, T frames, N tokens of a frame with CLS, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from rvm_model.config import RVMConfig
from rvm_model.layers import LAYER_NORM_EPS, Block
from rvm_model.position import position_code


class SelfAttentionAggregator(nn.Module):
    """Pre-norm blocks over the tokens of all frames together."""

    def __init__(self, config: RVMConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.dim, config.core_heads, config.core_mlp_dim) for _ in range(config.core_depth)
        )
        self.output_norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)

    def forward(self, tokens_BTND: Tensor) -> Tensor:
        """Map the encoded frames of a clip [B, T, N, D] to features [B, T, N, D]."""
        frames = tokens_BTND.shape[1]
        place = (frames, 1)
        code_TD = position_code(place, place, tokens_BTND.shape[-1], device=tokens_BTND.device, dtype=tokens_BTND.dtype)
        x_BMD = (tokens_BTND + code_TD[:, None]).flatten(1, 2)
        for block in self.blocks:
            x_BMD = block(x_BMD)
        return self.output_norm(x_BMD).unflatten(1, (frames, -1))
