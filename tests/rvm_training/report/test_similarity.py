"""Cosines on the page are those of the features."""

import numpy as np

from rvm_training.report.similarity import coded


def test_cosines_of_coded_tokens_are_those_of_the_features():
    rng = np.random.default_rng(0)
    few = rng.standard_normal((6, 4, 5, 20)) @ rng.standard_normal((20, 96))
    features = (few + 10 * rng.standard_normal(96)).astype(np.float32)
    similarity = coded(list(features))
    assert similarity.tokens.shape == (6, 20, 48)
    tokens = (similarity.offsets + similarity.tokens * similarity.steps).reshape(-1, 48)
    unit = features.reshape(-1, 96) / np.linalg.norm(features.reshape(-1, 96), axis=1, keepdims=True)
    error = np.abs(tokens @ tokens.T - unit @ unit.T)
    assert np.quantile(error, 0.95) < 1.2 * similarity.error < 0.01


def test_the_error_is_told_where_the_directions_are_too_many():
    noise = np.random.default_rng(0).standard_normal((4, 8, 8, 384)).astype(np.float32)
    assert coded(list(noise)).error > 0.02


def test_features_that_are_all_the_same_are_no_trouble():
    assert coded(list(np.ones((2, 3, 4, 24), np.float16))).error < 0.01
    assert np.isfinite(coded(list(np.zeros((2, 3, 4, 24), np.float16))).error)
