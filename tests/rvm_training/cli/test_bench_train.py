"""The training benchmark times the same computation in every layout, and reports figures that follow from the times."""

import json

import pytest
import torch

from rvm_model import RVM, DecoderConfig, RVMConfig
from rvm_training.__main__ import main
from rvm_training.cli.bench_train import VARIANTS, _use_einsum

TINY = RVMConfig(
    dim=16, encoder_depth=1, encoder_heads=2, encoder_mlp_dim=32, core_depth=1, core_heads=2, core_mlp_dim=32,
    decoder=DecoderConfig(depth=1, dim=16, heads=2, mlp_dim=32),
)  # fmt: skip


def test_the_plain_port_computes_what_the_network_computes():
    torch.manual_seed(0)
    network, plain = RVM(TINY), RVM(TINY)
    plain.load_state_dict(network.state_dict())
    _use_einsum(plain)
    sources, targets = (torch.randint(0, 256, (1, 2, 64, 64, 3), dtype=torch.uint8) for _ in range(2))
    order = torch.randperm(16).expand(1, 2, -1)
    with torch.no_grad():
        got, expected = (n.reconstruct(sources, targets, permutation=order).frames for n in (plain, network))
    assert torch.allclose(got, expected, atol=1e-5)


def test_figures_follow_from_the_times(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rvm_training.cli.bench_train.PRESETS", {"rvm_small16_256": TINY})
    monkeypatch.setattr("rvm_training.cli.bench_train._rate", lambda action: (action(0), 10.0)[1])
    variants = [name for name in VARIANTS if "compiled" not in name]
    out = tmp_path / "b.json"
    words = ["--size", "64", "64", "--batch", "3", "--rounds", "1", "--json", str(out), "--variants", *variants]
    assert main(["bench-train", *words]) == 0
    report = json.loads(out.read_text())
    assert report["step"].keys() == set(variants)
    for figures in report["step"].values():
        assert figures["clips_per_s"] == pytest.approx(3 / figures["ms"] * 1e3)
    times = report["step"].values()
    products = [figures["flop_utilisation"] * figures["ms"] for figures in times]
    assert products == pytest.approx([products[0]] * len(products)), "the same operations in every layout"
    assert report["step"]["plain port"]["memory_gib"] > report["step"]["fused attention"]["memory_gib"]
    assert report["step"]["fused attention"]["memory_gib"] > report["step"]["recompute block"]["memory_gib"]
    assert report["data"]["transfer and resize"] == 30
    assert "plain port" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--batch", "0"]])
def test_nothing_to_measure_is_refused(words, capsys):
    assert main(["bench-train", *words]) == 1
    assert "expected at least 1 of each" in capsys.readouterr().err
