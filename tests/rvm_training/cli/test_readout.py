"""`rvm readout` from the command line."""

import json

import pytest

from rvm_training.__main__ import main
from rvm_training.synthetic import action_clips


@pytest.fixture
def words(tmp_path, tiny_model, monkeypatch):
    small = action_clips.ActionConfig(train=16, val=8, frames=4, side=32)
    monkeypatch.setattr("rvm_training.synthetic.action_clips.write_actions", lambda root: write(root, small))
    return [
        "--model", tiny_model, "--size", "32x48", "--frames", "4", "--width", "16", "--heads", "2", "--steps", "4",
        "--batch", "8", "--warmup-steps", "1", "--validate-every", "2", "--seeds", "2", "--device", "cpu",
        "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip


write = action_clips.write_actions


def test_a_readout_is_trained_on_clips_that_are_made(words, tmp_path, capsys):
    assert main(["readout", "classification", "synthetic", *words, "--lr", "1e-3", "1e-2"]) == 0
    saved = json.loads((tmp_path / "out" / "classification_tiny.json").read_text())
    assert saved["data"] == "synthetic"
    assert saved["settings"]["lr"] in (1e-3, 1e-2)
    assert (saved["settings"]["train clips"], saved["settings"]["val clips"], saved["settings"]["width"]) == (16, 8, 16)
    assert len(saved["parts"]) == 2
    assert "top-1" in capsys.readouterr().out
    # The data that were made are data like any other.
    made = tmp_path / "cache" / "synthetic" / "classification"
    assert main(["readout", "classification", str(made), *words]) == 0


def test_a_folder_of_something_else_is_told(words, tmp_path, capsys):
    assert main(["readout", "classification", str(tmp_path), *words]) == 1
    assert "got no labelled video of train" in capsys.readouterr().err
