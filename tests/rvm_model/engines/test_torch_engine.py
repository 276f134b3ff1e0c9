"""The torch engine and the cameras' states."""

import pytest
import torch

from rvm_model.engines import CameraStates, TorchEngine
from rvm_model.weights import WeightsInfo

WEIGHTS = WeightsInfo("tiny", "untrained:tiny:0", trained=False)


@pytest.fixture
def engine(tiny_model):
    return TorchEngine(tiny_model, WEIGHTS, size=(32, 48))


def clip(length: int, batch: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (length, batch, 32, 48, 3), dtype=torch.uint8)


def test_info_tells_what_runs(engine):
    info = engine.info
    assert (info.kind, info.device, info.precision, info.trained) == ("torch", "cpu", "fp32", False)
    assert (info.grid, info.tokens, info.dim) == ((2, 3), 7, 24)
    assert info.weights == "untrained:tiny:0"


def test_steps_equal_the_network_and_leave_the_given_state_alone(engine, tiny_model):
    state = engine.init_state(2)
    assert state.shape == (2, 7, 24)
    frames = clip(4, batch=2)
    expected, _ = tiny_model.forward_clip(frames.transpose(0, 1))
    for t in range(4):
        before = state.clone()
        features, new_state = engine.step(frames[t], state)
        assert torch.equal(state, before)
        torch.testing.assert_close(features, expected[:, t], rtol=1e-5, atol=1e-5)
        state = new_state


@pytest.mark.parametrize(
    ("frames", "state", "message"),
    [
        (
            torch.zeros(1, 32, 32, 3, dtype=torch.uint8),
            torch.zeros(1, 7, 24),
            r"expected uint8 \[B, 32, 48, 3\]",
        ),
        (torch.zeros(1, 32, 48, 3), torch.zeros(1, 7, 24), "got torch.float32"),
        (torch.zeros(2, 32, 48, 3, dtype=torch.uint8), torch.zeros(1, 7, 24), r"= \(2, 7, 24\)"),
    ],
)
def test_a_misfit_is_refused(engine, frames, state, message):
    with pytest.raises(ValueError, match=message):
        engine.step(frames, state)


def test_a_size_that_does_not_fit_the_patch_is_refused(tiny_model):
    with pytest.raises(ValueError, match="got 30x48.*resize to 32x48"):
        TorchEngine(tiny_model, WEIGHTS, size=(30, 48))


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "mps"])
def test_a_device_that_is_not_there_is_refused(tiny_model, device):
    with pytest.raises(ValueError, match=f"device: got '{device}'"):
        TorchEngine(tiny_model, WEIGHTS, size=(32, 48), device=device)


def test_cameras_of_a_batch_keep_their_own_past(engine):
    frames = clip(5, batch=2)
    states, front_alone, rear_alone = CameraStates(engine), CameraStates(engine), CameraStates(engine)
    for t in range(5):
        # The rear camera has a frame only now and then: the front's past must not leak into its state.
        cameras = ["front", "rear"] if t % 2 == 0 else ["front"]
        together = states.step(cameras, frames[t, : len(cameras)])
        torch.testing.assert_close(together[0], front_alone.step(["front"], frames[t, :1])[0], rtol=1e-5, atol=1e-5)
        if t % 2 == 0:
            torch.testing.assert_close(together[1], rear_alone.step(["rear"], frames[t, 1:])[0], rtol=1e-5, atol=1e-5)
    assert (states.age("front"), states.age("rear")) == (5, 3)


def test_resetting_one_camera_leaves_the_other(engine):
    frames = clip(3, batch=2)
    reset, kept = CameraStates(engine), CameraStates(engine)
    for t in range(2):
        reset.step(["a", "b"], frames[t])
        kept.step(["a", "b"], frames[t])
    reset.reset("a")
    assert (reset.age("a"), reset.age("b")) == (0, 2)
    after, expected = reset.step(["a", "b"], frames[2]), kept.step(["a", "b"], frames[2])
    assert torch.equal(after[1], expected[1])
    fresh = CameraStates(engine).step(["a", "b"], frames[2])
    torch.testing.assert_close(after[0], fresh[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(after[0], expected[0], rtol=1e-3, atol=1e-3)


def test_a_camera_may_not_be_named_twice(engine):
    with pytest.raises(ValueError, match="each camera once"):
        CameraStates(engine).step(["a", "a"], clip(1, batch=2)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpus_numbers_over_64_steps(tiny_model, engine):
    import copy

    on_gpu = TorchEngine(copy.deepcopy(tiny_model), WEIGHTS, size=(32, 48), device="cuda")
    state, gpu_state = engine.init_state(1), on_gpu.init_state(1)
    for frames in clip(64):
        _, state = engine.step(frames, state)
        _, gpu_state = on_gpu.step(frames.cuda(), gpu_state)
    torch.testing.assert_close(gpu_state.cpu(), state, rtol=1e-4, atol=1e-4)
