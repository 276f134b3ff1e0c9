"""Synthetic actions on the disk, and a model that sees where something bright is, quickly."""

from types import SimpleNamespace

import pytest
import torch

from rvm_training.evaluation.models import ModelInfo, VideoModel
from rvm_training.readout.actions import Classification
from rvm_training.readout.task import ClipSettings
from rvm_training.synthetic.action_clips import ActionConfig, write_actions

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


@pytest.fixture
def places():
    return Places()


@pytest.fixture(scope="session")
def actions(tmp_path_factory):
    """Folder of actions, laid out as Something-Something v2."""
    root = tmp_path_factory.mktemp("actions")
    write_actions(root, ActionConfig(train=160, val=40, frames=6, side=SIDE))
    return root


@pytest.fixture
def task(actions):
    return Classification(actions, ClipSettings(frames=6, size=(SIDE, SIDE)), width=32, heads=2)


@pytest.fixture
def few(task):
    """The task with eight clips of each split."""
    whole = task.samples
    return SimpleNamespace(task=task, samples=lambda split: whole(split)[:8])
