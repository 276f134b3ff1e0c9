"""The position code, against the authors' resized tables."""

import pytest
import torch

from rvm_model.position import position_code, sinusoid_table


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
    angles = torch.tensor([[0.0, 0.0], [1.0, 0.01], [2.0, 0.02]])
    torch.testing.assert_close(table[:, 0::2], angles.sin())
    torch.testing.assert_close(table[:, 1::2], angles.cos())


def test_code_made_in_inference_mode_can_enter_training():
    with torch.inference_mode():
        code = position_code((3, 7), (5, 5), 8, device=torch.device("cpu"), dtype=torch.float32)
    weight = torch.ones(8, requires_grad=True)
    (code * weight).sum().backward()
    torch.testing.assert_close(weight.grad, code.sum(0))
