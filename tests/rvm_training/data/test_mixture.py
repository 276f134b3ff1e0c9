"""Clips are drawn by the mixture's weights, then by their own."""

from collections import Counter

import numpy as np
import pytest

from rvm_training.data.manifest import Clip, Manifest
from rvm_training.data.mixture import Mixture


def shares(mixture: Mixture, manifest: Manifest, count: int = 4000) -> dict[str, float]:
    counts = Counter(manifest[mixture.draw(np.random.default_rng([3, i]))].path for i in range(count))
    return {path: number / count for path, number in counts.items()}


@pytest.fixture
def manifest(tmp_path):
    rows = [Clip(f"/{s}{i}", 0, 100, 25.0, s, float(i)) for s in ("a", "b") for i in range(4)]
    return Manifest.of([*rows, Clip("/short", 0, 5, 25.0, "b", 100.0)], tmp_path)


def test_sources_get_their_share_and_rows_their_weight(manifest):
    got = shares(Mixture(manifest, {"a": 3, "b": 1}, shortest=8), manifest)
    expected = {f"/a{i}": 0.75 * i / 6 for i in (1, 2, 3)} | {f"/b{i}": 0.25 * i / 6 for i in (1, 2, 3)}
    assert got.keys() == expected.keys()  # Neither the rows of weight 0 nor the short one.
    assert all(abs(got[path] - share) < 0.03 for path, share in expected.items())


def test_without_a_mixture_rows_count_by_their_own_weight(manifest):
    got = shares(Mixture(manifest, None), manifest)
    assert got["/short"] == pytest.approx(100 / 112, abs=0.03)


def test_short_rows_are_counted(manifest):
    assert Mixture(manifest, None, shortest=8).too_short == 1


def test_a_source_of_weight_zero_is_never_drawn(manifest):
    assert all(path.startswith("/a") for path in shares(Mixture(manifest, {"a": 1, "b": 0}), manifest, 500))


@pytest.mark.parametrize("weights", [{"a": 1}, {"a": 1, "b": 1, "c": 1}, {}])
def test_weights_must_name_exactly_the_sources(manifest, weights):
    with pytest.raises(ValueError, match=r"manifest: got a mixture of .* expected the sources \['a', 'b'\]"):
        Mixture(manifest, weights)


@pytest.mark.parametrize("weights", [{"a": -1, "b": 1}, {"a": 0, "b": 0}])
def test_senseless_weights_are_refused(manifest, weights):
    with pytest.raises(ValueError, match="expected weights of 0 or more and one above 0"):
        Mixture(manifest, weights)


def test_a_source_with_nothing_long_enough_is_told(manifest):
    with pytest.raises(ValueError, match=r"source 'a' has no row to draw \(9 rows are shorter than 1000 frames\)"):
        Mixture(manifest, {"a": 1, "b": 1}, shortest=1000)


def test_a_split_may_lack_sources_of_the_mixture(manifest, tmp_path):
    rows = [manifest[row] for row in range(len(manifest))]
    some = Manifest.of([row for row in rows if row.source == "a" or row.path == "/short"], tmp_path)
    assert Mixture.present(some, {"a": 3, "b": 1}) == {"a": 3, "b": 1}
    assert Mixture.present(some, {"a": 3, "b": 1}, shortest=8) == {"a": 3, "b": 0}
    assert Mixture.present(some, {"a": 3, "b": 1, "c": 1}) == {"a": 3, "b": 1}
