"""The recurrent step as an ONNX graph, written node by node: nothing in it but what the step computes.

In float16 and bfloat16, linear layers, attention and GELU are computed in that type, and norms, residual sums, gates
and the state in float32; the casts between are nodes of the graph, as a strongly typed TensorRT network wants them.

Inputs are `frames` uint8 [cameras, H, W, 3] and `state` float32 [cameras, T, D]; the output `features` float32
[cameras, T, D] is the new state too. The number of cameras is left open: a 0 in a Reshape's shape keeps that axis.
The division by 255, the position code and the attention's scale are in the weights or constants of the graph.

Shape legend: B cameras, N patches, T = 1 + N tokens, D width, K heads, H head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from rvm_model.engines.base import FEATURES, FRAMES, STATE
from rvm_model.engines.manifest import Rest
from rvm_model.inference import CoreBlock, EncoderBlock, InferenceStep, SelfAttention

OPSET = 20
"""The first one with Gelu."""
IR_VERSION = 10
"""Readable by ONNX Runtime from 1.18 on, and by TensorRT 10."""
EXTERNAL_BYTES = 2**31 - 2**20
"""Weights beyond this go into a file beside the graph: protobuf ends at 2 GB."""

Array = npt.NDArray[Any]
_TYPES: dict[str, int] = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_TORCH_TYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
}


@dataclass(frozen=True)
class QuantizedLinear:
    """A linear layer in 8 bits: W x ~ weight_scale * (weight @ q) + shift, with q = round(gain * x + offset) in uint8.

    The input has a gain and an offset for each of its channels, and still its product is one of plain integers: the
    gains are divided out of the weights before those are rounded, and the offsets out of `shift`.
    """

    gain: npt.NDArray[np.float32]
    """[in], above zero."""
    offset: npt.NDArray[np.float32]
    """[in]."""
    weight: npt.NDArray[np.int8]
    """[out, in], within -127..127."""
    weight_scale: npt.NDArray[np.float32]
    """[out]."""
    shift: npt.NDArray[np.float32]
    """[out]."""


@dataclass(frozen=True)
class Float8Linear:
    """A linear layer in float8 (e4m3): W x ~ (weight_scale * weight) @ (scale * q), with q = x / scale in float8."""

    scale: float
    weight: torch.Tensor
    """float8_e4m3fn [out, in]."""
    weight_scale: npt.NDArray[np.float32]
    """[out]."""


EightBits = QuantizedLinear | Float8Linear


def build(
    step: InferenceStep,
    quantized: Mapping[nn.Linear, EightBits] | None = None,
    *,
    rest: Rest = "fp32",
    tensorrt: bool = False,
    watch: Iterable[str] = (),
) -> onnx.ModelProto:
    """Write the graph of a step.

    Args:
        step: the network, joined for inference at one size.
        quantized: linear layers of the step in 8 bits, written as QuantizeLinear and DequantizeLinear around them.
        rest: arithmetic of what is not in 8 bits.
        tensorrt: what TensorRT asks for, with the same numbers: frames are cast before anything else reads them, and
            inputs are quantized to int8 instead of uint8.
        watch: values of the graph, float32 [cameras, T, D], to give out too.
    """
    graph = _Graph()
    _Step(graph, step, quantized or {}, _TYPES[rest], tensorrt).write()
    size = [side * step.patch_size for side in step.grid]
    tokens = step.table.shape[1]
    inputs = [
        helper.make_tensor_value_info(FRAMES, TensorProto.UINT8, ["cameras", *size, 3]),
        helper.make_tensor_value_info(STATE, TensorProto.FLOAT, ["cameras", tokens, step.dim]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["cameras", tokens, step.dim])
        for name in (FEATURES, *watch)
    ]
    proto = helper.make_graph(graph.nodes, "rvm_step", inputs, outputs, list(graph.constants.values()))
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def save(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write a graph, its weights in a file of their own where they are too many, and check it; returns the files.

    Raises:
        onnx.checker.ValidationError: the graph is malformed.
    """
    external = path.with_suffix(".weights")
    # Added up here: protobuf itself fails beyond its limit.
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > EXTERNAL_BYTES:
        onnx.save_model(model, path, save_as_external_data=True, location=external.name, size_threshold=1024)
    else:
        onnx.save_model(model, path)
    onnx.checker.check_model(path, full_check=True)
    return [path, external] if external.exists() else [path]


