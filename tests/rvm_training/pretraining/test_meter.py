"""Means over clips with weights, over micro-batches and processes."""

import pytest
import torch

from rvm_training.pretraining.meter import Meter


def test_means_are_over_clips_not_over_batches():
    meter = Meter()
    meter.add(torch.ones(3), loss=torch.tensor([1.0, 2.0, 3.0]))
    meter.add(torch.ones(1), loss=torch.tensor([10.0]))
    assert meter.take(lambda total: total) == {"loss": 4.0}
    assert meter.take(lambda total: total) == {}


def test_clips_without_weight_count_nothing_even_if_they_are_not_numbers():
    meter = Meter()
    meter.add(torch.tensor([1.0, 0.0]), loss=torch.tensor([2.0, float("nan")]))
    assert meter.take(lambda total: total) == {"loss": 2.0}


def test_processes_are_summed_before_the_division():
    meter = Meter()
    meter.add(torch.ones(1), loss=torch.tensor([4.0]))
    # Another process had three clips of 0.
    names_sorted = torch.tensor([3.0, 0.0], dtype=torch.float64)
    assert meter.take(lambda total: total + names_sorted) == {"loss": pytest.approx(1.0)}


def test_nothing_but_bad_clips_gives_no_mean():
    meter = Meter()
    meter.add(torch.zeros(2), loss=torch.ones(2))
    assert meter.take(lambda total: total) == {}
