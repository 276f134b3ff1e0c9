"""The suite runs to its end, and what it runs are commands that one can type."""

import json
from pathlib import Path

import pytest

from rvm_model import DecoderConfig, RVMConfig, save_checkpoint
from rvm_model.weights import seeded
from rvm_training.__main__ import main
from rvm_training.cli.eval import PROTOCOLS
from rvm_training.cli.eval_suite import main as suite
from rvm_training.cli.eval_suite import steps
from rvm_training.cli.readout import TASKS


@pytest.fixture
def model(tmp_path):
    config = RVMConfig(
        dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=24, core_depth=1, core_heads=4, core_mlp_dim=24,
        base_grid=(4, 4), decoder=DecoderConfig(dim=24, depth=1, heads=3, mlp_dim=24),
    )  # fmt: skip
    save_checkpoint(seeded(config, 0), tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


def test_everything_runs_and_ends_in_one_page(model, tmp_path, capsys):
    out = tmp_path / "out"
    # At 64 pixels and patches of 16, 95 % leave none visible, which is as good a test.
    assert main(["eval", "suite", "--model", model, "--quick", "--device", "cpu", "--out", str(out)]) == 0
    protocols = {json.loads(path.read_text())["protocol"] for path in out.glob("*.json")}
    assert protocols == TASKS.keys() | {
        "davis-2017", "jhmdb", "vip", "horizon", "noise-square", "robustness", "retrieval", "reconstruction", "cost",
    }  # fmt: skip
    page = (out / "report.html").read_text()
    assert page.count("<h2>") == len(protocols) + 2  # And all together, and features seen.
    assert "data:video/mp4;base64," in page
    assert "rvm eval davis" in capsys.readouterr().out


def test_a_model_without_a_decoder_leaves_out_what_needs_one(tiny_model, tmp_path, capsys, monkeypatch):
    ran = []
    monkeypatch.setattr("rvm_training.__main__.main", lambda words: ran.append(words) or 0)
    suite("suite", ["--model", tiny_model, "--out", str(tmp_path)])
    assert "has no decoder: reconstruction is left out" in capsys.readouterr().out
    whole = steps(tiny_model, 16, "auto", tmp_path, quick=False)
    assert ran == [words for words in whole if words[1] != "reconstruction"]
    assert len(ran) == len(whole) - 1


def test_a_step_that_fails_ends_the_suite(tiny_model, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr("rvm_training.__main__.main", lambda words: ran.append(words) or (words[1] == "vip"))
    assert suite("suite", ["--model", tiny_model, "--out", str(tmp_path)]) == 1
    assert [words[1] for words in ran] == ["data", "davis", "jhmdb", "vip"]


def test_every_protocol_and_readout_has_a_step():
    run = {tuple(words[:2]) for words in steps("model", 16, "cpu", Path("out"), quick=False)}
    protocols = {("eval", name) for name in PROTOCOLS.keys() - {"suite", "card"}}
    assert run == protocols | {("readout", name) for name in TASKS}


def test_raw_pixels_stand_beside_a_network_in_patches_as_large_as_its_own():
    beside = [words for words in steps("model", 8, "cpu", Path("out"), quick=False) if "--model" in words]
    assert {word for words in beside for word in words if word.startswith("pixels")} == {"pixels:8"}
