"""The bijection between the released checkpoints' Flax names and this package's parameters.

Flax stores dense kernels as [in, out] and attention kernels per head: [D, K, H] for query, key and value and
[K, H, D] for the output (K heads of width H). torch stores [out, in].
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rvm_model.config import DecoderConfig, RVMConfig

Array = npt.NDArray[np.float32]
Kind = Literal["plain", "dense", "conv", "heads_in", "heads_bias", "heads_out"]


@dataclass(frozen=True)
class Entry:
    """One parameter under both names."""

    flax_name: str
    """Slash-joined name in a released `.npz`."""
    torch_name: str
    """Name in `RVM.state_dict()`."""
    flax_shape: tuple[int, ...]
    """Shape in the `.npz`."""
    kind: Kind
    """How the array is laid out there."""

    def to_torch(self, array: Array) -> Array:
        """The array in torch's layout; a view where that is possible."""
        match self.kind:
            case "plain":
                return array
            case "dense":
                return array.T
            case "conv":  # [1, p, p, 3, D] -> [D, p*p*3]
                return array.reshape(-1, array.shape[-1]).T
            case "heads_in":  # [D, K, H] -> [K*H, D]
                return array.reshape(array.shape[0], -1).T
            case "heads_bias":  # [K, H] -> [K*H]
                return array.reshape(-1)
            case "heads_out":  # [K, H, D] -> [D, K*H]
                return array.reshape(-1, array.shape[-1]).T

    def to_flax(self, array: Array) -> Array:
        """Inverse of `to_torch`."""
        match self.kind:
            case "plain":
                return array
            case "dense":
                return array.T
            case "conv" | "heads_in" | "heads_out":
                return array.T.reshape(self.flax_shape)
            case "heads_bias":
                return array.reshape(self.flax_shape)


def entries(config: RVMConfig) -> list[Entry]:
    """Every parameter of the network that `config` describes, each once.

    Raises:
        ValueError: the released format has no names for this kind of network.
    """
    if config.aggregator != "gated":
        raise ValueError(
            f"released format: got a network with the {config.aggregator} aggregator, expected the recurrent core; "
            "keep it as .safetensors"
        )
    dim, patch = config.dim, config.patch_size
    result = [
        Entry("cls_token", "cls_token", (1, dim), "plain"),
        Entry(
            "tokenizer/patch_embedding/Conv_0/kernel",
            "tokenizer.patch_embedding.weight",
            (1, patch, patch, 3, dim),
            "conv",
        ),
        Entry("tokenizer/patch_embedding/Conv_0/bias", "tokenizer.patch_embedding.bias", (dim,), "plain"),
        *_norm("encoder/LayerNorm_0", "encoder.norm", dim),
    ]
    for i in range(config.encoder_depth):
        flax, torch_ = f"encoder/layers_{i}", f"encoder.layers.{i}"
        result += _norm(f"{flax}/attention_norm", f"{torch_}.attention_norm", dim)
        result += _norm(f"{flax}/mlp_norm", f"{torch_}.mlp_norm", dim)
        result += _attention(f"{flax}/attention", f"{torch_}.attention", dim, config.encoder_heads)
        result += _mlp(f"{flax}/mlp", f"{torch_}.mlp", dim, config.encoder_mlp_dim)
    for gate in ("input_update", "input_reset", "state_update", "state_reset"):
        result.append(Entry(f"rnn_core/{gate}/kernel", f"core.{gate}.weight", (dim, dim), "dense"))
    result.append(Entry("rnn_core/state_layer_norm/scale", "core.state_norm.weight", (dim,), "plain"))
    result += _cross_transformer(
        "rnn_core/transformer",
        "core.transformer",
        dim,
        config.core_depth,
        config.core_heads,
        config.core_mlp_dim,
    )
    if config.decoder is not None:
        result += _decoder(config, config.decoder)
    return result


