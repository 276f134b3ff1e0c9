"""`rvm readout` from the command line."""

import json

import pytest
import torch

from rvm_model.engines import TorchEngine
from rvm_model.heads.readout import load_readout
from rvm_model.weights import load_weights
from rvm_training.__main__ import main
from rvm_training.synthetic.clips_config import ClipsConfig


@pytest.fixture
def words(tmp_path, tiny_model, monkeypatch):
    small = ClipsConfig(train=16, val=8, frames=8, side=32)
    monkeypatch.setattr("rvm_training.synthetic.clips_config.ClipsConfig", lambda: small)
    return [
        "--model", tiny_model, "--size", "32x48", "--steps", "4", "--batch", "8", "--warmup-steps", "1",
        "--validate-every", "2", "--seeds", "2", "--device", "cpu", "--cache", str(tmp_path / "cache"),
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip


ATTENTIVE = ["--frames", "8", "--width", "16", "--heads", "2"]


def test_a_readout_is_trained_on_clips_that_are_made(words, tmp_path, capsys):
    words += ATTENTIVE
    assert main(["readout", "classification", "synthetic", *words, "--lr", "1e-3", "1e-2"]) == 0
    saved = json.loads((tmp_path / "out" / "classification_tiny.json").read_text())
    assert saved["data"] == "classification (made)"
    assert saved["settings"]["lr"] in (1e-3, 1e-2)
    assert (saved["settings"]["train clips"], saved["settings"]["val clips"], saved["settings"]["width"]) == (16, 8, 16)
    assert len(saved["parts"]) == 2
    assert "top-1" in capsys.readouterr().out
    # The data that were made are data like any other.
    made = tmp_path / "cache" / "synthetic" / "classification"
    assert main(["readout", "classification", str(made), *words]) == 0


@pytest.mark.parametrize(("task", "metric"), [("depth", "AbsRel"), ("boxes", "mIoU"), ("points", "average Jaccard")])
def test_other_readouts_are_trained_on_clips_that_are_made(words, tmp_path, task, metric):
    assert main(["readout", task, "synthetic", *words, *ATTENTIVE, "--seeds", "1"]) == 0
    saved = json.loads((tmp_path / "out" / f"{task}_tiny.json").read_text())
    assert saved["metrics"][metric] >= 0
    assert 14 <= saved["settings"]["train clips"] <= 16  # A thing may be too small to be followed.


def test_a_head_for_the_node_is_written(words, tmp_path, capsys, tiny_model):
    assert main(["readout", "segmentation", "synthetic", *words, "--hidden", "8", "--lr", "1e-2"]) == 0
    path = tmp_path / "out" / "segmentation_tiny.safetensors"
    assert str(path) in capsys.readouterr().out
    engine = TorchEngine(*load_weights(tiny_model), size=(32, 48), device="cpu")
    head = load_readout(path)
    head.check_engine(engine.info)
    assert head.labels.names == ("wall", "floor", "thing")
    assert (head.image_size, head.head.config.hidden, head.trained_on) == ((32, 48), 8, "segmentation (made)")
    features, _ = engine.step(torch.zeros(1, 32, 48, 3, dtype=torch.uint8), engine.init_state(1))
    assert head(features[0, 1:].unflatten(0, (2, 3))).shape == (2, 3, 3)
    # What the node cannot run gets no head.
    assert main(["readout", "segmentation", "synthetic", *words, "--model", "pixels"]) == 0
    assert "no head is written" in capsys.readouterr().out
    assert not (tmp_path / "out" / "segmentation_pixels.safetensors").exists()


def test_options_of_other_tasks_are_refused(words, capsys):
    assert main(["readout", "segmentation", "synthetic", *words, "--width", "16"]) == 1
    assert "got --width, expected only --context, --frames, --hidden, --size" in capsys.readouterr().err
    assert main(["readout", "classification", "synthetic", *words, "--per-video", "2"]) == 1
    assert "classification: got --per-video" in capsys.readouterr().err


def test_sizes_that_fit_no_head_are_told_before_features_are_computed(words, tmp_path, capsys):
    assert main(["readout", "points", "synthetic", *words, "--frames", "3"]) == 1
    assert "points: got 3 frames, expected a multiple of the 8 queries" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_folder_of_something_else_is_told(words, tmp_path, capsys):
    assert main(["readout", "classification", str(tmp_path), *words]) == 1
    assert "got no labelled video of train" in capsys.readouterr().err
