"""Eight bits that cost little: weights rounded by what is seen, activations in ranges of their own."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rvm_model.engines import EngineInfo
from rvm_model.engines.onnx_engine import OnnxEngine
from rvm_model.engines.onnx_graph import build, save
from rvm_model.inference import InferenceStep
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


def test_most_layers_are_quantized_and_the_step_is_left_as_it_was(model):
    step = InferenceStep(model, SIZE)
    before = {name: tensor.clone() for name, tensor in step.state_dict().items()}
    layers = quantize(step, [clip(1)], show=False)
    assert len(layers) == 1 + 4 * 2 + 3 + 4 * 2, "all but the outputs of the core's attentions"
    assert all(torch.equal(before[name], tensor) for name, tensor in step.state_dict().items())
    assert all((layer.gain > 0).all() and np.isfinite(layer.offset).all() for layer in layers.values())
    assert all(np.abs(layer.weight.astype(int)).max() == 127 for layer in layers.values())


def test_what_calibration_saw_lies_well_within_the_range(model):
    step = InferenceStep(model, SIZE)
    layers = quantize(step, [clip(1)], show=False)
    seen: dict[torch.nn.Module, list[torch.Tensor]] = {linear: [] for linear in layers}
    for linear in layers:
        linear.register_forward_pre_hook(lambda module, inputs: seen[module].append(inputs[0].flatten(0, -2)))
    run(step, clip(1))
    for linear, layer in layers.items():
        levels = torch.cat(seen[linear]).numpy() * layer.gain + layer.offset
        assert levels.min() > 30
        assert levels.max() < 225
        assert levels.max() - levels.min() > 100, "and fills a good part of it"


def test_a_layer_in_eight_bits_gives_nearly_what_it_gave(model):
    step = InferenceStep(model, SIZE)
    layers = quantize(step, [clip(seed) for seed in range(8)], show=False)
    linear = step.keys_values
    layer, x = layers[linear], []
    linear.register_forward_pre_hook(lambda _, inputs: x.append(inputs[0][0]))
    run(step, clip(20))
    tokens = torch.cat(x).numpy()
    levels = np.clip(np.round(tokens * layer.gain + layer.offset), 0, 255).astype(np.int32)
    got = layer.weight_scale * (levels @ layer.weight.T.astype(np.int32)) + layer.shift
    expected = tokens @ linear.weight.numpy().T
    assert 1e-4 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 0.06


@pytest.mark.parametrize(("rest", "tensorrt"), [("fp32", False), ("fp32", True), ("fp16", True)])
def test_the_graph_in_eight_bits_stays_near_the_network(model, tmp_path, rest, tensorrt):
    step = InferenceStep(model, SIZE)
    layers = quantize(step, [clip(seed) for seed in range(10, 30)], show=False)
    proto = build(step, layers, rest=rest, tensorrt=tensorrt)
    path = save(proto, tmp_path / "step.onnx")[0]
    assert sum(node.op_type == "QuantizeLinear" for node in proto.graph.node) == len(layers)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = clip(5)
    expected = run(step, frames)
    state, worst = np.zeros((1, 7, 24), np.float32), 0.0
    for frame, reference in zip(frames, expected.numpy(), strict=True):
        (state,) = session.run(None, {"frames": frame[None].numpy(), "state": state})
        worst = max(worst, float(np.linalg.norm(state - reference) / np.linalg.norm(reference)))
    assert 1e-5 < worst < 0.02


def test_frames_darker_than_all_of_calibration_stay_near_too(model, tmp_path):
    step = InferenceStep(model, SIZE)
    path = save(build(step, quantize(step, [clip(seed) for seed in range(10, 30)], show=False)), tmp_path / "s.onnx")[0]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = (clip(5).float() * 0.1).to(torch.uint8)
    state = np.zeros((1, 7, 24), np.float32)
    for frame in frames:
        (state,) = session.run(None, {"frames": frame[None].numpy(), "state": state})
    reference = run(step, frames)[-1].numpy()
    assert np.linalg.norm(state - reference) / np.linalg.norm(reference) < 0.05


@pytest.mark.parametrize("rest", ["fp32", "fp16"])
def test_the_graph_in_float8_stays_near_the_network(model, tmp_path, rest):
    step = InferenceStep(model, SIZE)
    layers = quantize(step, [clip(seed) for seed in range(10, 20)], float8=True, show=False)
    proto = build(step, layers, rest=rest)
    onnx.checker.check_model(proto, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert types["encoder.0.mlp_in.weight_quantized"] == onnx.TensorProto.FLOAT8E4M3FN
    info = EngineInfo("onnx", "w", True, "cpu", "fp8", *SIZE, 16, 24, rest=rest)
    engine = OnnxEngine(save(proto, tmp_path / "step.onnx")[0], info, threads=1)
    frames, state, worst = clip(5), engine.init_state(1), 0.0
    for frame, reference in zip(frames, run(step, frames), strict=True):
        features, state = engine.step(frame[None], state)
        worst = max(worst, float((features - reference).norm() / reference.norm()))
    assert 1e-4 < worst < 0.1
