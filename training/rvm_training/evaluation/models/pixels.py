"""Raw pixels as features: what any network has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from rvm_training.evaluation.models.base import ModelInfo, Video, VideoModel


class PixelModel(VideoModel):
    """Every patch is the list of its own pixels, in -1..1."""

    def __init__(
        self,
        size: tuple[int, int],
        *,
        name: str = "pixels",
        patch_size: int = 16,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(ModelInfo(name, "frame by frame", "", False, "fp32", f"torch on {device}", patch_size), size)
        self._device = torch.device(device)

    def features(self, frames: Video) -> Tensor:
        """Feature maps [T, h, w, 3 P P]; see `VideoModel.features`."""
        self.check(frames)
        (rows, columns), patch = self.grid, self.info.patch_size
        whole = torch.tensor(frames[:, : rows * patch, : columns * patch], device=self._device) / 127.5 - 1
        patches = whole.reshape(len(frames), rows, patch, columns, patch, 3).transpose(2, 3)
        return patches.reshape(len(frames), rows, columns, -1)
