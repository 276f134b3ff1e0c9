"""Features in, outputs out: only what is wanted, at the camera's size, per camera."""

import dataclasses

import numpy as np
import pytest
import torch

from rvm_model.camera_heads import CameraHeads, HeadsConfig, Outputs, Wanted, tensors
from rvm_model.engines import EngineInfo
from rvm_model.heads.clusters import ClusterConfig, OnlineKMeans
from rvm_model.heads.palette import palette
from rvm_model.heads.pca import StreamingPCA
from rvm_model.heads.readout import Readout, ReadoutConfig, ReadoutError, ReadoutLabels, SegmentationReadout
from rvm_model.prompt import Prompt
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
    for head in (StreamingPCA, OnlineKMeans):
        real = head.__call__
        monkeypatch.setattr(head, "__call__", lambda *args, real=real, head=head: calls.append(head) or real(*args))
    out = heads.draw(image(), features(), Wanted(**{name: True}))
    assert [field for field in vars(out) if getattr(out, field) is not None and field != "labels"] == [name]
    assert (out.labels is not None) == (name != "pca")
    assert calls == {"pca": [StreamingPCA]}.get(name, [OnlineKMeans])


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
    [
        ({"overlay_alpha": 1.2}, "overlay_alpha: got 1.2"),
        ({"picture_height": -1}, "picture_height: got -1"),
        ({"prompt_history": 0}, "prompt_history: got 0"),
        ({"segmentation": "magic"}, "segmentation: got 'magic', expected one of clusters, propagation, readout"),
    ],
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


