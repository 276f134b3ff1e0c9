"""A readout learns what the features tell, keeps its best weights, and reports intervals over seeds."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from rvm_training.readout.cache import FEATURES, FeatureClips, cache_features
from rvm_training.readout.fit import FitSettings, Fitted, best_rate, fit_head, summarise
from rvm_training.readout.task import collate

SETTINGS = FitSettings(steps=800, batch=32, lr=1e-2, warmup_steps=50, validate_every=100, patience=6, seeds=2)


@pytest.fixture
def cached(places, task, tmp_path):
    return {split: cache_features(places, task, split, task.samples(split), tmp_path) for split in ("train", "val")}


def train(task, cached, settings, seed=0):
    return fit_head(
        task, cached["train"], cached["val"], dim=32, grid=(4, 4), settings=settings, seed=seed,
        device=torch.device("cpu"), show=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_head_learns_which_action_it_is(task, cached):
    fitted = train(task, cached, SETTINGS)
    assert fitted.metrics["most frequent class"] == pytest.approx(1 / 8)
    assert fitted.metrics["top-1"] > 0.3
    assert fitted.metrics["top-5"] > 0.75
    # The weights that are given back are those of the figures.
    batch = collate(list(FeatureClips(cached["val"].files)))
    with torch.no_grad():
        outputs = fitted.head(batch[FEATURES], batch)
    assert task.score(task.measure(outputs, batch)) == fitted.metrics


def test_the_same_seed_gives_the_same_head_and_another_seed_another(task, cached):
    few = FitSettings(steps=10, batch=32, warmup_steps=2, validate_every=5)
    first, again, other = (train(task, cached, few, seed).head.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["readout.key.weight"], other["readout.key.weight"])


def test_training_ends_when_it_gets_no_better(task, cached, monkeypatch):
    scores = iter([0.2, 0.5, 0.4, 0.5, 0.3, 0.6])
    monkeypatch.setattr(task, "score", lambda *_: {"top-1": next(scores)})
    fitted = train(task, cached, FitSettings(steps=100, batch=32, warmup_steps=2, validate_every=2, patience=3))
    assert (fitted.metrics["top-1"], fitted.step) == (0.5, 4)
    assert next(scores) == 0.6  # Not asked for any more.


def test_a_figure_that_is_no_number_is_told(task, cached, monkeypatch):
    monkeypatch.setattr(task, "score", lambda *_: {"top-1": math.nan})
    with pytest.raises((ValueError, RuntimeError), match="top-1"):
        train(task, cached, FitSettings(steps=4, batch=32, warmup_steps=1, validate_every=2))


def test_a_loss_that_is_no_number_ends_the_training(task, cached, monkeypatch):
    monkeypatch.setattr(task, "loss", lambda outputs, _: outputs.sum() * math.nan)
    with pytest.raises(ValueError, match="classification: the loss became nan at step 0"):
        train(task, cached, FitSettings(steps=4, batch=32, warmup_steps=1, validate_every=2))


def test_the_last_steps_are_validated_too(task, cached):
    steps = []
    score = task.score
    task.score = lambda measured: score(measured) | {"top-1": float(len(steps.append(1) or steps))}
    fitted = train(task, cached, FitSettings(steps=5, batch=32, warmup_steps=1, validate_every=3))
    assert (fitted.metrics["top-1"], fitted.step) == (2.0, 5)
    short = train(task, cached, FitSettings(steps=2, batch=32, warmup_steps=1, validate_every=1000))
    assert short.step == 2


def test_a_rate_that_fails_is_left_out_and_not_the_others(task):
    def fake(settings, seed):
        if settings.lr > 1:
            raise ValueError("the loss became nan")
        return Fitted(nn.Identity(), {"top-1": 0.5}, 1)

    assert best_rate([10.0, 1e-3], FitSettings(seeds=1), fake, task)[0].lr == 1e-3
    with pytest.raises(ValueError, match="got no figure with any of the rates"):
        best_rate([10.0, 20.0], FitSettings(seeds=1), fake, task)


def test_the_best_rate_is_used_for_all_seeds(task):
    def fake(settings, seed):
        return Fitted(nn.Identity(), {"top-1": {1e-3: 0.4, 3e-3: 0.6}[settings.lr] + seed / 100}, 1)

    settings, fits = best_rate([1e-3, 3e-3], FitSettings(seeds=3), fake, task)
    assert settings.lr == 3e-3
    assert [each.metrics["top-1"] for each in fits] == [0.6, 0.61, 0.62]
    task.higher_is_better = False
    assert best_rate([1e-3, 3e-3], FitSettings(seeds=1), fake, task)[0].lr == 1e-3


def test_intervals_are_students_over_seeds(task, places):
    fits = [Fitted(nn.Identity(), {"top-1": value, "guess": 0.125}, 5) for value in (0.5, 0.6, 0.7)]
    result = summarise(task, places, fits, data="made", settings=SETTINGS, clips={"train clips": 8})
    assert result.metrics["top-1"] == pytest.approx(0.6)
    assert result.metrics["top-1 ±"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3))
    assert "guess ±" not in result.metrics
    assert [part["seed"] for part in result.parts] == [0, 1, 2]
    assert (result.settings["classes"], result.settings["train clips"]) == (8, 8)


def test_settings_that_train_nothing_are_refused():
    with pytest.raises(ValueError, match="seeds: got 0"):
        FitSettings(seeds=0)
