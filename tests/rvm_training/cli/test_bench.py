"""`rvm bench` runs every engine and writes what it saw."""

import json

import numpy as np
import pytest
import torch

from rvm_model import RVM, RVMConfig, save_checkpoint
from rvm_model.engines import parity
from rvm_model.engines.openvino_engine import has_bf16
from rvm_training.__main__ import main

INT8 = f"openvino int8 and {'bf16' if has_bf16() else 'fp32'}"


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setitem(parity.TOLERANCE, "int8", 0.2)  # a network this small has few values to average over
    config = RVMConfig(
        dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=8, core_heads=4, core_mlp_dim=8, decoder=None
    )
    torch.manual_seed(0)
    for name in ("m", "other"):
        save_checkpoint(RVM(config), tmp_path / f"{name}.safetensors")
    monkeypatch.setenv("RVM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("rvm_training.cli.bench.STARTS", 1)
    return [
        "bench", "--model", str(tmp_path / "m.safetensors"), "--sizes", "32x48", "--cameras", "1", "2",
        "--frames", "12", "--window", "1", "2", "--keep", str(tmp_path / "engines"),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_page_has_every_engine_and_figures_that_follow_from_the_times(words, tmp_path, capsys):
    out = tmp_path / "docs"
    other = ["--also", f"{tmp_path / 'other.safetensors'}@48x32"]
    assert main([*words, *other, "--rounds", "1", "--out", str(out)]) == 0
    text = (out / "benchmarks.md").read_text()
    assert text in capsys.readouterr().out
    assert (out / "images" / "benchmarks.png").stat().st_size > 10_000
    assert "rvm bench --model m.safetensors --sizes 32x48" in text, "no paths of this machine"
    assert str(tmp_path) not in text
    figures = json.loads((out / "benchmarks.json").read_text())
    assert {(step["network"], step["height"], step["name"], step["cameras"]) for step in figures["steps"]} == {
        (network, height, name, cameras)
        for network, height in (("m.safetensors", 32), ("other.safetensors", 48))
        for name in ("plain torch", "torch engine", "onnx fp32", "openvino fp32", "onnx int8 and fp32", INT8)
        for cameras in (1, 2)
    }
    assert "### other.safetensors, 48x32, 2 cameras" in text
    for step in figures["steps"]:
        assert (step["error"] is not None) == (step["name"].startswith(("onnx", "openvino")))
    row = next(line for line in text.splitlines() if line.startswith("| openvino fp32 | "))
    plain, fast = (
        np.array(next(step["timing"]["each_ms"] for step in figures["steps"] if step["name"] == name))
        for name in ("plain torch", "openvino fp32")
    )
    assert f"{np.median(plain / fast):.2f} (" in row
    early, late = (np.array(figures["stream"][name]["each_ms"]) for name in ("early", "late"))
    assert f"takes {np.median(late / early):.3f} times" in text
    assert len(figures["stream"]["stream_ms"]) == 12
    assert figures["starts"]["the default"]["engine"] == "openvino fp32"
    for start in figures["starts"].values():
        imports, loading, whole = (np.array(part["each_ms"]) for part in start["parts"].values())
        np.testing.assert_allclose(imports + loading, whole)
        assert min(imports.min(), loading.min()) > 0
    (built,) = [path for path in (tmp_path / "cache" / "engines").iterdir() if path.is_dir()]
    assert built.name.startswith("openvino-32x48"), "the default's process built it, and the timed ones found it"
    assert set(figures["shares"]) == {"torch engine", "openvino fp32", INT8}


def test_what_makes_no_sense_is_refused_before_anything_is_timed(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rvm_training.cli.bench.time_steps", lambda *_, **__: pytest.fail("it was timed"))
    assert main([*words, "--rounds", "0"]) == 1
    assert "have to be at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--also", "untrained:rvm_small16_256@480"])
    assert "got '480', expected HEIGHTxWIDTH" in capsys.readouterr().err
    assert main([*words, "--also", "nowhere.npz@32x48"]) == 1
    (tmp_path / "a").mkdir()
    (tmp_path / "other.safetensors").rename(tmp_path / "a" / "m.safetensors")
    assert main([*words, "--also", f"{tmp_path / 'a' / 'm.safetensors'}@32x48"]) == 1
    assert "expected different names, folders left out" in capsys.readouterr().err
    (tmp_path / "notebook.ipynb").write_text("{}")
    assert main([*words, "--authors", str(tmp_path / "notebook.ipynb")]) == 1
    assert "is no notebook" in capsys.readouterr().err
