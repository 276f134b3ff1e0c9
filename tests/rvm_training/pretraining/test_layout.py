"""Recomputation, compilation and batches: where the work is done changes nothing in the result."""

import pytest
import torch

from rvm_model import RVM
from rvm_training.pretraining.layout import compile_blocks, recompute, split_batch


@pytest.mark.parametrize(
    ("batch", "world", "micro", "expected"),
    [(2048, 8, 64, (64, 4)), (2048, 256, 64, (8, 1)), (32, 1, 32, (32, 1)), (30, 1, 8, (6, 5)), (7, 1, 3, (1, 7))],
)
def test_batches_split_into_equal_parts_that_fit(batch, world, micro, expected):
    assert split_batch(batch, world, micro) == expected


def test_a_batch_that_cannot_be_dealt_out_is_refused():
    with pytest.raises(ValueError, match="got 30 for 4 processes, expected a multiple"):
        split_batch(30, 4, 8)


@pytest.mark.parametrize("what", ["none", "step", "block"])
def test_recomputing_keeps_names_losses_and_gradients(tiny_run, what):
    sizes = tiny_run().model.scratch()
    torch.manual_seed(0)
    plain, laid_out = RVM(sizes), RVM(sizes)
    laid_out.load_state_dict(plain.state_dict())
    recompute(laid_out, what)
    assert laid_out.state_dict().keys() == plain.state_dict().keys()
    sources, targets = (torch.randint(0, 256, (2, 2, 32, 32, 3), dtype=torch.uint8) for _ in range(2))
    deltas, order = torch.randint(4, 9, (2, 2)), torch.randperm(16).expand(2, 2, -1)
    for network in (plain, laid_out):
        out = network.reconstruct(sources, targets, deltas, mask_ratio=0.75, permutation=order)
        out.frames.square().mean().backward()
    for (name, got), expected in zip(laid_out.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(got.grad, expected.grad, rtol=1e-4, atol=1e-8), name


def test_compiling_touches_every_block_and_keeps_names(tiny_run, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, dynamic: compiled.append(type(module).__name__))
    network = RVM(tiny_run().model.scratch())
    names = list(network.state_dict())
    compile_blocks(network)
    assert compiled == ["Block", "CrossBlock", "CrossBlock"]
    assert list(network.state_dict()) == names
