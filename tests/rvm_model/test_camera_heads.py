"""Features in, outputs out: only what is wanted, at the camera's size, per camera."""

import numpy as np
import pytest
import torch

from rvm_model.camera_heads import CameraHeads, HeadsConfig, Wanted, tensors
from rvm_model.engines import EngineInfo
from rvm_model.heads.clusters import ClusterConfig
from rvm_model.heads.palette import palette
from rvm_model.snapshot import Remembered, SnapshotError

INFO = EngineInfo("torch", "tiny", False, "cpu", "fp32", 64, 96, 16, 24)
PICTURES = Wanted(pca=True, segmentation=True, overlay=True)


def config(**settings) -> HeadsConfig:
    return HeadsConfig(**{"clusters": ClusterConfig(clusters=3), **settings})


@pytest.fixture
def heads():
    return CameraHeads(INFO, config())


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (50, 70, 3), np.uint8)


def features(seed: int = 0) -> torch.Tensor:
    return torch.randn(25, 24, generator=torch.Generator().manual_seed(seed))


def test_features_and_cls_token_are_the_engines():
    given = features()
    out = tensors(INFO, given, Wanted(features=True, cls_token=True))
    np.testing.assert_array_equal(out.features, given[1:].reshape(4, 6, 24))
    np.testing.assert_array_equal(out.cls_token, given[:1].reshape(1, 1, 24))
    only = tensors(INFO, given, Wanted(cls_token=True))
    assert (only.features, only.cls_token.shape) == (None, (1, 1, 24))


def test_pictures_have_the_promised_shapes_and_types(heads):
    out = heads.draw(image(), features(), PICTURES)
    assert (out.pca.shape, out.pca.dtype) == ((50, 70, 3), np.uint8)
    assert (out.segmentation.shape, out.segmentation.dtype) == ((50, 70), np.uint8)
    assert (out.overlay.shape, out.overlay.dtype) == ((50, 70, 3), np.uint8)


@pytest.mark.parametrize("name", ["pca", "segmentation", "overlay"])
def test_only_what_is_wanted_is_computed(heads, monkeypatch, name):
    calls = []
    for head in ("_pca", "_clusters"):
        real = getattr(heads, head)
        monkeypatch.setattr(heads, head, lambda *args, real=real, head=head: calls.append(head) or real(*args))
    out = heads.draw(image(), features(), Wanted(**{name: True}))
    assert [field for field in vars(out) if getattr(out, field) is not None] == [name]
    assert calls == {"pca": ["_pca"]}.get(name, ["_clusters"])


def test_overlay_shows_the_segmentations_colours_over_the_image(heads):
    out = heads.draw(image(), features(), PICTURES)
    expected = image() * 0.5 + palette(3)[out.segmentation] * 0.5
    assert np.abs(out.overlay - expected).max() <= 1


def test_pictures_for_people_can_be_smaller_and_labels_keep_the_cameras_size():
    out = CameraHeads(INFO, config(picture_height=20)).draw(image(), features(), PICTURES)
    assert (out.pca.shape, out.overlay.shape, out.segmentation.shape) == ((20, 28, 3), (20, 28, 3), (50, 70))
    larger = CameraHeads(INFO, config(picture_height=80)).draw(image(), features(), PICTURES)
    assert (larger.pca.shape, larger.overlay.shape) == ((50, 70, 3), (50, 70, 3))


def test_many_clusters_give_16_bit_labels():
    heads = CameraHeads(INFO, config(clusters=ClusterConfig(clusters=300)))
    assert heads.draw(image(), features(), Wanted(segmentation=True)).segmentation.dtype == np.uint16
    assert (heads.labels.unlabelled, len(heads.labels.labels)) == (65535, 300)


def test_labels_have_names_and_the_overlays_colours(heads):
    assert heads.labels.source == "clusters"
    assert heads.labels.unlabelled == 255
    assert [(label.id, label.name) for label in heads.labels.labels] == [(i, f"cluster {i}") for i in range(3)]
    assert [label.colour for label in heads.labels.labels] == [tuple(colour) for colour in palette(3).tolist()]


def test_a_read_only_frame_is_taken(heads):
    frame = image()
    frame.flags.writeable = False
    assert heads.draw(frame, features(), PICTURES).overlay is not None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"overlay_alpha": 1.2}, "overlay_alpha: got 1.2"), ({"picture_height": -1}, "picture_height: got -1")],
)
def test_settings_out_of_range_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        HeadsConfig(**settings)


def test_what_is_remembered_goes_on_to_the_last_bit(heads):
    for seed in range(3):
        heads.draw(image(seed), features(seed), PICTURES)
    remembered = heads.remember()
    expected = heads.draw(image(7), features(7), PICTURES)
    other = CameraHeads(INFO, config())
    other.draw(image(9), features(9), PICTURES)
    other.recall(remembered)
    got = other.draw(image(7), features(7), PICTURES)
    for name in ("pca", "segmentation", "overlay"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_heads_that_forgot_start_as_new_ones(heads):
    heads.draw(image(), features(), PICTURES)
    heads.forget()
    assert heads.remember() == {}


def test_what_these_heads_do_not_follow_is_refused_and_nothing_is_changed(heads):
    heads.draw(image(), features(), PICTURES)
    before = heads.remember()
    with pytest.raises(SnapshotError, match=r"got heads \['depth'\]"):
        heads.recall({"depth": Remembered()})
    with pytest.raises(SnapshotError, match="for PCAState, expected"):
        heads.recall({"clusters": before["clusters"], "pca": Remembered({"axes": torch.zeros(2)})})
    assert heads.remember().keys() == before.keys()
    assert torch.equal(heads.remember()["pca"].tensors["axes"], before["pca"].tensors["axes"])
