"""The network equals the authors' code (tests/golden), and refuses what it cannot take."""

import dataclasses

import numpy as np
import pytest
import torch

from rvm_model import PRESETS, RVM
from rvm_model.keymap import entries
from rvm_model.weights import seeded

ENCODE = ["encode_native", "encode_down", "encode_up", "encode_mixed", "encode_eps"]
RECONSTRUCT = ["reconstruct", "reconstruct_indep"]
RELATIVE = 1e-5  # Ten times tighter than the acceptance, twenty times looser than what is measured.


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("name", ENCODE)
def test_every_recurrent_step_equals_the_authors_code(golden, name, record_property):
    case = golden(name)
    state = None
    worst = 0.0
    with torch.no_grad():
        for frames, expected in zip(case.tensor("frames").unbind(1), case.tensor("features"), strict=True):
            features, state = case.model.step(frames, state)
            assert torch.equal(features, state)
            worst = max(worst, relative_error(features, expected))
            tolerance = 1e-6 if name == "encode_eps" else 2e-5
            assert (features - expected).abs().max() < tolerance
    print(f"{name}: worst relative error {worst:.1e}")
    assert worst < RELATIVE


@pytest.mark.parametrize("name", ENCODE)
def test_a_clip_gives_the_same_features_as_its_frames_one_by_one(golden, name):
    case = golden(name)
    with torch.no_grad():
        features, state = case.model.forward_clip(case.tensor("frames"))
    expected = case.tensor("features").transpose(0, 1)
    assert relative_error(features, expected) < RELATIVE
    assert torch.equal(state, features[:, -1])


@pytest.mark.parametrize("name", RECONSTRUCT)
def test_reconstruction_equals_the_authors_code(golden, name):
    case = golden(name)
    with torch.no_grad():
        out = reconstruct(case)
    error = relative_error(out.frames, case.tensor("reconstructed"))
    print(f"{name}: relative error {error:.1e}")
    assert error < RELATIVE
    assert relative_error(out.features, case.tensor("features")) < RELATIVE
    assert relative_error(out.state, case.tensor("state")) < RELATIVE
    assert torch.equal(out.mask, case.tensor("mask")[..., 0].bool())


def test_without_deltas_the_time_code_is_left_out(golden):
    case = golden("reconstruct")
    with torch.no_grad():
        out = case.model.reconstruct(
            case.tensor("source_frames"),
            case.tensor("target_frames"),
            None,
            mask_ratio=case.meta["cfg"]["masking_ratio"],
            permutation=case.tensor("inds"),
        )
    assert relative_error(out.frames, case.tensor("reconstructed_no_delta")) < RELATIVE


@pytest.mark.parametrize("name", RECONSTRUCT)
def test_loss_and_gradients_equal_the_authors_code(golden, name):
    case = golden(name)
    out = reconstruct(case)
    loss = (out.frames - case.tensor("target_frames") / 255).square().mean()
    loss.backward()
    assert abs(loss.item() - float(case.arrays["loss"])) < 1e-5
    torch_name = {entry.flax_name: entry.torch_name for entry in entries(case.model.config)}
    parameters = dict(case.model.named_parameters())
    assert set(case.arrays["grad_names"]) == set(torch_name)
    for flax_name, expected in zip(case.arrays["grad_names"], case.arrays["grad_l2"], strict=True):
        norm = parameters[torch_name[str(flax_name)]].grad.norm().item()
        # Key biases shift all scores of a query alike: their gradient is zero but for rounding.
        assert norm == pytest.approx(expected, rel=1e-4, abs=1e-7), flax_name


def reconstruct(case):
    return case.model.reconstruct(
        case.tensor("source_frames"),
        case.tensor("target_frames"),
        case.tensor("target_deltas"),
        mask_ratio=case.meta["cfg"]["masking_ratio"],
        permutation=case.tensor("inds"),
    )


