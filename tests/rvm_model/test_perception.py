"""Frames in, features out, per camera."""

import numpy as np
import pytest
import torch

from rvm_model.engines import TorchEngine
from rvm_model.perception import Perception
from rvm_model.weights import WeightsInfo


@pytest.fixture
def perception(tiny_model):
    return Perception(TorchEngine(tiny_model, WeightsInfo("tiny", "tiny", trained=False), size=(32, 48)))


def frame(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (50, 70, 3), np.uint8)


def encode(perception: Perception, image: np.ndarray, camera: str = "front") -> torch.Tensor:
    return perception.encode([camera], perception.prepare({camera: image}))[camera]


def test_features_are_the_networks(perception, tiny_model):
    with torch.no_grad():
        expected, _ = tiny_model.step(perception.prepare({"front": frame()}))
    torch.testing.assert_close(encode(perception, frame()), expected[0], rtol=1e-5, atol=1e-5)


def test_cameras_do_not_share_a_state(perception):
    for seed in range(3):
        encode(perception, frame(seed), "front")
    rear = encode(perception, frame(9), "rear")
    perception.states.reset("rear")
    assert torch.equal(rear, encode(perception, frame(9), "rear"))
    assert perception.states.age("front") == 3


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


def test_a_state_that_is_put_back_goes_on_to_the_last_bit(perception):
    for seed in range(3):
        encode(perception, frame(seed))
    kept = perception.states.get("front")
    expected = [encode(perception, frame(seed)).clone() for seed in (7, 8)]
    perception.states.put("front", kept, 3)
    assert perception.states.age("front") == 3
    assert all(torch.equal(e, encode(perception, frame(s))) for e, s in zip(expected, (7, 8), strict=True))
    assert perception.states.get("rear") is None


def test_a_state_of_another_size_is_refused(perception):
    with pytest.raises(ValueError, match=r"state: got torch.float32 \(1, 5, 24\), expected float32 \(1, 7, 24\)"):
        perception.states.put("front", torch.zeros(1, 5, 24), 1)


def test_a_state_fades_by_its_factor_and_the_others_stay(perception):
    for camera in ("front", "rear"):
        encode(perception, frame(), camera)
    front, rear = perception.states.get("front"), perception.states.get("rear")
    perception.states.decay("front", 0.25)
    perception.states.decay("never seen", 0.25)
    assert torch.equal(perception.states.get("front"), 0.25 * front)
    assert torch.equal(perception.states.get("rear"), rear)
    assert perception.states.age("front") == 1
