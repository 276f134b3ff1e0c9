"""Eight bits that cost little: weights rounded by what is seen, activations in ranges of their own."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rvm_model.engines import EngineInfo
from rvm_model.engines.onnx_engine import OnnxEngine
from rvm_model.engines.onnx_graph import QuantizedLinear, build, save
from rvm_model.inference import InferenceStep
from rvm_training.export.quantize import KEPT_ABOVE, Seen, in_integers, quantize, round_weights
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


def in_eight_bits(layer: QuantizedLinear, x: torch.Tensor) -> torch.Tensor:
    """What a layer gives for x [tokens, in], without its bias."""
    levels = np.clip(np.round(x.numpy() * layer.gain + layer.offset), 0, 255).astype(np.int32)
    return torch.from_numpy(layer.weight_scale * (levels @ layer.weight.T.astype(np.int32)) + layer.shift)


def random_inputs(channels: int = 64, tokens: int = 4000) -> torch.Tensor:
    """Inputs [tokens, in] that mostly take a few directions, as activations do."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, 12, generator=rng) @ torch.randn(12, channels, generator=rng)
    return x + 0.3 * torch.randn(tokens, channels, generator=rng)


def random_linear(channels: int = 64) -> torch.nn.Linear:
    linear = torch.nn.Linear(channels, 48, bias=False).requires_grad_(False)
    linear.weight.copy_(torch.randn(48, channels, generator=torch.Generator().manual_seed(1)))
    return linear


def calibrated(x: torch.Tensor, frame: int = 100) -> Seen:
    inputs = Seen(x.shape[1])
    for tokens in x.split(frame):
        inputs.add(tokens)
    return inputs


def test_mean_and_covariance_are_those_of_all_tokens_though_the_first_frame_is_unlike_the_rest():
    x = random_inputs()
    x[:100] += 50
    inputs = calibrated(x)
    assert torch.allclose(inputs.mean(), x.mean(0), atol=1e-3)
    assert torch.allclose(inputs.covariance(), torch.cov(x.T, correction=0), rtol=1e-3, atol=1e-2)


def test_rounding_by_what_is_seen_beats_the_nearest_integer():
    x = random_inputs()
    weight = random_linear().weight
    scale = weight.abs().amax(1) / 127
    nearest = (weight / scale[:, None]).round()
    chosen = round_weights(weight, scale, (x.T @ x).double(), block=10)
    assert torch.equal(chosen, chosen.round())
    assert chosen.abs().max() <= 127
    error = [float((x @ (q * scale[:, None] - weight).T).norm()) for q in (chosen, nearest)]
    assert error[0] < 0.3 * error[1]


def test_rounded_weights_do_not_depend_on_the_order_of_the_inputs():
    x, weight = random_inputs() * torch.logspace(-1, 1, 64), random_linear().weight
    scale, moment = weight.abs().amax(1) / 127, (x.T @ x).double()
    expected = round_weights(weight, scale, moment)
    back = round_weights(weight.flip(1), scale, moment.flip(0, 1)).flip(1)
    assert float((back == expected).float().mean()) > 0.999


def test_a_large_mean_is_given_back_though_weights_are_rounded():
    x, linear = random_inputs(), random_linear()
    x += 300 * torch.randn(64, generator=torch.Generator().manual_seed(2))
    layer, _ = in_integers(linear, calibrated(x))
    off = in_eight_bits(layer, x) - linear(x)
    assert off.mean(0).abs().max() < 0.1 * off.std(), "without the correction it would be many times the rest"


def test_pixels_are_taken_exactly_whatever_calibration_saw_of_them():
    rng = torch.Generator().manual_seed(0)
    seen = calibrated(torch.randint(40, 90, (4000, 64), generator=rng) / 255)
    others = torch.randint(0, 256, (4000, 64), generator=rng) / 255
    linear = torch.nn.Linear(64, 48, bias=False).requires_grad_(False)
    linear.weight.copy_(torch.randint(-127, 128, linear.weight.shape, generator=rng) / 127)
    linear.weight[:, 0] = 1  # The largest of every output, so that these weights are exact too.
    layer, estimate = in_integers(linear, seen, pixels=True)
    assert torch.allclose(in_eight_bits(layer, others).float(), linear(others), atol=1e-3)
    assert estimate < 1e-3
    unaware, _ = in_integers(linear, seen)
    assert not torch.allclose(in_eight_bits(unaware, others).float(), linear(others), atol=0.1)


def test_loud_channels_with_small_weights_do_not_spoil_the_other_weights():
    x, linear = random_inputs(), random_linear()
    x[:, :2] *= 30
    linear.weight[:, :2] /= 30
    layer, _ = in_integers(linear, calibrated(x))
    weight = torch.from_numpy(layer.weight_scale[:, None] * layer.weight * layer.gain)
    x -= x.mean(0)
    off = x @ (weight - linear.weight).T
    assert off.norm() / linear(x).norm() < 0.004, "with the covariance of x instead of the integers': 0.026"


