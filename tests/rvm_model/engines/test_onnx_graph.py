"""The ONNX graph holds what the step computes, and nothing else."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from rvm_model.engines import onnx_graph
from rvm_model.engines.onnx_graph import QuantizedLinear, build, save
from rvm_model.inference import InferenceStep

SIZE = (32, 48)
OPERATORS = {
    "Add", "Cast", "Gelu", "LayerNormalization", "MatMul", "Mul", "Pad", "Reshape", "Sigmoid", "Softmax", "Split",
    "Sub", "Transpose",
}  # fmt: skip


@pytest.fixture
def model(tiny_model):
    """A network in which no bias is zero and no scale is one."""
    for parameter in tiny_model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.3)
    return tiny_model


@pytest.mark.parametrize("cameras", [1, 3])
def test_many_steps_equal_the_networks_for_any_number_of_cameras(model, tmp_path, cameras):
    path = save(build(InferenceStep(model, SIZE)), tmp_path / "step.onnx")[0]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = torch.randint(0, 256, (cameras, 16, *SIZE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model.forward_clip(frames)[0].numpy()
    state = np.zeros((cameras, 7, 24), np.float32)
    for t in range(16):
        (state,) = session.run(None, {"frames": frames[:, t].numpy(), "state": state})
        assert np.linalg.norm(state - expected[:, t]) < 1e-5 * np.linalg.norm(expected[:, t]), f"step {t}"


def test_every_operator_is_one_that_the_step_needs(model):
    proto = build(InferenceStep(model, SIZE))
    onnx.checker.check_model(proto, full_check=True)
    counts = Counter(node.op_type for node in proto.graph.node)
    assert set(counts) == OPERATORS
    # Per attention: two products and a softmax; per block: norms, linear layers, one Gelu.
    encoder, core = 2, 2
    assert counts["Softmax"] == encoder + 2 * core
    assert counts["Gelu"] == encoder + core
    assert counts["LayerNormalization"] == 2 * encoder + 1 + 3 * core + 2
    linear = 1 + 4 * encoder + 3 + 6 * core
    assert counts["MatMul"] == linear + 2 * counts["Softmax"]
    assert counts["Cast"] == 1
    assert counts["Transpose"] == 1 + 4 * counts["Softmax"]
    assert len({node.name for node in proto.graph.node}) == len(proto.graph.node)


def test_inputs_and_outputs_are_named_typed_and_sized(model):
    proto = build(InferenceStep(model, SIZE))

    def shape(value):
        return value.name, value.type.tensor_type.elem_type, [
            dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim
        ]  # fmt: skip

    assert [shape(value) for value in (*proto.graph.input, *proto.graph.output)] == [
        ("frames", onnx.TensorProto.UINT8, ["cameras", 32, 48, 3]),
        ("state", onnx.TensorProto.FLOAT, ["cameras", 7, 24]),
        ("features", onnx.TensorProto.FLOAT, ["cameras", 7, 24]),
    ]


def test_large_weights_lie_in_a_file_of_their_own(model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "EXTERNAL_BYTES", 1000)
    files = save(build(InferenceStep(model, SIZE)), tmp_path / "step.onnx")
    assert [path.name for path in files] == ["step.onnx", "step.weights"]
    assert files[0].stat().st_size < files[1].stat().st_size * 3
    session = onnxruntime.InferenceSession(files[0], providers=["CPUExecutionProvider"])
    frames, state = np.zeros((1, *SIZE, 3), np.uint8), np.zeros((1, 7, 24), np.float32)
    with torch.inference_mode():
        expected = model.step(torch.from_numpy(frames))[0].numpy()
    assert np.allclose(session.run(None, {"frames": frames, "state": state})[0], expected, atol=1e-5)


@pytest.mark.parametrize("rest", ["fp16", "bf16"])
def test_the_graph_in_half_precision_is_typed_throughout(model, rest):
    proto = build(InferenceStep(model, SIZE), rest=rest)
    onnx.checker.check_model(proto, full_check=True)
    half = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[rest]
    typed = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    types = {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}
    for node in proto.graph.node:
        if node.op_type in ("MatMul", "Softmax", "Gelu"):
            assert types[node.output[0]] == half, node.name
        if node.op_type in ("LayerNormalization", "Sigmoid"):
            assert types[node.output[0]] == onnx.TensorProto.FLOAT, node.name
    assert {node.op_type for node in proto.graph.node} == OPERATORS
    assert len({node.name for node in proto.graph.node}) == len(proto.graph.node)
    assert [value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output)] == [
        onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT,
    ]  # fmt: skip


def test_half_precision_stays_near_the_network_over_many_steps(model, tmp_path):
    path = save(build(InferenceStep(model, SIZE), rest="fp16"), tmp_path / "step.onnx")[0]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = torch.randint(0, 256, (1, 32, *SIZE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model.forward_clip(frames)[0].numpy()
    state, errors = np.zeros((1, 7, 24), np.float32), []
    for t in range(32):
        (state,) = session.run(None, {"frames": frames[:, t].numpy(), "state": state})
        errors.append(np.linalg.norm(state - expected[:, t]) / np.linalg.norm(expected[:, t]))
    assert 1e-6 < max(errors) < 5e-3


def test_a_row_of_tiny_weights_has_a_scale_that_float16_has(model):
    step = InferenceStep(model, SIZE)
    linear = step.layers[0].mlp.dense_in
    rows, columns = linear.weight.shape
    scale = np.full(rows, 0.01, np.float32)
    scale[:2] = 1e-12, 1e-6
    layer = QuantizedLinear(
        np.full(columns, 50, np.float32), np.full(columns, 128, np.float32), np.full((rows, columns), 100, np.int8),
        scale, np.zeros(rows, np.float32),
    )  # fmt: skip
    graph = build(step, {linear: layer}, rest="fp16", tensorrt=True).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scales, weights = values["encoder.0.mlp_in.weight_scale"], values["encoder.0.mlp_in.weight_quantized"]
    assert scales.dtype == np.float16
    assert scales.min() >= np.finfo(np.float16).tiny
    got = scales.astype(np.float32) * weights
    np.testing.assert_allclose(got, 100 * scale * 50 * np.ones_like(got), rtol=1e-3, atol=np.finfo(np.float16).tiny)