def test_float_frames_in_unit_range_equal_uint8_frames(tiny_model):
    frames = torch.randint(0, 256, (2, 48, 80, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(tiny_model.step(frames)[0], tiny_model.step(frames.float() / 255)[0])


def test_each_camera_of_a_batch_is_computed_as_if_alone(tiny_model):
    frames = torch.randint(0, 256, (3, 2, 32, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        together, _ = tiny_model.forward_clip(frames)
        alone = torch.cat([tiny_model.forward_clip(clip[None])[0] for clip in frames])
    assert relative_error(together, alone) < 1e-6


def test_the_state_carries_the_past(tiny_model):
    frames = torch.randint(0, 256, (1, 2, 48, 80, 3), dtype=torch.uint8)
    with torch.no_grad():
        _, state = tiny_model.step(frames[:, 0])
        remembered, _ = tiny_model.step(frames[:, 1], state)
        fresh, _ = tiny_model.step(frames[:, 1])
    assert relative_error(remembered, fresh) > 0.01


def test_a_drawn_mask_hides_the_given_share_and_follows_the_generator(tiny_model):
    clip = torch.rand(2, 3, 48, 80, 3)
    with torch.no_grad():
        masks = [
            tiny_model.reconstruct(clip, clip, mask_ratio=0.8, generator=torch.Generator().manual_seed(seed)).mask
            for seed in (1, 1, 2)
        ]
    assert masks[0].shape == (2, 3, 3, 5)
    assert (masks[0].sum((-1, -2)) == 13).all()  # int(15 * (1 - 0.8)) is 2 in floating point, so 13 are hidden.
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(masks[0][0, 0], masks[0][1, 2]), "the authors share one permutation over batch and targets"


@pytest.mark.parametrize(
    ("frames", "state", "message"),
    [
        (torch.zeros(1, 40, 80, 3), None, "multiples of the patch size 16"),
        (torch.zeros(1, 3, 48, 80), None, r"expected \[B, H, W, 3\]"),
        (torch.zeros(48, 80, 3), None, r"expected \[B, H, W, 3\]"),
        (torch.zeros(1, 48, 80, 3, dtype=torch.int32), None, "torch.int32, expected uint8"),
        (torch.zeros(1, 48, 80, 3), torch.zeros(1, 7, 24), r"\(1, 7, 24\), expected .*\(1, 16, 24\)"),
        (torch.zeros(1, 48, 80, 3), torch.zeros(1, 16, 24, dtype=torch.float64), "got torch.float64 on cpu, expected"),
        (torch.zeros(0, 48, 80, 3), None, r"got shape \(0, 48, 80, 3\)"),
        (np.zeros((1, 48, 80, 3), np.uint8), None, "got ndarray, expected a torch.Tensor"),
        (torch.zeros(2, 48, 80, 3), torch.zeros(1, 16, 24), r"\(1, 16, 24\), expected .*\(2, 16, 24\)"),
    ],
)
def test_a_misfit_is_refused_with_what_was_expected(tiny_model, frames, state, message):
    with pytest.raises(ValueError, match=message):
        tiny_model.step(frames, state)


@pytest.mark.parametrize(("ratio", "visible"), [(0.0, 15), (0.95, 0), (1.0, 0)])
def test_all_or_none_of_the_patches_may_be_visible(tiny_model, ratio, visible):
    clip = torch.rand(1, 2, 48, 80, 3)
    with torch.no_grad():
        out = tiny_model.reconstruct(clip, clip, torch.tensor([[3, 99]]), mask_ratio=ratio)
    assert (~out.mask).sum().item() == 2 * visible
    assert out.frames.isfinite().all()


def test_a_decoder_that_sees_the_last_state_alone_gives_what_it_gives_from_that_state(tiny_model, tiny_config):
    network = RVM(dataclasses.replace(tiny_config, decoder=dataclasses.replace(tiny_config.decoder, sees="last")))
    network.load_state_dict(tiny_model.state_dict())
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, 4, 32, 48, 3, generator=generator)
    order = torch.stack([torch.randperm(6, generator=generator)] * 2)[:, None]
    options = {"deltas": torch.full((2, 1), 3), "mask_ratio": 0.5, "permutation": order}
    with torch.no_grad():
        _, state = network.forward_clip(frames[:, :2])
        alone = network.reconstruct(frames[:, 2:3], frames[:, 3:], state=state, **options).frames
        last = network.reconstruct(frames[:, :3], frames[:, 3:], **options).frames
        every = tiny_model.reconstruct(frames[:, :3], frames[:, 3:], **options).frames
    torch.testing.assert_close(last, alone, rtol=0, atol=1e-5)
    assert not torch.allclose(every, last, atol=1e-4)


def test_where_frames_begin_reaches_sources_targets_and_what_is_reconstructed(tiny_config):
    network = seeded(dataclasses.replace(tiny_config, position="axes"), 0)
    clip = torch.rand(1, 3, 32, 48, 3, generator=torch.Generator().manual_seed(0))
    options = {"mask_ratio": 0.5, "permutation": torch.arange(6).expand(1, 1, 6)}
    with torch.no_grad():
        moved = network.reconstruct(clip[:, :2], clip[:, 2:], origin=(3, 5), **options)
        features, _ = network.forward_clip(clip[:, :2], origin=(3, 5))
        still = network.reconstruct(clip[:, :2], clip[:, 2:], **options)
    assert torch.equal(moved.features, features)
    for part, whole in ((moved.features, still.features), (moved.frames, still.frames)):
        assert not torch.allclose(part, whole, atol=1e-4)


def test_reconstruct_refuses_misfits(tiny_model, tiny_config):
    clip = torch.zeros(1, 2, 48, 80, 3)
    with pytest.raises(ValueError, match="no decoder"):
        RVM(dataclasses.replace(tiny_config, decoder=None)).reconstruct(clip, clip)
    with pytest.raises(ValueError, match=r"deltas: got shape \(1, 3\)"):
        tiny_model.reconstruct(clip, clip, torch.zeros(1, 3))
    with pytest.raises(ValueError, match="not a permutation"):
        tiny_model.reconstruct(clip, clip, permutation=torch.zeros(1, 2, 15, dtype=torch.long))
    with pytest.raises(ValueError, match="the same B, H, W"):
        tiny_model.reconstruct(clip, torch.zeros(1, 2, 32, 80, 3))
    with pytest.raises(ValueError, match="mask_ratio: got 1.5"):
        tiny_model.reconstruct(clip, clip, mask_ratio=1.5)


@pytest.mark.parametrize(
    ("name", "arrays", "megabytes", "encoder_and_core_millions"),
    [
        ("rvm_small16_256", 525, 270, 33.2),
        ("rvm_base16_256", 525, 641, 125.8),
        ("rvm_large16_256", 717, 1636, 374.5),
        ("rvm_huge16_256", 845, 3108, 742.2),
    ],
)
def test_presets_have_the_released_files_sizes(name, arrays, megabytes, encoder_and_core_millions):
    with torch.device("meta"):
        model = RVM(PRESETS[name])
    count = sum(p.numel() for p in model.parameters())
    decoder = sum(p.numel() for p in model.decoder.parameters())
    assert len(model.state_dict()) == arrays
    assert round(count * 4 / 1e6) == megabytes
    assert round((count - decoder) / 1e6, 1) == encoder_and_core_millions
