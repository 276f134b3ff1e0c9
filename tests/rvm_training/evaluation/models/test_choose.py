"""One string chooses what is evaluated, and what it cannot be is told."""

import numpy as np
import pytest
import torch

from rvm_model import load_checkpoint
from rvm_training.evaluation.models import Choice, load_model

SIZE = (32, 48)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), np.uint8)


def test_features_are_those_of_the_network_frame_after_frame(tiny_model, frames):
    model = load_model(Choice(tiny_model, device="cpu"), SIZE)
    features = model.features(frames)
    network = load_checkpoint(tiny_model)
    state = network.init_state(1, *SIZE)
    for frame, got in zip(frames, features, strict=True):
        expected, state = network.step(torch.from_numpy(frame)[None], state)
        torch.testing.assert_close(got.flatten(0, 1), expected[0, 1:], rtol=0, atol=2e-5)
    assert features.shape == (4, *model.grid, network.config.dim)
    assert (model.info.kind, model.info.trained) == ("recurrent", True)


def test_without_recurrence_a_frame_knows_nothing_of_others(tiny_model, frames):
    recurrent = load_model(Choice(tiny_model, device="cpu"), SIZE)
    still = load_model(Choice(f"still:{tiny_model}", device="cpu"), SIZE)
    features = still.features(frames)
    torch.testing.assert_close(features[0], recurrent.features(frames)[0])
    torch.testing.assert_close(features[3], still.features(frames[3:])[0])
    assert not torch.allclose(features[3], recurrent.features(frames)[3], atol=1e-3)
    assert still.info.kind == "frame by frame"


def test_engines_give_what_the_network_gives(tiny_model, frames):
    pytest.importorskip("openvino")
    torch_features = load_model(Choice(tiny_model, device="cpu"), SIZE).features(frames)
    model = load_model(Choice(tiny_model, engine="openvino", device="cpu"), SIZE)
    torch.testing.assert_close(model.features(frames), torch_features, rtol=0, atol=1e-4)
    assert model.info.runs_on == "openvino on cpu"


def test_pixels_are_the_patches_themselves(frames):
    model = load_model(Choice("pixels:16", device="cpu"), SIZE)
    features = model.features(frames)
    assert features.shape == (4, 2, 3, 768)
    patch = torch.from_numpy(frames[2, 16:32, 32:48].astype(np.float32)) / 127.5 - 1
    torch.testing.assert_close(features[2, 1, 2], patch.flatten())


def test_what_is_left_of_the_frame_is_not_seen(frames):
    model = load_model(Choice("pixels:14", device="cpu"), SIZE)
    assert model.grid == (2, 3)
    assert model.features(frames).shape == (4, 2, 3, 588)


def test_frames_of_another_size_are_refused(tiny_model, frames):
    for spec in (tiny_model, "pixels"):
        with pytest.raises(ValueError, match=r"got uint8 \(4, 32, 47, 3\), expected uint8 \[T, 32, 48, 3\]"):
            load_model(Choice(spec, device="cpu"), SIZE).features(frames[:, :, 1:])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pixels:none", "expected pixels:PATCH"),
        ("pixels:64", "expected at least one patch of 64"),
        ("still:pixels", "expected still: before weights of RVM"),
        ("nothing.safetensors", "which is no file"),
    ],
)
def test_what_cannot_be_is_told(spec, message):
    with pytest.raises((ValueError, OSError), match=message):
        load_model(Choice(spec, device="cpu"), SIZE)


def test_tables_call_a_model_by_its_file_and_the_still_one_after_it(tiny_model, tmp_path):
    assert Choice(tiny_model).title == "tiny"
    assert Choice(f"still:{tiny_model}").title == "still:tiny"
    assert Choice(str(tmp_path)).title == tmp_path.name
    assert Choice("timm:vit@a/b.pth").title == "timm:vit"
    assert Choice(tiny_model, "mine").title == "mine"


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "cuda:x"])
def test_a_device_that_there_is_not_is_told(device):
    with pytest.raises(ValueError, match=f"device: got '{device}', expected cpu, auto"):
        load_model(Choice("pixels", device=device), SIZE)
