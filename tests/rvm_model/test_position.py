"""The position code, against the authors' resized tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rvm_model import RVM, RVMConfig, load_checkpoint, save_checkpoint
from rvm_model.config import preset
from rvm_model.inference import InferenceStep
from rvm_model.position import bicubic_weights, position_code, sinusoid_table


@pytest.mark.parametrize("name", ["encode_native", "encode_down", "encode_up", "encode_mixed"])
def test_code_equals_the_authors_on_native_and_resized_grids(golden, name):
    case = golden(name)
    expected = case.tensor("posenc")
    code = position_code(
        tuple(expected.shape[:2]),
        case.model.config.base_grid,
        expected.shape[-1],
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    assert (code - expected.flatten(0, 1)).abs().max() < 2e-6


def test_a_code_of_axes_that_begins_elsewhere_is_a_window_of_a_larger_one():
    def code(grid, origin, kind="axes"):
        return position_code(
            grid, (2, 2), 8, kind=kind, origin=origin, device=torch.device("cpu"), dtype=torch.float32
        ).unflatten(0, grid)

    assert torch.equal(code((2, 3), (4, 1)), code((6, 4), (0, 0))[4:, 1:])
    with pytest.raises(ValueError, match=r"origin: got \(0, 1\) for a flattened position code"):
        code((2, 3), (0, 1), "flattened")


def test_a_network_knows_of_the_places_of_all_its_trainings():
    small = preset("rvm_small16_256")
    axes = replace(small, position="axes", patch_size=8, base_grid=(4, 9), trained_grid=(6, 6))
    assert axes.position_limit == (48, 72)
    wide = replace(axes, position_range=(7, 8))
    assert wide.position_limit == (56, 72)
    assert wide.beyond_training(56, 72) == ""
    assert "frames of 64x72 are larger than the 56x72" in wide.beyond_training(64, 72)
    assert small.position_limit is None
    with pytest.raises(ValueError, match="position_range: got .7, 8. with position 'flattened', expected None"):
        replace(small, position_range=(7, 8))


def test_table_has_sines_on_even_and_cosines_on_odd_columns():
    table = sinusoid_table(3, 4)
    angles = np.array([[0.0, 0.0], [1.0, 0.01], [2.0, 0.02]])
    np.testing.assert_allclose(table[:, 0::2], np.sin(angles))
    np.testing.assert_allclose(table[:, 1::2], np.cos(angles))


@pytest.mark.parametrize("sizes", [(16, 18), (16, 6), (4, 9), (7, 7), (5, 1), (1, 6)])
def test_resize_weights_equal_antialiased_bicubic_interpolation_along_an_axis(sizes):
    old, new = sizes
    signal = torch.randn(1, 1, old, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(
        signal, size=(new, 4), mode="bicubic", align_corners=False, antialias=True
    )
    got = bicubic_weights(old, new) @ signal[0, 0].numpy()
    np.testing.assert_allclose(got, expected[0, 0].numpy(), atol=1e-6)


def test_a_grid_of_one_column_is_resized_like_any_other():
    # torch's own interpolate is wrong by 1 and more here, when the rows change too.
    code = position_code((5, 1), (16, 16), 8, device=torch.device("cpu"), dtype=torch.float32).numpy()
    table = sinusoid_table(256, 8).reshape(16, 16, 8)
    by_columns = np.einsum("Ww,hwd->hWd", bicubic_weights(16, 1), table)
    np.testing.assert_allclose(code, np.einsum("Hh,hWd->HWd", bicubic_weights(16, 5), by_columns)[:, 0], atol=1e-6)


def test_a_code_of_axes_has_rows_in_one_half_and_columns_in_the_other():
    small, large = (
        position_code(grid, (4, 4), 16, kind="axes", device=torch.device("cpu"), dtype=torch.float32).reshape(*grid, 16)
        for grid in ((2, 3), (9, 5))
    )
    np.testing.assert_allclose(large[7, 3, :8], sinusoid_table(9, 8)[7], rtol=1e-6)
    np.testing.assert_allclose(large[7, 3, 8:], sinusoid_table(9, 8)[3], rtol=1e-6)
    # A place has the same code at every size: nothing is resized.
    assert torch.equal(small, large[:2, :3])


def test_a_network_with_a_code_of_axes_steps_alike_in_training_and_inference_and_its_file_says_so(tmp_path):
    torch.manual_seed(0)
    config = RVMConfig(
        dim=16, encoder_depth=1, encoder_heads=2, encoder_mlp_dim=32, core_depth=1, core_heads=2, core_mlp_dim=32,
        patch_size=8, position="axes", base_grid=(2, 2), decoder=None,
    )  # fmt: skip
    network = RVM(config)
    save_checkpoint(network, tmp_path / "axes.safetensors")
    again = load_checkpoint(tmp_path / "axes.safetensors")
    assert again.config == config
    assert "position" not in replace(config, position="flattened").to_dict()
    frames = torch.randint(0, 256, (1, 24, 40, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features, state = again.step(frames)
        fast = InferenceStep(again, (24, 40))(frames, torch.zeros_like(state))
    assert torch.allclose(features, fast, atol=1e-5)
    with torch.inference_mode():
        flat = RVM(replace(config, position="flattened"))
        flat.load_state_dict(network.state_dict())
        assert not torch.allclose(features, flat.step(frames)[0], atol=1e-2)


def test_widths_that_two_axes_cannot_share_are_refused():
    sizes = dict(dim=18, encoder_depth=1, encoder_heads=2, encoder_mlp_dim=32, core_heads=2, core_mlp_dim=32)
    with pytest.raises(ValueError, match=r"dim: got \[18\] for a code of two axes, expected multiples of 4"):
        RVMConfig(**sizes, position="axes", decoder=None)
    with pytest.raises(ValueError, match="position: got 'rows'"):
        RVMConfig(**sizes, position="rows", decoder=None)


def test_an_export_does_not_leave_its_stand_ins_behind(tiny_model):
    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = tiny_model

        def forward(self, frames, state):
            return self.model.step(frames, state)

    frames, state = torch.zeros(1, 32, 80, 3, dtype=torch.uint8), tiny_model.init_state(1, 32, 80)
    exported = torch.export.export(Step(), (frames, state), strict=False)
    features, _ = tiny_model.step(frames, state)
    assert type(features) is torch.Tensor
    torch.testing.assert_close(exported.module()(frames, state)[0], features)


def test_code_made_in_inference_mode_can_enter_training():
    with torch.inference_mode():
        code = position_code((3, 7), (5, 5), 8, device=torch.device("cpu"), dtype=torch.float32)
    weight = torch.ones(8, requires_grad=True)
    (code * weight).sum().backward()
    torch.testing.assert_close(weight.grad, code.sum(0))
