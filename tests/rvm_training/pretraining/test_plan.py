"""The plan of a run is the arithmetic it says."""

import re

import pytest

from rvm_model import RVM
from rvm_training.__main__ import main
from rvm_training.pretraining.flops import step_flops
from rvm_training.pretraining.plan import plan


def number(pattern, text):
    return float(re.search(pattern, text).group(1).replace(",", ""))


def test_time_follows_from_computation_and_rate(tiny_run):
    config = tiny_run("optimizer.steps=1000", "machine.devices=4", "machine.nodes=2")
    text = plan(config, tflops=1e-6)
    frames, size = config.data.frames, config.model.size
    clip = step_flops(config.model.scratch(), size, frames, config.objective.mask_ratio)
    rate = 8 * 1e6 / clip
    assert number(r"the run: ([\d,]+) clips", text) == 8000
    assert number(r"([\d,]+) frames", text) == 8000 * 4
    assert number(r"clips/s, ([\d,.]+) days", text) == pytest.approx(8000 / rate / 86400, abs=0.06)
    assert number(r"([\d,]+) device hours", text) == pytest.approx(8000 / rate / 3600 * 8, abs=0.6)


def test_a_checkpoint_holds_weights_two_moments_and_the_average(tiny_run):
    wide = "model.sizes.encoder_mlp_dim=100000"  # Large enough that two digits tell.
    weights = sum(parameter.nbytes for parameter in RVM(tiny_run(wide).model.scratch()).parameters()) / 1e9
    assert number(r"a checkpoint: ([\d.]+) GB", plan(tiny_run(wide))) == pytest.approx(4 * weights, abs=0.006)
    assert number(r"a checkpoint: ([\d.]+) GB", plan(tiny_run(wide, "optimizer.ema=null"))) == pytest.approx(
        3 * weights, abs=0.006
    )


def test_without_a_rate_no_time_is_told(tiny_run):
    text = plan(tiny_run())
    assert "days" not in text
    assert "--tflops" in text


def test_every_way_of_recomputing_is_planned_and_the_chosen_one_marked(tiny_run):
    text = plan(tiny_run("machine.checkpointing=block"))
    rows = [line for line in text.splitlines() if line.startswith(("none", "step", "block"))]
    assert [row.split()[0] for row in rows] == ["none", "step", "block"]
    assert [row.endswith("(configured)") for row in rows] == [False, False, True]


def test_a_rate_without_a_plan_is_refused(capsys):
    assert main(["train", "--tflops", "100"]) == 1
    assert "--plan" in capsys.readouterr().err
