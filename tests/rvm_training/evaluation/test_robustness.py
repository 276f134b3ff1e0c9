"""Curves begin at the pictures as they are, and frames that are lost are lost for the truth as well."""

import pytest

from rvm_training.evaluation import datasets
from rvm_training.evaluation.models import Choice, load_model
from rvm_training.evaluation.propagation import Protocol, evaluate_davis
from rvm_training.evaluation.robustness import evaluate_robustness

PROTOCOL = Protocol(size=(64, 112), context=3)


@pytest.fixture(scope="module")
def pixels():
    return load_model(Choice("pixels:8", device="cpu"), PROTOCOL.size)


def test_curves_begin_at_the_score_of_davis_and_noise_costs(benchmarks, pixels):
    videos = datasets.davis(benchmarks / "davis")
    result = evaluate_robustness(
        pixels, videos, data="made", names=["noise", "dropped frames"], strengths=[0, 5], protocol=PROTOCOL
    )
    clean = evaluate_davis(pixels, videos, data="made", protocol=PROTOCOL).metrics["J&F-Mean"]
    assert result.curves["noise"][0] == result.curves["dropped frames"][0] == result.metrics["clean"] == clean
    assert result.curves["noise"][1] < clean
    assert result.metrics["noise"] == result.curves["noise"][1]
    assert result.metrics["mean"] == pytest.approx((result.metrics["noise"] + result.metrics["dropped frames"]) / 2)


@pytest.mark.parametrize("strengths", [[0], [1, 2], [0, 3, 1]])
def test_strengths_that_do_not_rise_from_zero_are_refused(pixels, strengths):
    with pytest.raises(ValueError, match="expected 0 and rising numbers"):
        evaluate_robustness(pixels, [], data="made", strengths=strengths)


def test_no_object_is_told(pixels):
    with pytest.raises(ValueError, match="got no object in the first mask of any video"):
        evaluate_robustness(pixels, [], data="made")
