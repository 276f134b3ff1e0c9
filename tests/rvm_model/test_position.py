"""The position code, against the authors' resized tables."""

import numpy as np
import pytest
import torch

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
