"""Weights that begin by looking at a patch's own place in other frames."""

from dataclasses import replace

import pytest
import torch

from rvm_model.config import DecoderConfig, RVMConfig
from rvm_model.core import GatedCore
from rvm_model.position import position_code
from rvm_model.rvm import RVM
from rvm_model.weights import seeded
from rvm_training.configuration import build
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.initialization import align
from rvm_training.pretraining.network import make_network

GRID = (6, 6)
SIZES = RVMConfig(
    dim=64, encoder_depth=2, encoder_heads=4, encoder_mlp_dim=128, core_depth=2, core_heads=4, core_mlp_dim=128,
    patch_size=8, position="axes", base_grid=GRID, decoder=DecoderConfig(depth=2, dim=64, heads=4, mlp_dim=128),
)  # fmt: skip


def own_place_share(network: RVM) -> float:
    """Share of a mask token's attention, over the decoder's first block and its heads, that goes to its own place."""
    decoder = network.decoder
    assert decoder is not None
    with torch.no_grad():
        features = network.encode(torch.rand(1, 48, 48, 3, generator=torch.Generator().manual_seed(0)))[:, 1:]
        hidden = decoder.mask_token + position_code(
            GRID, GRID, 64, kind=network.config.position, device=torch.device("cpu"), dtype=torch.float32
        )
        block = decoder.transformer.blocks[0]
        attention = block.ca_attention
        queries, keys = (
            each.unflatten(-1, (4, 16)).transpose(-2, -3)
            for each in (
                attention.query(block.ca_attention_norm(hidden)),
                attention.key(decoder.embedder(features))[0],
            )
        )
        weights = (queries @ keys.transpose(-1, -2) / 4).softmax(-1)
    return float(weights.diagonal(dim1=-2, dim2=-1).mean())


@pytest.mark.parametrize("position", ["axes", "flattened"])
def test_a_hidden_patch_looks_at_its_own_place_from_the_first_step(position):
    torch.manual_seed(0)
    network = RVM(replace(SIZES, position=position))
    before = own_place_share(network)
    align(network)
    assert before < 1.5 / 36
    assert own_place_share(network) > 0.3


def test_the_default_device_does_not_matter():
    with torch.device("meta"):  # As Lightning sets the GPU while it has the network made.
        network = seeded(SIZES, 0)
        align(network)
    again = seeded(SIZES, 0)
    align(again)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_a_decoder_of_another_width_cannot_be_aligned(tiny_run):
    with pytest.raises(ValueError, match="got aligned for a decoder 512 wide and an encoder of 384"):
        build(TrainConfig, {"model": {"initialization": "aligned"}})


def test_the_first_pictures_are_coarse_copies_of_the_last_source():
    torch.manual_seed(0)
    network = RVM(SIZES)
    clouds = torch.rand(16, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    still = torch.nn.functional.interpolate(clouds, (48, 48), mode="bilinear").movedim(1, -1)[:, None]

    def error() -> float:
        with torch.no_grad():
            shown = network.reconstruct(
                still, still, torch.full((16, 1), 9), generator=torch.Generator().manual_seed(0)
            )
        return float((shown.frames - still).square().mean() / still.var())

    before = error()
    align(network)
    assert before > 2  # Not even the mean colour is known.
    assert error() < 0.8


def test_the_state_starts_as_mostly_new():
    torch.manual_seed(0)
    network = RVM(SIZES)
    frames = torch.rand(2, 48, 48, 3)

    def share_of_the_new(network: RVM) -> float:
        core = network.core
        assert isinstance(core, GatedCore)
        with torch.no_grad():
            state, _ = network.step(frames[:1])
            tokens = network.encode(frames[1:])
            return float(torch.sigmoid(core.input_update(tokens) + core.state_update(state)).mean())

    before = share_of_the_new(network)
    align(network)
    assert 0.4 < before < 0.6
    assert share_of_the_new(network) > 0.85


def test_self_attention_is_aligned_too():
    network = RVM(replace(SIZES, aggregator="self_attention"))
    align(network)
    assert network.forward_clip(torch.rand(1, 2, 48, 48, 3))[0].isfinite().all()


def test_what_is_aligned_depends_on_the_seed_alone(tiny_run):
    config = tiny_run("model.initialization=aligned").model
    one, same, other = (make_network(config, seed) for seed in (1, 1, 2))
    plain = make_network(tiny_run().model, 1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    weight = "core.transformer.blocks.0.ca_attention.query.weight"
    assert not torch.equal(one.state_dict()[weight], other.state_dict()[weight])
    assert not torch.equal(one.state_dict()[weight], plain.state_dict()[weight])


def test_patches_without_their_mean_are_not_started_from_grey(tiny_run):
    with pytest.raises(ValueError, match="patches without their mean are not grey"):
        tiny_run("model.initialization=aligned", "objective.normalize_patches=true")


def test_weights_that_are_given_are_not_aligned():
    with pytest.raises(ValueError, match="initialization: got aligned with init, which has weights already"):
        build(TrainConfig, {"model": {"preset": None, "init": "a.safetensors", "initialization": "aligned"}})
