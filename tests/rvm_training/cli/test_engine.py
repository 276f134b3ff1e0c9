"""`rvm engine check`, as a user types it: an engine that computes otherwise on this machine is refused."""

import dataclasses
import math
import re

import pytest
import torch

from rvm_model import RVM, RVMConfig, save_checkpoint
from rvm_model.engines import EngineManifest
from rvm_model.engines.parity import Drift
from rvm_training.__main__ import main
from rvm_training.export.build import export

CONFIG = RVMConfig(
    dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=40, core_depth=1, core_heads=4, core_mlp_dim=56,
    base_grid=(2, 3), decoder=None,
)  # fmt: skip


@pytest.fixture
def weights(tmp_path):
    """Files of two tiny networks."""
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        paths.append(tmp_path / f"{seed}.safetensors")
        save_checkpoint(RVM(CONFIG), paths[-1])
    return paths


@pytest.fixture
def folder(weights, tmp_path):
    """An engine of the first network for up to 2 cameras, compared over 6 steps."""
    out = tmp_path / "engine"
    export(str(weights[0]), out, engine="onnx", size=(32, 48), cameras=2, steps=6, show=False)
    return out


def allow(folder, tolerance):
    manifest = EngineManifest.read(folder)
    dataclasses.replace(manifest, parity=dataclasses.replace(manifest.parity, tolerance=tolerance)).write(folder)


def test_without_weights_it_says_that_no_numbers_were_compared(folder, weights, capsys):
    assert main(["engine", "check", str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("runs here on cpu, files unchanged; its numbers were not compared on this machine")
    assert said.endswith(f"give --model {weights[0]}")


@pytest.mark.parametrize("real", [False, True])
def test_with_its_weights_the_error_on_this_machine_is_measured(folder, weights, video, capsys, real):
    path = str(video(frames=7))
    words = ["--video", path] if real else []
    assert main(["engine", "check", str(folder), "--model", str(weights[0]), *words]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith(f" at the worst of 6 steps on {path if real else 'rendered scenes'}")
    worst = float(re.search(r"safetensors: (\S+) at the worst", said)[1])
    assert 0 < worst < 1e-5
    if not real:
        assert worst == pytest.approx(EngineManifest.read(folder).parity.worst, rel=0.05), "the export's own frames"


def test_other_weights_than_the_engines_are_refused(folder, weights, capsys, monkeypatch):
    monkeypatch.setattr("rvm_training.cli.engine.load_engine", lambda *_, **__: pytest.fail("it was loaded"))
    assert main(["engine", "check", str(folder), "--model", str(weights[1])]) == 1
    said = capsys.readouterr().err
    assert re.search(r"got --model \S+1\.safetensors \(sha256:\w+\), expected .* \(sha256:\w+, there called", said)
    assert "give those, or export the engine again" in said


def test_an_engine_that_is_too_far_off_on_this_machine_is_refused(folder, weights, capsys):
    allow(folder, 1e-12)
    assert main(["engine", "check", str(folder), "--model", str(weights[0])]) == 1
    said = capsys.readouterr().err
    assert re.search(
        r"on cpu of this machine .* at step 1 and \S+ at the worst, on rendered scenes, expected at most 1\.0e-12", said
    )
    assert "export it again on this machine" in said


def test_features_that_are_not_numbers_are_refused(folder, weights, capsys, monkeypatch):
    drift = Drift([1e-6, math.nan, 1e-6], [1e-6, math.nan, 1e-6])
    monkeypatch.setattr("rvm_training.cli.engine.measure", lambda *_: drift)
    assert main(["engine", "check", str(folder), "--model", str(weights[0])]) == 1
    assert "by nan at step 2" in capsys.readouterr().err


def test_a_video_that_is_too_short_is_told(folder, weights, video, capsys):
    assert main(["engine", "check", str(folder), "--model", str(weights[0]), "--video", str(video(frames=6))]) == 1
    assert "got 6 frames, expected at least 7 for the comparison" in capsys.readouterr().err


def test_a_video_without_weights_is_a_wrong_command_line(folder, video, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["engine", "check", str(folder), "--video", str(video())])
    assert stopped.value.code == 2
    assert "--video: got no --model" in capsys.readouterr().err
