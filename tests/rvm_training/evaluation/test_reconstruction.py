"""Reconstructions are scored against the frames that they are of, beside a copy of the last source."""

import dataclasses

import numpy as np
import pytest
import torch

from rvm_model import DecoderConfig, RVMConfig
from rvm_model.weights import WeightsInfo, seeded
from rvm_training.evaluation.reconstruction import ReconstructionSettings, evaluate_reconstruction, reconstruct

SETTINGS = ReconstructionSettings(size=(32, 32), sources=2, deltas=(1, 3), mask_ratios=(0.5, 0.75))
WEIGHTS = WeightsInfo("tiny", "sha256:0", True)


@pytest.fixture(scope="module")
def network():
    config = RVMConfig(
        dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=24, core_depth=1, core_heads=4, core_mlp_dim=24,
        patch_size=8, base_grid=(4, 4), decoder=DecoderConfig(dim=24, depth=1, heads=3, mlp_dim=24),
    )  # fmt: skip
    return seeded(config, 0).eval()


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def evaluate(network, clips, settings=SETTINGS):
    return evaluate_reconstruction(network, WEIGHTS, "tiny", clips, data="made", settings=settings)


def test_figures_are_those_of_the_networks_frames(network, clip):
    result = evaluate(network, [("clip", clip)])
    frames = torch.from_numpy(clip).float() / 255
    made = reconstruct(network, clip, SETTINGS, 0.75).frames[0].clamp(0, 1)
    for index, target in enumerate((2, 4)):  # 1 and 3 after the last of two sources.
        error = (made[index] - frames[target]).square().mean().item()
        assert result.curves["PSNR 75%"][index] == pytest.approx(-10 * np.log10(error), rel=1e-5)
        copied = (frames[1] - frames[target]).square().mean().item()
        assert result.curves["PSNR copy"][index] == pytest.approx(-10 * np.log10(copied), rel=1e-5)
    assert result.metrics["PSNR 75%"] == pytest.approx(np.mean(result.curves["PSNR 75%"]))
    measured = ("75%", "75%, last source alone", "copy")
    assert list(result.metrics) == [f"{measure} {what}" for measure in ("PSNR", "SSIM") for what in measured]


@pytest.mark.parametrize("origin", ["last", "first"])
def test_the_last_source_alone_is_shown_with_the_same_patches_of_the_same_targets(network, clip, origin):
    settings = dataclasses.replace(SETTINGS, deltas=(2, 3), delta_origin=origin)
    alone = dataclasses.replace(SETTINGS, sources=1, deltas=(2, 3) if origin == "last" else (1, 2))
    both = evaluate(network, [("clip", clip)], settings).curves
    one = evaluate(network, [("clip", clip[1:])], alone).curves
    for measure in ("PSNR", "SSIM"):
        assert both[f"{measure} 75%, last source alone"] == pytest.approx(one[f"{measure} 75%"], rel=1e-5)
        assert both[f"{measure} 75%"] != one[f"{measure} 75%"]
    assert "PSNR 75%, last source alone" not in one


def test_a_still_clip_is_copied_without_a_loss(network):
    still = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8), 5, axis=0)
    result = evaluate(network, [("still", still)])
    assert result.metrics["PSNR copy"] == 100  # Of an error of nothing, which has no logarithm.
    assert result.metrics["SSIM copy"] == pytest.approx(1)


def test_deltas_count_from_the_first_source_where_the_network_learned_so():
    assert SETTINGS.targets == [2, 4]
    first = ReconstructionSettings(sources=2, deltas=(2, 3), delta_origin="first")
    assert (first.targets, first.frames) == ([2, 3], 4)
    with pytest.raises(ValueError, match="expected deltas of at least 2"):
        ReconstructionSettings(sources=2, deltas=(1,), delta_origin="first")


def test_what_cannot_be_reconstructed_is_told(network, clip):
    with pytest.raises(ValueError, match="clip: got 4 frames, expected 5"):
        evaluate(network, [("clip", clip[:4])])
    with pytest.raises(ValueError, match="got no clip"):
        evaluate(network, [])
