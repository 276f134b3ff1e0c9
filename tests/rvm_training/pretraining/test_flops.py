"""Operations are counted as by hand, and the published figures come out."""

import dataclasses

import pytest
import torch

from rvm_model import PRESETS, RVM, DecoderConfig, RVMConfig
from rvm_training.data.frames import FrameSampling
from rvm_training.pretraining.flops import forward_flops, matmul_rate, step_flops

TINY = RVMConfig(
    dim=8, encoder_depth=1, encoder_heads=2, encoder_mlp_dim=24, core_depth=1, core_heads=2, core_mlp_dim=20,
    patch_size=4, base_grid=(2, 2), decoder=DecoderConfig(depth=1, dim=12, heads=2, mlp_dim=28, max_delta=64),
)  # fmt: skip


def attention(queries: int, keys: int, dim: int) -> int:
    return 2 * dim * dim * (2 * queries + 2 * keys) + 4 * queries * keys * dim


def mlp(tokens: int, dim: int, hidden: int) -> int:
    return 4 * tokens * dim * hidden


def test_a_tiny_network_is_counted_as_by_hand():
    # 4 patches, one visible; 2 sources, 3 targets.
    sampling = FrameSampling(sources=2, targets=3, delta_max=8)
    embed = (2 + 3) * 2 * 4 * 48 * 8
    encoder = 2 * (attention(5, 5, 8) + mlp(5, 8, 24)) + 3 * (attention(2, 2, 8) + mlp(2, 8, 24))
    core = 2 * (4 * 2 * 5 * 8 * 8 + attention(5, 5, 8) * 2 + mlp(5, 8, 20))
    # Keys and values of the sources are projected once for all targets.
    cross = 2 * 12 * 12 * (2 * 15 + 2 * 10) + 4 * 15 * 10 * 12
    decoder = (
        2 * (6 + 10) * 8 * 12 + 2 * 3 * 64 * 12 + cross + 3 * attention(5, 5, 12) + mlp(15, 12, 28) + 2 * 12 * 12 * 48
    )
    counted = forward_flops(TINY, (8, 8), sampling, 0.75)
    assert counted == embed + encoder + core + decoder
    assert step_flops(TINY, (8, 8), sampling, 0.75) == 3 * counted
    # Half of the turns play the two sources three times forward and backward before, without a gradient.
    older = dataclasses.replace(sampling, replay=3)
    before = 2 * 2 * 4 * 48 * 8 + 2 * (attention(5, 5, 8) + mlp(5, 8, 24)) + 6 * core
    assert step_flops(TINY, (8, 8), older, 0.75) == 3 * counted + before // 2


def test_varying_numbers_of_sources_count_as_their_mean():
    def flops(**options) -> int:
        return forward_flops(TINY, (8, 8), FrameSampling(targets=3, delta_max=8, **options), 0.75)

    assert flops(sources=3, fewest_sources=1) == sum(flops(sources=count) for count in (1, 2, 3)) // 3


def test_a_decoder_that_sees_one_source_frame_counts_less():
    last = dataclasses.replace(TINY, decoder=dataclasses.replace(TINY.decoder, sees="last"))
    sampling = FrameSampling(sources=2, targets=3, delta_max=8)
    assert forward_flops(last, (8, 8), sampling, 0.75) < forward_flops(TINY, (8, 8), sampling, 0.75)


@pytest.mark.parametrize(("name", "gflops"), [("rvm_small16_256", 19.1), ("rvm_large16_256", 200.9)])
def test_encoder_and_core_of_the_presets_take_what_is_known_of_them(name, gflops):
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = RVM(PRESETS[name])
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network.step(torch.empty(1, 256, 256, 3))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflops, rel=0.01)


def test_the_rate_of_matrix_products_is_that_of_a_real_machine():
    assert 1e8 < matmul_rate(torch.device("cpu"), torch.float32, side=256) < 1e14
