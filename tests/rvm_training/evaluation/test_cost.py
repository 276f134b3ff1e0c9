"""Cost is measured both ways in one run, and says of what."""

import pytest
import torch

from rvm_model import RVMConfig
from rvm_model.weights import WeightsInfo, seeded
from rvm_training.evaluation.cost import _peak_bytes, evaluate_cost

WEIGHTS = WeightsInfo("tiny", "sha256:0", True)


@pytest.fixture(scope="module")
def network():
    config = RVMConfig(
        dim=24, encoder_depth=1, encoder_heads=3, encoder_mlp_dim=24, core_depth=1, core_heads=4, core_mlp_dim=24,
        base_grid=(2, 2), decoder=None,
    )  # fmt: skip
    return seeded(config, 0).eval()


def test_both_ways_are_measured_over_the_same_frames(network):
    recurrent, at_once = evaluate_cost(network, WEIGHTS, "tiny", size=(32, 32), counts=(1, 3), rounds=2)
    assert (recurrent.model.kind, at_once.model.kind) == ("recurrent", "clips")
    assert at_once.model.name == "tiny, all frames at once"
    for result in (recurrent, at_once):
        assert result.curves["frames"] == [1, 3]
        assert min(result.curves["ms"]) > 0
        assert result.metrics["ms a frame at 3"] == result.curves["ms"][1] / 3


def test_memory_is_the_peak_and_not_what_is_left():
    def rise_and_fall():
        torch.ones(50_000_000)  # 200 MB, gone at once.

    assert 190e6 < _peak_bytes(rise_and_fall, torch.device("cpu")) < 260e6
    assert _peak_bytes(lambda: None, torch.device("cpu")) < 20e6


@pytest.mark.parametrize("counts", [[4], [0, 1], [3, 2]])
def test_counts_that_do_not_rise_are_refused(network, counts):
    with pytest.raises(ValueError, match="expected two or more rising numbers of frames"):
        evaluate_cost(network, WEIGHTS, "tiny", size=(32, 32), counts=counts)
