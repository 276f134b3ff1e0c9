"""Self-attention over windows: features of a frame know those before it in the window, and none after."""

import dataclasses

import numpy as np
import pytest
import torch

from rvm_model import load_checkpoint, save_checkpoint
from rvm_model.weights import seeded
from rvm_training.evaluation.models import Choice, load_model
from rvm_training.evaluation.models.windowed import WINDOW, WindowedModel


@pytest.fixture
def network(tiny_model):
    sizes = dataclasses.replace(load_checkpoint(tiny_model).config, aggregator="self_attention")
    return seeded(sizes, 0).eval()


@pytest.fixture
def model(network, tmp_path):
    save_checkpoint(network, tmp_path / "attentive.safetensors")
    return load_model(Choice(str(tmp_path / "attentive.safetensors"), device="cpu"), (32, 48))


def test_weights_without_a_recurrence_are_run_over_windows(model):
    assert isinstance(model, WindowedModel)
    assert (model.info.name, model.info.kind, model.info.trained) == ("attentive", "clips", True)


def test_the_features_are_those_of_a_windows_last_frame(model, network):
    frames = np.random.default_rng(0).integers(0, 256, (WINDOW + 2, 32, 48, 3), np.uint8)
    maps = model.features(frames)
    assert tuple(maps.shape) == (WINDOW + 2, 2, 3, network.config.dim)
    for end in (1, 2, WINDOW + 2):
        window = torch.from_numpy(frames[max(0, end - WINDOW) : end])[None]
        with torch.inference_mode():
            expected = network.forward_clip(window)[0][0, -1, 1:].unflatten(0, (2, 3))
        torch.testing.assert_close(maps[end - 1], expected, rtol=0, atol=1e-5)


def test_a_size_that_is_no_multiple_of_the_patch_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        load_model(Choice(str(tmp_path / "attentive.safetensors"), device="cpu"), (32, 41))