@pytest.mark.parametrize(
    ("x", "column"),
    [
        pytest.param(random_inputs(), 1, id="few directions"),
        pytest.param(random_inputs() + 300, 1, id="a large mean"),
        # Few steps are left for the other weights: most of the error is theirs.
        pytest.param(
            torch.randn(4000, 64, generator=torch.Generator().manual_seed(4)), 30, id="a column of large weights"
        ),
    ],
)
def test_the_estimated_error_is_the_measured_one(x, column):
    linear = random_linear()
    linear.weight[:, 7] *= column
    layer, estimate = in_integers(linear, calibrated(x))
    y = linear(x)
    off = (in_eight_bits(layer, x) - y).square().sum()
    # What is left of y when the channel that tells most of it is known.
    centred = x - x.mean(0)
    left = min(
        float((y - y.mean(0) - channel[:, None] * (channel @ y / channel.square().sum())).square().sum())
        for channel in centred.T
    )
    assert estimate == pytest.approx(float(off / left) ** 0.5, rel=0.05)
    assert (estimate < KEPT_ABOVE) == (column == 1)


def test_a_channel_that_was_quiet_during_calibration_may_become_as_loud_as_the_others():
    x, linear = random_inputs(), random_linear()
    before = x.clone()
    before[:, 7] *= 0.01
    layer, _ = in_integers(linear, calibrated(before))
    off = in_eight_bits(layer, x) - linear(x)
    assert off.norm() / linear(x).norm() < 0.03


@pytest.mark.parametrize("times", [100, 1000])
@pytest.mark.parametrize("where", ["channel", "register", "channels of a token"])
def test_massive_activations_are_too_much_for_eight_bits(where, times):
    x = random_inputs()
    if where == "channel":
        x[:, 7] *= times
    elif where == "register":
        x[::100] = times * x[0]
    else:
        x[::100, :4] *= times
    _, estimate = in_integers(random_linear(), calibrated(x))
    assert estimate > KEPT_ABOVE


def test_most_layers_are_quantized_and_the_step_is_left_as_it_was(model):
    step = InferenceStep(model, SIZE)
    before = {name: tensor.clone() for name, tensor in step.state_dict().items()}
    layers = quantize(step, [clip(1)], show=False)
    assert len(layers) == 1 + 4 * 2 + 3 + 4 * 2, "all but the outputs of the core's attentions"
    assert all(torch.equal(before[name], tensor) for name, tensor in step.state_dict().items())
    assert all((layer.gain > 0).all() and np.isfinite(layer.offset).all() for layer in layers.values())
    assert all(np.abs(layer.weight.astype(int)).max() == 127 for layer in layers.values())


def test_the_log_tells_what_is_always_kept_and_warns_of_no_other_layer(model, caplog):
    step = InferenceStep(model, SIZE)
    with caplog.at_level(logging.INFO, logger="rvm_training"):
        layers = quantize(step, [clip(seed) for seed in range(8)], show=False)
    kept = {name for name, m in step.named_modules() if isinstance(m, torch.nn.Linear) and m not in layers}
    assert kept == {f"blocks.{block}.{part}" for block in range(2) for part in ("out", "attention.out")}
    assert all(name in caplog.messages[0] for name in kept)
    assert all(record.levelno == logging.INFO for record in caplog.records)


def test_a_layer_with_a_massive_token_stays_as_it_is_and_the_log_tells_its_error(model, caplog):
    step = InferenceStep(model, SIZE)
    spoilt = step.layers[1].mlp.dense_out
    massive = torch.zeros(1, 7, spoilt.in_features)
    massive[:, 0, 5] = 1000
    # Its own output is made what it would be without: all other layers see what they always see.
    spoilt.register_forward_pre_hook(lambda _, inputs: (inputs[0] + massive,))
    spoilt.register_forward_hook(lambda _, inputs, output: output - massive @ spoilt.weight.T)
    with caplog.at_level(logging.WARNING, logger="rvm_training"):
        layers = quantize(step, [clip(seed) for seed in range(8)], show=False)
    assert spoilt not in layers
    assert len(layers) == 1 + 4 * 2 + 3 + 4 * 2 - 1, "and no other"
    (message,) = caplog.messages
    assert message.startswith("1 of 20 layers stay")
    assert "layers.1.mlp.dense_out (" in message
    assert float(message.split("(")[-1].rstrip(")")) > KEPT_ABOVE


@pytest.mark.parametrize("clips", [[], [torch.zeros(0, *SIZE, 3, dtype=torch.uint8)], [clip(1, 10)]])
def test_too_few_calibration_frames_are_refused(model, clips):
    frames = sum(len(frames) for frames in clips)
    with pytest.raises(ValueError, match=f"got {frames} calibration frames of 6 patches, expected at least 64 patches"):
        quantize(InferenceStep(model, SIZE), clips, show=False)


def test_what_calibration_saw_lies_well_within_the_range(model):
    step = InferenceStep(model, SIZE)
    layers = quantize(step, [clip(1)], show=False)
    del layers[step.patch_embedding]  # Pixels have no other range.
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
    tokens = torch.cat(x)
    expected = tokens @ linear.weight.T
    off = in_eight_bits(layer, tokens) - expected
    assert 1e-4 < float(off.norm() / expected.norm()) < 0.06


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
