"""Small folders laid out as the datasets, and a model that knows their labels."""

import numpy as np
import pytest
import torch

from rvm_training.evaluation.models import ModelInfo, VideoModel
from rvm_training.synthetic.benchmarks import WRITERS, BenchmarkConfig

SIZE = (64, 112)
"""Rows and columns of the frames."""
FRAMES = 6


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory):
    """Folder with `davis`, `jhmdb` and `vip`, of two videos each."""
    root = tmp_path_factory.mktemp("benchmarks")
    for name, write in WRITERS.items():
        write(root / name, BenchmarkConfig(videos=2, frames=FRAMES, height=SIZE[0], width=SIZE[1]))
    return root


class Oracle(VideoModel):
    """Features that tell which label a patch has, from masks [T, H, W] that it is given: nothing can go wrong."""

    def __init__(self, masks, patch_size=4):
        size = tuple(masks.shape[1:])
        super().__init__(ModelInfo("oracle", "frame by frame", "", False, "fp32", "torch", patch_size), size)
        self.masks = masks

    def features(self, frames):
        patch = self.info.patch_size
        cells = self.masks[: len(frames), patch // 2 :: patch, patch // 2 :: patch].astype(np.int64)
        return torch.eye(32)[torch.from_numpy(cells)]


@pytest.fixture(scope="session")
def oracle():
    """Class of models that know the answer."""
    return Oracle
