"""The per-frame encoder: patch embedding with a fixed position code, a learned CLS token, a pre-norm ViT.

Shape legend: B batch, H W image sides in pixels, N patches (row-major), D width. Paper section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvm_model.config import RVMConfig
from rvm_model.layers import LAYER_NORM_EPS, Block, as_unit_float, lecun_normal_
from rvm_model.position import position_code


class Tokenizer(nn.Module):
    """Cuts frames into patches, projects each linearly and adds the position code."""

    def __init__(self, config: RVMConfig) -> None:
        super().__init__()
        self.config = config
        # The authors' strided convolution, as the matrix product that it is: no change of layout, and on CUDA no TF32,
        # which cuDNN's convolutions use unless told otherwise.
        self.patch_embedding = nn.Linear(config.patch_size**2 * 3, config.dim)
        lecun_normal_(self.patch_embedding.weight, self.patch_embedding.in_features)
        nn.init.zeros_(self.patch_embedding.bias)

    def forward(self, frames_BHWC: Tensor, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """Map frames [B, H, W, 3], uint8 or float in [0, 1], to patch tokens [B, N, D]; see `position_code`."""
        grid = self.config.grid(*frames_BHWC.shape[1:3])
        weight = self.patch_embedding.weight
        rows, columns, patch = *grid, self.config.patch_size
        # Patches before the conversion to float: uint8 is a quarter to move.
        patches = (
            frames_BHWC.reshape(-1, rows, patch, columns, patch, 3)
            .transpose(2, 3)
            .reshape(-1, rows * columns, patch * patch * 3)
        )
        tokens_BND = self.patch_embedding(as_unit_float(patches, weight.dtype))
        code_ND = position_code(
            grid,
            self.config.base_grid,
            self.config.dim,
            kind=self.config.position,
            origin=origin,
            device=weight.device,
            dtype=weight.dtype,
        )
        return tokens_BND + code_ND


class Encoder(nn.Module):
    """Pre-norm ViT blocks and a final LayerNorm; tokens in, tokens out."""

    def __init__(self, config: RVMConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Block(config.dim, config.encoder_heads, config.encoder_mlp_dim) for _ in range(config.encoder_depth)
        )
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Map tokens [B, n, D] (any n) to [B, n, D]."""
        for layer in self.layers:
            tokens_BND = layer(tokens_BND)
        return self.norm(tokens_BND)


def prepend_cls(cls_token: Tensor, tokens_BND: Tensor) -> Tensor:
    """Put the CLS token [1, D] in front of tokens [B, N, D]; returns [B, 1 + N, D]. It gets no position code."""
    return torch.cat([cls_token.expand(tokens_BND.shape[0], 1, -1), tokens_BND], dim=1)
