"""Features are computed once, for each model and setting; clips that cannot be used are told."""

from dataclasses import replace

import pytest
import torch

from rvm_training.readout.cache import FEATURES, FeatureClips, cache_features
from rvm_training.readout.task import Sample, collate


def test_features_are_computed_once(places, few, tmp_path):
    first = cache_features(places, few.task, "val", few.samples("val"), tmp_path)
    assert places.calls == len(first.files) == 8
    first.files[3].unlink()
    again = cache_features(places, few.task, "val", few.samples("val"), tmp_path)
    assert again.files == first.files
    assert places.calls == 9
    assert not list(tmp_path.rglob("*.partial"))


def test_a_clip_comes_back_as_it_was(places, few, tmp_path):
    samples = few.samples("train")
    cached = cache_features(places, few.task, "train", samples, tmp_path)
    item, clip = FeatureClips(cached.files)[2], samples[2].read()
    expected = places.features(clip.frames).flatten(1, 2)
    torch.testing.assert_close(item[FEATURES], expected, rtol=1e-3, atol=1e-4)  # Kept in half precision.
    assert item["label"] == int(clip.targets["label"])
    batch = collate([item, FeatureClips(cached.files)[3]])
    assert batch[FEATURES].shape == (2, 6, 16, 32)
    assert batch["label"].shape == (2,)


def test_other_weights_have_another_cache(places, few, tmp_path):
    mine = cache_features(places, few.task, "val", few.samples("val"), tmp_path)
    places.info = replace(places.info, weights="sha256:1")
    other = cache_features(places, few.task, "val", few.samples("val"), tmp_path)
    assert mine.files[0].parent != other.files[0].parent
    assert mine.files[0].name == other.files[0].name


def broken():
    raise ValueError("no such frame")


def test_few_clips_that_cannot_be_used_are_left_out(places, task, tmp_path):
    samples = [*task.samples("val")[:10], Sample("bad", broken)]
    cached = cache_features(places, task, "val", samples, tmp_path)
    assert len(cached.files) == 10
    assert cached.refused == ("bad: no such frame",)


def test_many_are_a_mistake(places, few, tmp_path):
    samples = [*few.samples("val"), Sample("bad", broken)]
    with pytest.raises(ValueError, match="got 1 unusable clips of 9 in val; the first: bad: no such frame"):
        cache_features(places, few.task, "val", samples, tmp_path)


def test_features_that_are_not_finite_are_refused(places, few, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "features", lambda frames: torch.full((len(frames), 4, 4, 2), 1e5))
    with pytest.raises(ValueError, match="not finite in half precision"):
        cache_features(places, few.task, "val", few.samples("val"), tmp_path)


def test_clips_of_one_name_are_refused(places, few, tmp_path):
    with pytest.raises(ValueError, match="got clips of the same name in val"):
        cache_features(places, few.task, "val", few.samples("val") * 2, tmp_path)


def test_clips_of_different_lengths_are_filled_up():
    batch = collate([{"points": torch.ones(2, 3)}, {"points": torch.ones(4, 3)}])
    assert batch["points"].shape == (2, 4, 3)
    assert batch["points"][0].sum() == 6
