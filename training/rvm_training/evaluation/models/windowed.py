"""RVM with self-attention in place of the recurrent core, the paper's ablation, for evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from rvm_model.preprocess import as_tensor
from rvm_model.weights import load_weights
from rvm_training.evaluation.models.base import ModelInfo, Video, VideoModel

WINDOW = 4
"""Frames that are seen together: the sources of a clip in pretraining, by default and in the paper."""


class WindowedModel(VideoModel):
    """A frame's features are those of the last frame of a window that ends with it: it sees what a recurrence would."""

    def __init__(self, weights: str, name: str, size: tuple[int, int], device: torch.device) -> None:
        """Load weights.

        Args:
            weights: of a network that aggregates by self-attention, as `load_weights` takes them.
            name: what tables call it.
            size: rows and columns of the frames.
            device: where it runs.

        Raises:
            OSError: there is no such file.
            ValueError: the weights are not usable, or do not fit the size.
        """
        network, info = load_weights(weights)
        patch = network.config.patch_size
        network.config.grid(*size)  # Refuses what does not fit.
        super().__init__(
            ModelInfo(name, "clips", info.identity, info.trained, "fp32", f"torch on {device.type}", patch), size
        )
        self._network = network.to(device)
        self._device = device

    @torch.inference_mode()
    def features(self, frames: Video) -> Tensor:
        """Feature maps [T, h, w, D]; see `VideoModel.features`."""
        self.check(frames)
        tokens_TND = torch.cat([self._network.encode(as_tensor(frame)[None].to(self._device)) for frame in frames])
        maps = []
        for end in range(1, len(tokens_TND) + 1):
            window = tokens_TND[max(0, end - WINDOW) : end]
            maps.append(self._network.core(window[None])[0, -1, 1:])
        return torch.stack(maps).unflatten(1, self.grid)
