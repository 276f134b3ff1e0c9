"""The pixel decoder: masked target frames are filled in by attending to the source features (paper section 3.3).

Shape legend: B batch, S source tokens of a clip (all frames, CLS included), T target frames, N patches, n visible
patches, D encoder width, E decoder width, P = patch * patch * 3 values of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvm_model.config import DecoderConfig, RVMConfig
from rvm_model.layers import CrossTransformer, lecun_normal_
from rvm_model.position import position_code


class PixelDecoder(nn.Module):
    """Decodes every target frame against the features of all source frames.

    The keys and values are the same for every target, so they are embedded and projected once per clip.
    """

    def __init__(self, config: RVMConfig, decoder: DecoderConfig) -> None:
        super().__init__()
        self.config = decoder
        self.patch_size = config.patch_size
        self.position = config.position
        self.mask_token = nn.Parameter(torch.empty(1, decoder.dim))
        nn.init.normal_(self.mask_token, std=0.02)
        self.embedder = nn.Linear(config.dim, decoder.dim)
        self.delta_embedder = nn.Linear(decoder.max_delta, decoder.dim)
        self.transformer = CrossTransformer(decoder.dim, decoder.depth, decoder.heads, decoder.mlp_dim)
        self.detokenizer = nn.Linear(decoder.dim, config.patch_size**2 * 3)
        for linear in (self.embedder, self.delta_embedder, self.detokenizer):
            lecun_normal_(linear.weight, linear.in_features)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        source_BSD: Tensor,
        target_BTnD: Tensor,
        restore_BTN: Tensor,
        deltas_BT: Tensor | None,
        grid: tuple[int, int],
        origin: tuple[int, int] = (0, 0),
    ) -> Tensor:
        """Reconstruct target frames.

        Args:
            source_BSD: features of all source frames, concatenated over time.
            target_BTnD: encoded visible tokens of the targets, CLS first ([B, T, 1 + n, D]).
            restore_BTN: for each patch its place in the shuffled order (argsort of the permutation).
            deltas_BT: time offsets of the targets in frames, or None to leave the code out.
            grid: patch rows and columns.
            origin: row and column of the first patch, as the features were made with.

        Returns:
            frames [B, T, H, W, 3], nominally in [0, 1] and not clipped.
        """
        batch, targets, patches = restore_BTN.shape
        embedded_BTnE = self.embedder(target_BTnD)
        visible_BTnE = embedded_BTnE[:, :, 1:]
        hidden = patches - visible_BTnE.shape[2]
        mask_tokens = self.mask_token.to(embedded_BTnE.dtype).expand(batch, targets, hidden, -1)
        shuffled_BTNE = torch.cat([visible_BTnE, mask_tokens], dim=2)
        tokens_BTNE = shuffled_BTNE.gather(2, restore_BTN[..., None].expand_as(shuffled_BTNE))
        if deltas_BT is not None:
            tokens_BTNE = tokens_BTNE + self.delta_embedder(self._one_hot(deltas_BT, tokens_BTNE))[:, :, None]
        # Here the code is made for the frame's own grid: no resizing, unlike the encoder's.
        tokens_BTNE = tokens_BTNE + position_code(
            grid,
            grid,
            self.config.dim,
            kind=self.position,
            origin=origin,
            device=tokens_BTNE.device,
            dtype=tokens_BTNE.dtype,
        )
        tokens = torch.cat([embedded_BTnE[:, :, :1], tokens_BTNE], dim=2).flatten(0, 1)
        decoded = self.transformer(tokens, self.embedder(source_BSD))
        return self._unpatch(self.detokenizer(decoded[:, 1:]), grid).unflatten(0, (batch, targets))

    def _one_hot(self, deltas_BT: Tensor, like: Tensor) -> Tensor:
        # As jax.nn.one_hot: an offset out of range gives zeros, so only the embedder's bias is added.
        classes = torch.arange(self.config.max_delta, device=like.device)
        return (deltas_BT.to(like.device)[..., None] == classes).to(like.dtype)

    def _unpatch(self, patches_GNP: Tensor, grid: tuple[int, int]) -> Tensor:
        rows, columns = grid
        patch = self.patch_size
        x = patches_GNP.reshape(-1, rows, columns, patch, patch, 3)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, rows * patch, columns * patch, 3)
