"""The network that training starts with: sizes, places and weights as asked for, or as those of `init` have them."""

import dataclasses

import pytest
import torch

from rvm_model import RVM
from rvm_model.checkpoint import load_checkpoint, save_checkpoint
from rvm_model.position import position_code
from rvm_training.pretraining.consolidate import consolidate
from rvm_training.pretraining.fit import fit
from rvm_training.pretraining.network import make_network, network_sizes


def test_training_starts_from_weights_with_their_sizes(tiny_run, tmp_path):
    network = make_network(tiny_run("model.sizes.dim=24").model, 3)
    save_checkpoint(network, tmp_path / "start.safetensors")
    config = tiny_run("model.sizes=null", f"model.init={tmp_path / 'start.safetensors'}")
    started = make_network(config.model, 0)
    assert started.config == network.config
    assert all(torch.equal(a, b) for a, b in zip(started.parameters(), network.parameters(), strict=True))


def test_weights_remember_the_size_that_training_went_on_at(tiny_run, tmp_path):
    first = make_network(tiny_run().model, 3)
    save_checkpoint(first, tmp_path / "start.safetensors")
    config = tiny_run(
        "model.sizes=null", f"model.init={tmp_path / 'start.safetensors'}", "model.size=[40, 48]",
        "machine.stop_at_step=1",
    )  # fmt: skip
    fit(config)
    trained = consolidate(config.folder)
    assert (trained.config.base_grid, trained.config.image_size) == (first.config.base_grid, (40, 48))
    assert network_sizes(config.model) == trained.config
    save_checkpoint(trained, tmp_path / "went_on.safetensors")
    assert load_checkpoint(tmp_path / "went_on.safetensors").config.image_size == (40, 48)
    back = tiny_run("model.sizes=null", f"model.init={tmp_path / 'went_on.safetensors'}")
    assert network_sizes(back.model) == first.config
    larger = tiny_run("model.sizes=null", f"model.init={tmp_path / 'went_on.safetensors'}", "model.run_size=[64, 80]")
    sizes = network_sizes(larger.model)
    assert (sizes.image_size, sizes.training_size) == ((64, 80), (32, 32))
    save_checkpoint(make_network(larger.model, 0), tmp_path / "larger.safetensors")
    again = tiny_run("model.sizes=null", f"model.init={tmp_path / 'larger.safetensors'}", "model.size=[40, 48]")
    assert network_sizes(again.model).image_size == (64, 80), "as the weights that it began from"


def test_the_position_code_is_made_anew_where_that_is_asked_for(tiny_run, tmp_path):
    save_checkpoint(make_network(tiny_run().model, 3), tmp_path / "start.safetensors")
    words = ["model.sizes=null", f"model.init={tmp_path / 'start.safetensors'}", "model.size=[40, 48]"]
    resized = make_network(tiny_run(*words).model, 0)
    config = tiny_run(*words, "model.position_code=anew", "machine.stop_at_step=1")
    anew = make_network(config.model, 0)
    black = torch.zeros(1, 40, 48, 3)
    code = position_code((5, 6), (5, 6), 16, device=torch.device("cpu"), dtype=torch.float32)
    bias = anew.tokenizer.patch_embedding.bias
    torch.testing.assert_close(anew.tokenizer(black)[0] - bias, code)
    assert not torch.allclose(resized.tokenizer(black)[0] - bias, code, atol=0.1)
    fit(config)
    trained = consolidate(config.folder).config
    assert (trained.base_grid, trained.trained_grid, trained.image_size) == ((5, 6), None, (40, 48))
    assert network_sizes(config.model) == trained


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model.position_range=[8, 8]"],
            r"model.position_range: got \(8, 8\) with position 'flattened', expected None",
        ),
        (["model.sizes.position=axes", "model.position_range=[8, 3]"], "model.size: got 32x32, expected at most 64x24"),
        (
            ["model.sizes.position=axes", "model.position_range=[8, 4]", "model.run_size=[32, 40]"],
            "model.run_size: got 32x40, expected at most 64x32",
        ),
        (["model.sizes.position=axes", "model.run_size=[40, 40]"], "run_size: got 40x40, expected at most 32x32"),
        (["model.run_size=[40, 41]"], "model.run_size: image size: got 40x41"),
    ],
)
def test_a_range_that_frames_cannot_lie_in_is_refused(tiny_run, words, message):
    with pytest.raises(ValueError, match=message):
        make_network(tiny_run(*words).model, 0)


def test_weights_remember_what_their_decoder_saw_and_training_goes_on_with_it(tiny_run, tmp_path):
    assert make_network(tiny_run().model, 3).config.decoder.sees == "all"
    save_checkpoint(make_network(tiny_run("model.decoder_sees=last").model, 3), tmp_path / "start.safetensors")
    words = ["model.sizes=null", f"model.init={tmp_path / 'start.safetensors'}"]
    for asked, sees in (("null", "last"), ("all", "all")):
        config = tiny_run(*words, f"model.decoder_sees={asked}").model
        assert make_network(config, 0).config.decoder.sees == sees
        assert network_sizes(config) == make_network(config, 0).config


def test_places_are_those_that_the_weights_know_of_where_none_are_asked_for(tiny_run, tmp_path):
    path = tmp_path / "start.safetensors"
    axes = tiny_run("model.sizes.position=axes", "model.position_range=[5, 7]", "model.run_size=[40, 56]")
    save_checkpoint(make_network(axes.model, 0), path)
    words = ["model.sizes=null", f"model.init={path}"]
    assert make_network(tiny_run(*words).model, 0).config.position_range == (5, 7)
    message = "model.run_size, which is null and as model.init has it: got 40x56, expected at most 32x48"
    with pytest.raises(ValueError, match=message):
        make_network(tiny_run(*words, "model.position_range=[4, 6]").model, 0)
    smaller = tiny_run(*words, "model.position_range=[4, 6]", "model.run_size=[32, 32]")
    assert make_network(smaller.model, 0).config.position_limit == (32, 48)


def test_random_weights_have_no_older_position_code(tiny_run):
    with pytest.raises(ValueError, match="position_code: got anew without init, expected resized"):
        tiny_run("model.position_code=anew")


def test_weights_without_decoder_or_with_another_aggregator_are_refused(tiny_run, tmp_path):
    config = tiny_run("model.sizes=null", f"model.init={tmp_path / 'start.safetensors'}")
    scratch = tiny_run().model.scratch()
    save_checkpoint(RVM(dataclasses.replace(scratch, decoder=None)), tmp_path / "start.safetensors")
    with pytest.raises(ValueError, match="has no decoder, and pretraining reconstructs pixels"):
        make_network(config.model, 0)
    save_checkpoint(RVM(dataclasses.replace(scratch, aggregator="self_attention")), tmp_path / "start.safetensors")
    with pytest.raises(ValueError, match="got the aggregator self_attention, expected gated"):
        make_network(config.model, 0)
    assert load_checkpoint(tmp_path / "start.safetensors").config.aggregator == "self_attention"