def scene(left: int, seed: int = 0) -> torch.Tensor:
    """Features of a 2x2 object from this column on, on a background, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.zeros(4, 6, 24)
    grid[..., 0] = 1.0
    grid[1:3, left : left + 2] = torch.eye(24)[1]
    grid += 0.05 * torch.randn(4, 6, 24, generator=generator)
    return torch.cat((torch.zeros(1, 24), grid.flatten(0, 1)))


SCENE = np.zeros((64, 96, 3), np.uint8)
FOLLOWING = Wanted(segmentation=True, confidence=True, overlay=True)


@pytest.fixture
def following():
    return CameraHeads(INFO, config(segmentation="propagation", prompt_history=3))


def covered(left: int) -> np.ndarray:
    """Pixels of the object."""
    mask = np.zeros((64, 96), bool)
    mask[16:48, 16 * left : 16 * left + 32] = True
    return mask


def test_before_something_is_marked_nothing_has_a_label(following):
    out = following.draw(SCENE + 9, scene(1), FOLLOWING, 1)
    assert (out.segmentation == 255).all()
    assert (out.confidence == 0).all()
    np.testing.assert_array_equal(out.overlay, SCENE + 9)
    assert [(label.id, label.name) for label in following.labels.labels] == [(0, "background")]


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(id=7, name="cup", box=(16, 16, 48, 48)),
        Prompt(id=7, name="cup", points=((24, 24),), negative=((90, 60),)),
        Prompt(name="cup", labels=np.where(covered(1), 7, 0).astype(np.uint8)),
        Prompt(name="cup", labels=np.where(covered(1), 7, 0).astype(np.uint16)[::2, ::2]),
    ],
    ids=["box", "points", "mask", "smaller mask of 16 bits"],
)
def test_an_object_that_was_marked_is_followed(following, prompt):
    following.draw(SCENE, scene(1), FOLLOWING, 1)
    assert following.mark(prompt) == "follows object 7 from 0 frames back"
    assert [(label.id, label.name) for label in following.labels.labels] == [(0, "background"), (7, "cup")]
    for left in (2, 3):
        out = following.draw(SCENE, scene(left, seed=left), FOLLOWING, left)
        found, expected = out.segmentation == 7, covered(left)
        assert (found & expected).sum() / (found | expected).sum() > 0.9
        assert set(np.unique(out.segmentation)) == {0, 7}
        assert out.confidence[32, 16 * left + 16] > 200
        assert tuple(out.overlay[32, 16 * left + 16]) != (0, 0, 0)
        assert tuple(out.overlay[5, 5]) == (0, 0, 0), "background is not painted"


def test_a_prompt_finds_the_frame_that_it_was_made_on(following):
    for left in (1, 2, 3):
        following.draw(SCENE, scene(left, seed=left), FOLLOWING, left * 1000)
    assert following.mark(Prompt(stamp_ns=1001, id=1, box=(16, 16, 48, 48))) == "follows object 1 from 2 frames back"
    out = following.draw(SCENE, scene(4, seed=4), FOLLOWING, 4000)
    found, expected = out.segmentation == 1, covered(4)
    assert (found & expected).sum() / (found | expected).sum() > 0.9


def test_a_prompt_on_a_frame_that_is_not_kept_is_refused(following):
    with pytest.raises(ValueError, match="none of the camera's frames yet"):
        following.mark(Prompt(box=(16, 16, 48, 48)))
    for stamp in range(1, 6):
        following.draw(SCENE, scene(1), FOLLOWING, stamp * 10**9)
    with pytest.raises(
        ValueError, match=r"its frame was 3.00 s before the newest, and those of the last 2.00 s are kept"
    ):
        following.mark(Prompt(stamp_ns=2 * 10**9, box=(16, 16, 48, 48)))


def test_objects_are_added_marked_anew_and_removed_while_others_go_on(following):
    following.draw(SCENE, scene(1), FOLLOWING, 1)
    following.mark(Prompt(id=1, box=(16, 16, 48, 48)))
    following.mark(Prompt(id=9, labels=np.where(covered(4), 9, 0).astype(np.uint8)))
    assert [label.id for label in following.labels.labels] == [0, 1, 9]
    assert following.mark(Prompt(remove=1)) == "object 1 is followed no more"
    assert [label.id for label in following.labels.labels] == [0, 9]
    with pytest.raises(ValueError, match=r"object: got id 1, expected one of \[9\]"):
        following.mark(Prompt(remove=1))
    assert following.mark(Prompt(clear=True)) == "follows nothing any more"
    assert (following.draw(SCENE, scene(1), FOLLOWING, 2).segmentation == 255).all()


def test_frames_are_kept_for_prompts_though_nobody_looks(following, monkeypatch):
    assert following.needs_every_frame
    for stamp in (1, 2):
        assert vars(following.draw(SCENE, scene(1), Wanted(), stamp)) == vars(Outputs())
    assert following.mark(Prompt(stamp_ns=1, box=(16, 16, 48, 48))) == "follows object 1 from 1 frames back"


def test_the_source_is_switched_while_frames_come_and_each_goes_on_where_it_was(following):
    following.draw(SCENE, scene(1), FOLLOWING, 1)
    following.mark(Prompt(id=5, box=(16, 16, 48, 48)))
    following.configure(config(segmentation="clusters"))
    assert following.labels.source == "clusters"
    out = following.draw(SCENE, scene(1), FOLLOWING, 2)
    assert out.segmentation.max() < 3
    assert out.confidence is None, "similarities are no probabilities"
    with pytest.raises(ValueError, match="set the parameter segmentation to propagation first"):
        following.mark(Prompt(box=(16, 16, 48, 48)))
    following.configure(config(segmentation="propagation", prompt_history=3))
    assert (following.draw(SCENE, scene(1), FOLLOWING, 3).segmentation == 5).any()


def test_objects_that_are_followed_come_back_from_what_was_remembered(following):
    following.draw(SCENE, scene(1), FOLLOWING, 1)
    following.mark(Prompt(id=5, name="cup", box=(16, 16, 48, 48)))
    remembered = following.remember()
    expected = following.draw(SCENE, scene(2), FOLLOWING, 2)
    again = CameraHeads(INFO, following.config)
    again.recall(remembered)
    assert [label.name for label in again.labels.labels] == ["background", "cup"]
    got = again.draw(SCENE, scene(2), FOLLOWING, 2)
    np.testing.assert_array_equal(got.segmentation, expected.segmentation)
    np.testing.assert_array_equal(got.confidence, expected.confidence)


def readout(weights: str = "untrained:tiny:0") -> Readout:
    head = SegmentationReadout(ReadoutConfig(dim=24, classes=2)).eval()
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.weight[0, 0], head.out.weight[1, 1] = 5.0, 5.0
        head.out.bias.zero_()
    return Readout(head, ReadoutLabels(("floor", "robot"), ((1, 2, 3), (250, 0, 0))), weights, (64, 96))


def test_a_readout_names_classes_with_its_own_colours():
    info = dataclasses.replace(INFO, weights="untrained:tiny:0")
    heads = CameraHeads(info, config(segmentation="readout", overlay_alpha=1.0), readout())
    out = heads.draw(SCENE, scene(2), FOLLOWING, 1)
    found, expected = out.segmentation == 1, covered(2)
    assert (found & expected).sum() / (found | expected).sum() > 0.9
    assert [(label.id, label.name) for label in heads.labels.labels] == [(0, "floor"), (1, "robot")]
    assert tuple(out.overlay[32, 48]) == (250, 0, 0)
    assert out.confidence[32, 48] > 200


def test_a_readout_of_other_features_or_none_at_all_is_refused():
    with pytest.raises(ReadoutError, match="expected untrained:tiny:0"):
        CameraHeads(INFO, config(), readout())
    with pytest.raises(ValueError, match="a readout needs its file in the parameter readout"):
        CameraHeads(INFO, config(segmentation="readout"))