def _decoder(config: RVMConfig, decoder: DecoderConfig) -> Iterator[Entry]:
    yield Entry("mask_token", "decoder.mask_token", (1, decoder.dim), "plain")
    yield from _dense("decoder_embedder", "decoder.embedder", config.dim, decoder.dim)
    yield from _dense("delta_embedder", "decoder.delta_embedder", decoder.max_delta, decoder.dim)
    yield from _dense("detokenizer/Dense_0", "decoder.detokenizer", decoder.dim, config.patch_size**2 * 3)
    yield from _cross_transformer(
        "decoder", "decoder.transformer", decoder.dim, decoder.depth, decoder.heads, decoder.mlp_dim
    )


def _cross_transformer(flax: str, torch_: str, dim: int, depth: int, heads: int, mlp_dim: int) -> Iterator[Entry]:
    yield from _norm(f"{flax}/output_norm", f"{torch_}.output_norm", dim)
    for i in range(depth):
        block_flax, block_torch = f"{flax}/xa_blocks_{i}", f"{torch_}.blocks.{i}"
        for norm in ("ca_attention_norm", "mlp_norm", "attention_norm"):
            yield from _norm(f"{block_flax}/{norm}", f"{block_torch}.{norm}", dim)
        for attention in ("ca_attention", "attention"):
            yield from _attention(f"{block_flax}/{attention}", f"{block_torch}.{attention}", dim, heads)
        yield from _mlp(f"{block_flax}/mlp", f"{block_torch}.mlp", dim, mlp_dim)


def _norm(flax: str, torch_: str, dim: int) -> Iterator[Entry]:
    yield Entry(f"{flax}/scale", f"{torch_}.weight", (dim,), "plain")
    yield Entry(f"{flax}/bias", f"{torch_}.bias", (dim,), "plain")


def _dense(flax: str, torch_: str, fan_in: int, fan_out: int) -> Iterator[Entry]:
    yield Entry(f"{flax}/kernel", f"{torch_}.weight", (fan_in, fan_out), "dense")
    yield Entry(f"{flax}/bias", f"{torch_}.bias", (fan_out,), "plain")


def _mlp(flax: str, torch_: str, dim: int, mlp_dim: int) -> Iterator[Entry]:
    yield from _dense(f"{flax}/dense_in", f"{torch_}.dense_in", dim, mlp_dim)
    yield from _dense(f"{flax}/dense_out", f"{torch_}.dense_out", mlp_dim, dim)


def _attention(flax: str, torch_: str, dim: int, heads: int) -> Iterator[Entry]:
    head_dim = dim // heads
    for part in ("query", "key", "value"):
        yield Entry(f"{flax}/{part}/kernel", f"{torch_}.{part}.weight", (dim, heads, head_dim), "heads_in")
        yield Entry(f"{flax}/{part}/bias", f"{torch_}.{part}.bias", (heads, head_dim), "heads_bias")
    yield Entry(f"{flax}/out/kernel", f"{torch_}.out.weight", (heads, head_dim, dim), "heads_out")
    yield Entry(f"{flax}/out/bias", f"{torch_}.out.bias", (dim,), "plain")


_QKV = "(?:query|key|value)"
_DECODER_ARRAY = (
    r"mask_token|(?:decoder_embedder|delta_embedder|detokenizer/Dense_0)/(?:kernel|bias)|decoder/output_norm/(?:scale|bias)"
    r"|decoder/xa_blocks_\d+/(?:(?:ca_)?attention(?:_norm|/(?:query|key|value|out))|mlp_norm|mlp/dense_(?:in|out))"
    r"/(?:kernel|bias|scale)"
)


