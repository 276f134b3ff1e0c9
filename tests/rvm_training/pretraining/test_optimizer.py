"""The schedule, the groups of parameters and the moving average."""

import math

import pytest
import torch

from rvm_model import RVM
from rvm_training.pretraining.optimizer import average_decay, learning_rate, make_optimizer, update_average


def test_warm_up_then_cosine(tiny_run):
    config = tiny_run(
        "optimizer.steps=110", "optimizer.warmup_steps=10", "optimizer.lr=2.0", "optimizer.final_lr=0.5"
    ).optimizer
    assert learning_rate(0, config) == pytest.approx(0.2)
    assert learning_rate(9, config) == pytest.approx(2.0)
    assert learning_rate(10, config) == pytest.approx(2.0)
    assert learning_rate(60, config) == pytest.approx(1.25)
    assert learning_rate(85, config) == pytest.approx(0.5 + 1.5 * 0.5 * (1 + math.cos(math.pi * 0.75)))
    assert learning_rate(110, config) == pytest.approx(0.5)
    assert learning_rate(500, config) == pytest.approx(0.5)


def test_without_warm_up_the_first_step_has_the_full_rate(tiny_run):
    config = tiny_run("optimizer.warmup_steps=0", "optimizer.lr=2.0").optimizer
    assert learning_rate(0, config) == pytest.approx(2.0)


def test_only_matrices_decay(tiny_run):
    config = tiny_run("optimizer.weight_decay=0.3")
    network = RVM(config.model.scratch())
    decayed, plain = make_optimizer(network.named_parameters(), config.optimizer).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    ids = {id(parameter) for parameter in decayed["params"]}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in ids}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(network.parameters()))
    assert {"tokenizer.patch_embedding.weight", "core.input_update.weight", "decoder.detokenizer.weight"} <= names
    assert not names & {"cls_token", "decoder.mask_token", "encoder.norm.weight", "decoder.detokenizer.bias"}
    assert all(name.endswith(".weight") and "norm" not in name for name in names)


def test_the_average_moves_by_its_decay():
    average, current = torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.nn.Parameter(torch.tensor([3.0, 2.0]))
    update_average(iter([average]), iter([current]), 0.75)
    assert average.tolist() == [1.5, 2.0]
    assert current.tolist() == [3.0, 2.0]


def test_the_average_soon_forgets_the_random_start():
    share_of_the_start = math.prod(average_decay(step, 0.999) for step in range(100))
    assert share_of_the_start < 1e-6
    assert average_decay(0, 0.05) == 0.05
    assert average_decay(10**5, 0.999) == 0.999
