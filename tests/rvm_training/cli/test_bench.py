"""`rvm bench`: its arithmetic, and that it runs."""

import json

import pytest
import torch

from rvm_model import RVM, RVMConfig, save_checkpoint
from rvm_training.__main__ import main
from rvm_training.cli.bench import Timing, interleaved


def test_a_timing_is_the_median_and_the_outer_deciles_in_milliseconds():
    timing = Timing.of([0.001 * n for n in range(1, 12)])
    assert (timing.median_ms, timing.p10_ms, timing.p90_ms) == pytest.approx((6.0, 2.0, 10.0))


def test_actions_run_in_turn_and_the_first_round_is_not_measured():
    order = []
    timings = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ababab"
    assert 0 <= timings["a"].p10_ms <= timings["a"].median_ms <= timings["a"].p90_ms


def test_the_command_prints_and_writes_its_figures(tmp_path, capsys):
    config = RVMConfig(
        dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=8, core_heads=4, core_mlp_dim=8, decoder=None
    )
    torch.manual_seed(0)
    save_checkpoint(RVM(config), tmp_path / "m.safetensors")
    words = ["bench", "--model", str(tmp_path / "m.safetensors"), "--size", "32", "48", "--camera", "40", "60"]
    assert main([*words, "--rounds", "1", "--json", str(tmp_path / "b.json")]) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["size"] == [32, 48]
    assert set(report["timings"]) >= {"resize", "engine step", "head: pca"}
    assert "engine step" in capsys.readouterr().out
    assert main([*words, "--rounds", "0"]) == 1
    assert main([*words, "--json", str(tmp_path / "no" / "b.json")]) == 1