def infer_config(shapes: Mapping[str, tuple[int, ...]], base_grid: tuple[int, int] = (16, 16)) -> RVMConfig:
    """Read every size and head count off the arrays' shapes.

    Each size is what most of the arrays that show it say, so that a single misshapen one does not hide: it is the one
    that then differs from `entries`.

    Args:
        shapes: Flax name to shape.
        base_grid: patch grid of the training resolution; the arrays do not tell it.

    Raises:
        ValueError: no array tells a size.
    """
    decoder = None
    if any(re.fullmatch(_DECODER_ARRAY, name) for name in shapes):
        released = DecoderConfig()  # Where arrays are missing: they are then named by whoever compares.
        heads, mlp_dim = _block_sizes(shapes, "decoder/xa_blocks_", (released.heads, released.mlp_dim))
        decoder = DecoderConfig(
            depth=_depth(shapes, r"decoder/xa_blocks_(\d+)/", released.depth),
            dim=_most(shapes, "width of the decoder", _norm_axes("decoder/"), released.dim),
            heads=heads,
            mlp_dim=mlp_dim,
        )
    encoder_heads, encoder_mlp_dim = _block_sizes(shapes, "encoder/layers_")
    core_heads, core_mlp_dim = _block_sizes(shapes, "rnn_core/transformer/xa_blocks_")
    return RVMConfig(
        dim=_most(shapes, "width", {"cls_token": 1, **_norm_axes("encoder/"), **_norm_axes("rnn_core/")}),
        patch_size=_patch_size(shapes),
        encoder_depth=_depth(shapes, r"encoder/layers_(\d+)/"),
        encoder_heads=encoder_heads,
        encoder_mlp_dim=encoder_mlp_dim,
        core_depth=_depth(shapes, r"rnn_core/transformer/xa_blocks_(\d+)/"),
        core_heads=core_heads,
        core_mlp_dim=core_mlp_dim,
        base_grid=base_grid,
        decoder=decoder,
    )


def _patch_size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    kernel = "tokenizer/patch_embedding/Conv_0/kernel"
    if len(shapes.get(kernel, ())) != 5:
        raise ValueError(f"checkpoint: {kernel} is missing or not [1, patch, patch, 3, D]; expected an RVM checkpoint")
    # The decoder's last layer gives patch * patch * 3 values.
    values = [shapes[name][-1] for name in shapes if re.fullmatch(r"detokenizer/Dense_0/(?:kernel|bias)", name)]
    return Counter([*shapes[kernel][1:3], *(math.isqrt(value // 3) for value in values)]).most_common(1)[0][0]


def _norm_axes(prefix: str) -> dict[str, int]:
    return {rf"{prefix}.*(?:_norm|Norm_0)/(?:scale|bias)": 0}


def _block_sizes(
    shapes: Mapping[str, tuple[int, ...]], prefix: str, default: tuple[int | None, int | None] = (None, None)
) -> tuple[int, int]:
    """Attention heads and hidden width of the MLPs of a stack of blocks."""
    attention = rf"{prefix}\d+/(?:ca_)?attention"
    heads = {f"{attention}/{_QKV}/kernel": 1, f"{attention}/{_QKV}/bias": 0, f"{attention}/out/kernel": 0}
    mlp = rf"{prefix}\d+/mlp"
    widths = {f"{mlp}/dense_in/kernel": 1, f"{mlp}/dense_in/bias": 0, f"{mlp}/dense_out/kernel": 0}
    return (
        _most(shapes, f"heads of {prefix}*", heads, default[0]),
        _most(shapes, f"MLP width of {prefix}*", widths, default[1]),
    )


def _most(shapes: Mapping[str, tuple[int, ...]], what: str, axes: Mapping[str, int], default: int | None = None) -> int:
    """The size that most arrays show; `axes` maps a pattern of names to the axis that shows it."""
    votes = Counter(
        shape[axis]
        for pattern, axis in axes.items()
        for name, shape in shapes.items()
        if re.fullmatch(pattern, name) and len(shape) > axis
    )
    if not votes:
        if default is None:
            names = ", ".join(axes)
            raise ValueError(f"checkpoint: no array tells the {what}: {names} is missing; expected an RVM checkpoint")
        return default
    return int(votes.most_common(1)[0][0])


def _depth(shapes: Mapping[str, tuple[int, ...]], pattern: str, default: int | None = None) -> int:
    numbers = [int(found.group(1)) for name in shapes if (found := re.match(pattern, name))]
    if not numbers:
        if default is None:
            raise ValueError(f"checkpoint: no array is named like {pattern}; expected an RVM checkpoint in Flax names")
        return default
    return max(numbers) + 1
