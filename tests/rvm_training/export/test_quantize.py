"""Eight bits that cost little: weights rounded by what is seen, activations centred without a change."""

import numpy as np
import onnxruntime
import pytest
import torch

from rvm_model.inference import InferenceStep
from rvm_training.export.onnx_graph import build, save
from rvm_training.export.quantize import quantize, round_weights
from rvm_training.synthetic.generate import SceneConfig, random_scene

SIZE = (32, 48)


def clip(seed: int, length: int = 12) -> torch.Tensor:
    scene = random_scene(np.random.default_rng(seed), *SIZE, SceneConfig(noise_square_share=0))
    return torch.from_numpy(np.stack([scene.frame(t) for t in range(length)]))


def run(step, frames) -> torch.Tensor:
    state, features = torch.zeros(1, 7, 24), []
    with torch.inference_mode():
        for frame in frames:
            state = step(frame[None], state)
            features.append(state)
    return torch.stack(features)


def test_rounding_by_what_is_seen_beats_the_nearest_integer():
    rng = torch.Generator().manual_seed(0)
    # Inputs that mostly take a few directions, as activations do.
    x = torch.randn(2000, 6, generator=rng) @ torch.randn(6, 64, generator=rng)
    x += 0.05 * torch.randn(2000, 64, generator=rng)
    weight = torch.randn(32, 64, generator=rng)
    scale = weight.abs().amax(1) / 127
    nearest = (weight / scale[:, None]).round()
    chosen = round_weights(weight, scale, (x.T @ x).double(), block=10)
    assert torch.equal(chosen, chosen.round())
    assert chosen.abs().max() <= 127
    error = [float((x @ (q * scale[:, None] - weight).T).norm()) for q in (chosen, nearest)]
    assert error[0] < 0.3 * error[1]


def test_centring_changes_no_number(model):
    step = InferenceStep(model, SIZE)
    before = {name: tensor.clone() for name, tensor in step.state_dict().items()}
    centred, _ = quantize(step, [clip(1)])
    frames = clip(2)
    torch.testing.assert_close(run(centred, frames), run(step, frames), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in step.state_dict().items()), "left as it was"
    moved = [name for name, tensor in centred.state_dict().items() if not torch.equal(before[name], tensor)]
    assert moved
    assert all(name.endswith("bias") for name in moved)


def test_the_graph_in_eight_bits_stays_near_the_network(model, tmp_path):
    step = InferenceStep(model, SIZE)
    centred, layers = quantize(step, [clip(seed) for seed in range(10, 30)])
    assert len(layers) == 1 + 4 * 2 + 3 + 6 * 2
    proto = build(centred, layers)
    path = save(proto, tmp_path / "step.onnx")[0]
    assert sum(node.op_type == "QuantizeLinear" for node in proto.graph.node) == len(layers)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = clip(5)
    expected = run(step, frames)
    state, worst = np.zeros((1, 7, 24), np.float32), 0.0
    for frame, reference in zip(frames, expected.numpy(), strict=True):
        (state,) = session.run(None, {"frames": frame[None].numpy(), "state": state})
        worst = max(worst, float(np.linalg.norm(state - reference) / np.linalg.norm(reference)))
    assert 1e-5 < worst < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_zero_is_always_exact(model, seed):
    _, layers = quantize(InferenceStep(model, SIZE), [clip(seed, 3)])
    assert all(0 <= layer.zero_point <= 255 and layer.scale > 0 for layer in layers.values())
    assert all(np.abs(layer.weight.astype(int)).max() == 127 for layer in layers.values())
