"""Frames in, outputs out: only what is wanted, at the camera's size, per camera."""

import numpy as np
import pytest
import torch

from rvm_model.engines import TorchEngine
from rvm_model.heads.clusters import ClusterConfig
from rvm_model.perception import Outputs, Perception, PerceptionConfig, Wanted
from rvm_model.weights import WeightsInfo

EVERYTHING = Wanted(features=True, cls_token=True, pca=True, segmentation=True, overlay=True)


@pytest.fixture
def perception(tiny_model):
    engine = TorchEngine(tiny_model, WeightsInfo("tiny", "tiny", trained=False), size=(32, 48))
    return Perception(engine, PerceptionConfig(clusters=ClusterConfig(clusters=3), overlay_alpha=0.5))


def frame(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (50, 70, 3), np.uint8)


def perceive(perception: Perception, image: np.ndarray, wanted: Wanted, camera: str = "front") -> Outputs:
    features = perception.encode([camera], perception.prepare({camera: image}))
    return perception.render(camera, image, features[camera], wanted)


def test_outputs_have_the_promised_shapes_and_types(perception):
    out = perceive(perception, frame(), EVERYTHING)
    assert (out.features.shape, out.features.dtype) == ((2, 3, 24), np.float32)
    assert (out.cls_token.shape, out.cls_token.dtype) == ((1, 1, 24), np.float32)
    assert (out.pca.shape, out.pca.dtype) == ((50, 70, 3), np.uint8)
    assert (out.segmentation.shape, out.segmentation.dtype) == ((50, 70), np.uint8)
    assert (out.overlay.shape, out.overlay.dtype) == ((50, 70, 3), np.uint8)


def test_features_are_the_engines_patch_tokens_and_cls(perception, tiny_model):
    out = perceive(perception, frame(), EVERYTHING)
    with torch.no_grad():
        expected, _ = tiny_model.step(perception.prepare({"front": frame()}))
    np.testing.assert_allclose(out.features.reshape(6, 24), expected[0, 1:].numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(out.cls_token.reshape(24), expected[0, 0].numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["features", "cls_token", "pca", "segmentation", "overlay"])
def test_only_what_is_wanted_is_computed(perception, monkeypatch, name):
    calls = []
    for head in ("_pca", "_clusters"):
        real = getattr(perception, head)
        monkeypatch.setattr(perception, head, lambda *args, real=real, head=head: calls.append(head) or real(*args))
    out = perceive(perception, frame(), Wanted(**{name: True}))
    assert [field for field in vars(out) if getattr(out, field) is not None] == [name]
    assert calls == {"pca": ["_pca"], "segmentation": ["_clusters"], "overlay": ["_clusters"]}.get(name, [])


def test_overlay_shows_the_segmentations_colours_over_the_image(perception):
    image = frame()
    out = perceive(perception, image, EVERYTHING)
    from rvm_model.heads.palette import palette

    expected = image * 0.5 + palette(3)[out.segmentation] * 0.5
    assert np.abs(out.overlay - expected).max() <= 0.5


def test_many_clusters_give_16_bit_labels(tiny_model):
    engine = TorchEngine(tiny_model, WeightsInfo("tiny", "tiny", trained=False), size=(32, 48))
    perception = Perception(engine, PerceptionConfig(clusters=ClusterConfig(clusters=300)))
    assert perceive(perception, frame(), Wanted(segmentation=True)).segmentation.dtype == np.uint16


def test_cameras_do_not_share_state_or_statistics(perception, tiny_model):
    for seed in range(3):
        perceive(perception, frame(seed), EVERYTHING, "front")
    rear = perceive(perception, frame(9), EVERYTHING, "rear")
    perception.forget("rear")
    again = perceive(perception, frame(9), EVERYTHING, "rear")
    for name in ("features", "pca", "segmentation"):
        np.testing.assert_array_equal(getattr(rear, name), getattr(again, name))
    assert perception.states.age("front") == 3


def test_a_read_only_frame_is_taken(perception):
    image = frame()
    image.flags.writeable = False
    assert perceive(perception, image, EVERYTHING).overlay is not None


def test_an_overlay_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="overlay_alpha: got 1.2"):
        PerceptionConfig(overlay_alpha=1.2)


def test_warming_up_runs_the_largest_batch_and_touches_no_camera(perception, monkeypatch):
    batches, step = [], perception.engine.step
    monkeypatch.setattr(perception.engine, "step", lambda f, s: batches.append(len(f)) or step(f, s))
    perception.warm_up(3)
    assert batches == [3]
    assert perception.states.age("front") == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1e20])
def test_features_beyond_all_measure_are_known(perception, value):
    features = {"front": torch.zeros(7, 24), "rear": torch.full((7, 24), -5e3)}
    assert perception.sound(features) == {"front": True, "rear": True}
    features["front"][3, 5] = value
    assert perception.sound(features) == {"front": False, "rear": True}


def test_a_cameras_heads_can_be_forgotten_without_its_state(perception):
    perceive(perception, frame(), EVERYTHING)
    perception.forget_heads("front")
    assert perception.states.age("front") == 1
    assert "front" not in perception._heads
