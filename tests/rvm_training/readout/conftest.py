"""Synthetic actions on the disk, and a model that sees where something bright is, quickly."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rvm_training.evaluation.models import ModelInfo, VideoModel
from rvm_training.readout.actions import Classification
from rvm_training.readout.cache import cache_features
from rvm_training.readout.fit import FitSettings, fit_head
from rvm_training.readout.task import ClipSettings
from rvm_training.synthetic.action_clips import write_actions
from rvm_training.synthetic.clips_config import ClipsConfig
from rvm_training.synthetic.readout_clips import CLIP_WRITERS

SIDE = 32


class Places(VideoModel):
    """Each patch tells how bright it is, and where it lies."""

    def __init__(self, name="places"):
        super().__init__(ModelInfo(name, "frame by frame", "sha256:0", True, "fp32", "torch", 8), (SIDE, SIDE))
        self.calls = 0

    def features(self, frames):
        self.calls += 1
        bright = torch.nn.functional.avg_pool2d(torch.from_numpy(frames).float().mean(-1)[:, None], 8) / 255
        cells = self.grid[0] * self.grid[1]
        place = torch.eye(cells).expand(len(frames), -1, -1)
        return torch.cat([bright.flatten(1)[..., None] * place, place], -1).unflatten(1, self.grid)


class Centres(VideoModel):
    """Each frame tells where what is bright begins, lies and ends."""

    def __init__(self):
        super().__init__(ModelInfo("centres", "recurrent", "sha256:0", True, "fp32", "torch", SIDE), (SIDE, SIDE))

    def features(self, frames):
        bright = (torch.from_numpy(frames).float().mean(-1) > 100).float()
        ends = torch.cat([extent(bright.amax(2)), extent(bright.amax(1))], 1)
        return torch.cat([ends, 1 - ends], 1)[:, None, None]


def extent(line):
    """Middle, beginning and end of what is there along an axis, in 0..1."""
    at = (torch.arange(SIDE) + 0.5) / SIDE
    middle = (line * at).sum(1) / line.sum(1).clamp(min=1e-6)
    return torch.stack([middle, 1 - (line * (1 - at)).amax(1), (line * at).amax(1)], 1)


@pytest.fixture
def places():
    return Places()


@pytest.fixture
def centres():
    return Centres()


@pytest.fixture
def fit(tmp_path):
    """Function training a head of a task on a model's features."""

    def train(task, model, **settings):
        cached = {
            split: cache_features(model, task, split, task.samples(split), tmp_path) for split in ("train", "val")
        }
        dim = model.features(np.zeros((1, SIDE, SIDE, 3), np.uint8)).shape[-1]
        return fit_head(
            task, cached["train"], cached["val"], dim=dim, grid=model.grid, seed=0, device=torch.device("cpu"),
            settings=FitSettings(batch=32, warmup_steps=20, patience=9, **settings), show=False,
        )  # fmt: skip

    return train


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Function giving a folder of clips for a readout, made once."""

    @cache
    def make(task, train, val):
        root = tmp_path_factory.mktemp(task)
        CLIP_WRITERS[task](root, ClipsConfig(train, val, frames=8, side=SIDE))
        return root

    return make


@pytest.fixture(scope="session")
def actions(tmp_path_factory):
    """Folder of actions, laid out as Something-Something v2."""
    root = tmp_path_factory.mktemp("actions")
    write_actions(root, ClipsConfig(train=160, val=40, frames=6, side=SIDE))
    return root


@pytest.fixture
def task(actions):
    return Classification(actions, ClipSettings(frames=6, size=(SIDE, SIDE)), width=32, heads=2)


@pytest.fixture
def few(task):
    """The task with eight clips of each split."""
    whole = task.samples
    return SimpleNamespace(task=task, samples=lambda split: whole(split)[:8])