class _Graph:
    """Nodes and constants by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, operator: str, inputs: list[str], name: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Append a node; its outputs are named after it."""
        names = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names

    def constant(self, name: str, value: Array | torch.Tensor, dtype: int = TensorProto.FLOAT) -> str:
        """Add a constant, once for each name, in the narrow type where `dtype` or the tensor's own type says so."""
        if name not in self.constants:
            if isinstance(value, np.ndarray) and dtype in _TORCH_TYPES:
                value = torch.from_numpy(np.ascontiguousarray(value)).to(_TORCH_TYPES[dtype])
            if isinstance(value, torch.Tensor):  # numpy has neither bfloat16 nor float8
                dtype = next(key for key, narrow in _TORCH_TYPES.items() if narrow == value.dtype)
                raw = value.contiguous().view(torch.uint8 if value.itemsize == 1 else torch.int16).numpy().tobytes()
                self.constants[name] = helper.make_tensor(name, dtype, value.shape, raw, raw=True)
            else:
                self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name


class _Step:
    """Writes the nodes of one step."""

    def __init__(
        self,
        graph: _Graph,
        step: InferenceStep,
        quantized: Mapping[nn.Linear, EightBits],
        dtype: int,
        tensorrt: bool,
    ) -> None:
        self.graph = graph
        self.step = step
        self.quantized = quantized
        self.dtype = dtype
        self.tensorrt = tensorrt
        self.narrow: set[str] = set()
        """Names of what is in `dtype` and not in float32."""
        self.wide: set[str] = set()
        """Names of what was brought back to float32."""

    def write(self) -> str:
        step = self.step
        x = self.tokens()
        for index, layer in enumerate(step.layers):
            x = self.block(x, cast(EncoderBlock, layer), f"encoder.{index}")
        x = self.norm(x, step.norm, "encoder.norm")
        from_input = self.linear(x, step.input_gates, "core.input_gates")
        from_state = self.linear(STATE, step.state_gates, "core.state_gates")
        gates = self.residual(from_input, from_state, "core.gates")
        gates = self.one("Sigmoid", [gates], "core.sigmoid")
        update, reset = self.several("Split", [gates], "core.split", 2, axis=-1, num_outputs=2)
        gated = self.one("Mul", [reset, self.norm(STATE, step.state_norm, "core.state_norm")], "core.reset_state")
        read = self.linear(gated, step.keys_values, "core.keys_values")
        count = 2 * len(step.blocks)
        keys_values = self.several("Split", [read], "core.split_keys_values", count, axis=-1, num_outputs=count)
        h = x
        for index, block in enumerate(step.blocks):
            key, value = keys_values[2 * index : 2 * index + 2]
            h = self.core_block(h, cast(CoreBlock, block), key, value, f"core.{index}")
        h = self.norm(h, step.output_norm, "core.output_norm")
        change = self.one("Mul", [update, self.one("Sub", [h, STATE], "core.difference")], "core.change")
        return self.one("Add", [STATE, change], FEATURES)

    def tokens(self) -> str:
        step, (rows, columns), patch = self.step, self.step.grid, self.step.patch_size
        # Bytes are a quarter to move on a CPU. TensorRT has them as inputs alone, and only a cast may read them.
        x = self.one("Cast", [FRAMES], "patches.float", to=TensorProto.FLOAT) if self.tensorrt else FRAMES
        x = self.reshape(x, [0, rows, patch, columns, patch * 3], "patches.cut")
        x = self.one("Transpose", [x], "patches.order", perm=[0, 1, 3, 2, 4])
        x = self.reshape(x, [0, rows * columns, patch * patch * 3], "patches")
        if not self.tensorrt:
            x = self.one("Cast", [x], "patches.float", to=TensorProto.FLOAT)
        x = self.one("Mul", [x, self.graph.constant("one_255th", np.array(1 / 255, np.float32))], "patches.unit")
        x = self.linear(x, step.patch_embedding, "patch_embedding")
        # A row of zeros in front, for the CLS token that the table holds.
        x = self.one(
            "Pad", [self.in_float(x), self.graph.constant("pad_one_row", np.array([0, 1, 0, 0, 0, 0], np.int64))], "pad"
        )
        return self.one("Add", [x, self.graph.constant("table", _array(step.table))], "tokens")

    def block(self, x: str, block: EncoderBlock, name: str) -> str:
        return self.mlp(self.attention(x, block, name), block, name)

    def attention(self, x: str, block: EncoderBlock | CoreBlock, name: str) -> str:
        normed = self.norm(x, block.attention_norm, f"{name}.attention_norm")
        return self.residual(x, self.self_attention(normed, block.attention, f"{name}.attention"), f"{name}.attended")

    def mlp(self, x: str, block: EncoderBlock | CoreBlock, name: str) -> str:
        hidden = self.linear(self.norm(x, block.mlp_norm, f"{name}.mlp_norm"), block.mlp.dense_in, f"{name}.mlp_in")
        hidden = self.one("Gelu", [hidden], f"{name}.gelu", approximate="tanh")
        return self.residual(x, self.linear(hidden, block.mlp.dense_out, f"{name}.mlp_out"), f"{name}.mapped")

    def core_block(self, x: str, block: CoreBlock, key: str, value: str, name: str) -> str:
        query = self.linear(
            self.norm(x, block.ca_attention_norm, f"{name}.ca_attention_norm"), block.query, f"{name}.ca_query",
            scale=_scale(self.step.dim, block.heads),
        )  # fmt: skip
        attended = self.attend(query, key, value, block.heads, f"{name}.ca_attention")
        x = self.residual(x, self.linear(attended, block.out, f"{name}.ca_out"), f"{name}.ca_attended")
        return self.attention(self.mlp(x, block, name), block, name)

    def self_attention(self, x: str, attention: SelfAttention, name: str) -> str:
        scale = np.ones(3 * self.step.dim, np.float32)
        scale[: self.step.dim] = _scale(self.step.dim, attention.heads)
        joined = self.linear(x, attention.query_key_value, f"{name}.query_key_value", scale=scale)
        query, key, value = self.several("Split", [joined], f"{name}.split", 3, axis=-1, num_outputs=3)
        return self.linear(self.attend(query, key, value, attention.heads, name), attention.out, f"{name}.out")

    def attend(self, query: str, key: str, value: str, heads: int, name: str) -> str:
        tokens = self.step.table.shape[1]
        by_head = [0, tokens, heads, self.step.dim // heads]
        q, k, v = (
            self.one("Transpose", [self.reshape(part, by_head, f"{name}.{label}_heads")], f"{name}.{label}", perm=perm)
            for label, part, perm in (
                ("q", query, [0, 2, 1, 3]), ("k", key, [0, 2, 3, 1]), ("v", value, [0, 2, 1, 3]),
            )
        )  # fmt: skip
        weights = self.one("Softmax", [self.one("MatMul", [q, k], f"{name}.scores")], f"{name}.softmax", axis=-1)
        mixed = self.one("Transpose", [self.one("MatMul", [weights, v], f"{name}.mixed")], f"{name}.tokens",
                         perm=[0, 2, 1, 3])  # fmt: skip
        return self.reshape(mixed, [0, tokens, self.step.dim], f"{name}.joined")

    def linear(self, x: str, linear: nn.Linear, name: str, scale: float | Array = 1.0) -> str:
        """x W^T + b, both scaled per output."""
        factor = np.broadcast_to(np.asarray(scale, np.float32), linear.out_features)
        bias = None if linear.bias is None else _array(linear.bias) * factor
        layer = self.quantized.get(linear)
        if isinstance(layer, QuantizedLinear):
            x, weight, shift = self.in_eight_bits(x, layer, factor, name)
            bias = shift if bias is None else bias + shift
        elif isinstance(layer, Float8Linear):
            x, weight = self.in_float8(x, layer, factor, name)
        else:
            x = self.in_type(x)
            weight = self.graph.constant(f"{name}.weight", _array(linear.weight).T * factor, self.dtype)
        y = self.one("MatMul", [x, weight], name if bias is None else f"{name}.product")
        if bias is None:
            return y
        return self.one("Add", [y, self.graph.constant(f"{name}.bias", bias, self.dtype)], name)

    def in_eight_bits(self, x: str, layer: QuantizedLinear, factor: Array, name: str) -> tuple[str, str, Array]:
        """Input and weight of a product of integers, and what to add to it."""
        constant = self.graph.constant
        offset, shift = layer.offset, layer.shift
        if self.tensorrt:
            offset = offset - np.float32(128)
            shift = shift + 128 * layer.weight_scale * layer.weight.sum(1, dtype=np.float32)
        x = self.one("Mul", [self.in_float(x), constant(f"{name}.input_gain", layer.gain)], f"{name}.input_gained")
        x = self.one("Add", [x, constant(f"{name}.input_offset", offset)], f"{name}.input_moved")
        one, zero = constant("one", np.array(1, np.float32)), constant("zero", np.array(0, self.integers))
        x = self.one("QuantizeLinear", [x, one, zero], f"{name}.input_quantized")
        # A share of the scale on either side of the product: float16 has no numbers as small as all of it.
        scale = np.array(1 / layer.gain.mean(), np.float32)
        x = self.dequantized(x, constant(f"{name}.input_scale", scale, self.dtype), f"{name}.input")
        weights, weight_scale = layer.weight, layer.weight_scale / scale * factor
        if self.dtype == TensorProto.FLOAT16:
            # TensorRT refuses a scale of zero, which that of a row of tiny weights would become.
            wide = np.maximum(weight_scale, np.finfo(np.float16).tiny).astype(np.float32)
            weights = np.rint(weights * (weight_scale / wide)[:, None]).astype(np.int8)
            weight_scale = wide
        weight = constant(f"{name}.weight_quantized", weights.T)
        weight_scale_name = constant(f"{name}.weight_scale", weight_scale, self.dtype)
        return x, self.dequantized(weight, weight_scale_name, f"{name}.weight", axis=1), shift * factor

    def in_float8(self, x: str, layer: Float8Linear, factor: Array, name: str) -> tuple[str, str]:
        """Input and weight of a product in float8."""
        constant = self.graph.constant
        scale = constant(f"{name}.input_scale_in", np.array(layer.scale, np.float32))
        zero = constant("zero_float8", torch.zeros((), dtype=torch.float8_e4m3fn))
        x = self.one("QuantizeLinear", [self.in_float(x), scale, zero], f"{name}.input_quantized")
        scale = constant(f"{name}.input_scale", np.array(layer.scale, np.float32), self.dtype)
        x = self.dequantized(x, scale, f"{name}.input")
        weight_scale = constant(f"{name}.weight_scale", layer.weight_scale * factor, self.dtype)
        weight = constant(f"{name}.weight_quantized", layer.weight.T)
        return x, self.dequantized(weight, weight_scale, f"{name}.weight", axis=1)

    @property
    def integers(self) -> type[np.integer[Any]]:
        return np.int8 if self.tensorrt else np.uint8

    def dequantized(self, x: str, scale: str, name: str, **attributes: Any) -> str:
        y = self.one("DequantizeLinear", [x, scale], name, **attributes)
        if self.dtype != TensorProto.FLOAT:
            self.narrow.add(y)
        return y

    def in_type(self, x: str) -> str:
        """x in the type of linear layers and attention."""
        if self.dtype == TensorProto.FLOAT or x in self.narrow:
            return x
        name = f"{x}.narrow"
        if name not in self.narrow:
            self.narrow.update(self.graph.node("Cast", [x], name, to=self.dtype))
        return name

    def in_float(self, x: str) -> str:
        """x in float32."""
        if x not in self.narrow:
            return x
        name = f"{x}.float"
        if name not in self.wide:
            self.wide.update(self.graph.node("Cast", [x], name, to=TensorProto.FLOAT))
        return name

    def norm(self, x: str, norm: nn.LayerNorm, name: str) -> str:
        inputs = [self.in_float(x), self.graph.constant(f"{name}.scale", _array(norm.weight))]
        if norm.bias is not None:
            inputs.append(self.graph.constant(f"{name}.bias", _array(norm.bias)))
        return self.one("LayerNormalization", inputs, name, epsilon=norm.eps, axis=-1)

    def residual(self, x: str, change: str, name: str) -> str:
        return self.one("Add", [self.in_float(x), self.in_float(change)], name)

    def reshape(self, x: str, shape: list[int], name: str) -> str:
        key = "shape_" + "_".join(map(str, shape))
        return self.one("Reshape", [x, self.graph.constant(key, np.array(shape, np.int64))], name)

    def one(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        return self.several(operator, inputs, name, 1, **attributes)[0]

    def several(self, operator: str, inputs: list[str], name: str, outputs: int, **attributes: Any) -> list[str]:
        """A node whose outputs have the type of its first input."""
        names = self.graph.node(operator, inputs, name, outputs, **attributes)
        if inputs[0] in self.narrow:
            self.narrow.update(names)
        return names


def _scale(dim: int, heads: int) -> float:
    return 1 / math.sqrt(dim // heads)


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().numpy()
