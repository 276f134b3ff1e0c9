"""Static int8 for the linear layers of a step: 8-bit activations and weights, scales from calibration frames.

Three things keep the features near those of float32, and none costs anything at run time:

- Weights are rounded one input at a time, and what one rounding lost is made up by the next ones, in the directions
  that the activations really take (GPTQ, arXiv 2210.17323).
- Activations are centred per channel before they are quantized, so that the range is spent on what varies. The shift is
  folded into the LayerNorm before, or, for the output of an attention, into the bias of its values: the weights of a
  softmax sum to one, so that bias passes unchanged. The layer's own bias takes the shift back.
- The range of each activation is the one with the least squared error, not its largest value.

Attention itself, LayerNorm, GELU and the state stay in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from rvm_model.inference import CoreBlock, EncoderBlock, InferenceStep

DAMPING = 0.01
"""Added to the diagonal of the activations' second moment, as a share of its mean: directions that were never seen."""
_SAMPLES = 4000
"""Tokens per layer that ranges are searched on: some 50 000 values each for a small network."""


@dataclass(frozen=True)
class QuantizedLinear:
    """A linear layer in 8 bits: x ~ scale * (q - zero_point) with q uint8, W ~ weight_scale[:, None] * weight."""

    scale: float
    zero_point: int
    weight: npt.NDArray[np.int8]
    """[out, in], within -127..127."""
    weight_scale: npt.NDArray[np.float32]
    """[out]."""


@dataclass
class _Seen:
    """What a layer's inputs were during calibration."""

    moment: Tensor
    """Sum of x x^T, float64 [in, in]."""
    total: Tensor
    """Sum of x, float64 [in]."""
    count: int = 0
    samples: list[Tensor] = field(default_factory=list)


@torch.inference_mode()
def quantize(step: InferenceStep, clips: Sequence[Tensor]) -> tuple[InferenceStep, dict[nn.Linear, QuantizedLinear]]:
    """Calibrate and quantize.

    Args:
        step: the float32 step; it is left as it is.
        clips: calibration frames uint8 [steps, H, W, 3] each, of what the robot will see; the state runs through each.

    Returns:
        (a copy of the step with centred activations, the same numbers; its linear layers in 8 bits).
    """
    step = copy.deepcopy(step)
    _centre(step, _calibrate(step, clips, "centring", samples=0))
    seen = _calibrate(step, clips, "calibrating", samples=_SAMPLES)
    linears = [module for module in step.modules() if isinstance(module, nn.Linear)]
    return step, {linear: _quantized(linear, seen[linear]) for linear in tqdm(linears, desc="rounding", unit="layer")}


def _calibrate(step: InferenceStep, clips: Sequence[Tensor], what: str, *, samples: int) -> dict[nn.Linear, _Seen]:
    seen = {
        module: _Seen(torch.zeros(module.in_features, module.in_features, dtype=torch.float64),
                      torch.zeros(module.in_features, dtype=torch.float64))
        for module in step.modules() if isinstance(module, nn.Linear)
    }  # fmt: skip
    frames = sum(len(clip) for clip in clips)

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].flatten(0, -2)
        mine = seen[cast(nn.Linear, module)]
        mine.moment += (x.T @ x).double()
        mine.total += x.sum(0).double()
        mine.count += len(x)
        if samples:
            mine.samples.append(x[:: -(-len(x) * frames // samples)].clone())

    hooks = [module.register_forward_pre_hook(note) for module in seen]
    try:
        for clip in clips:
            state = torch.zeros_like(step.table)
            for frame in tqdm(clip, desc=what, unit="frame", leave=False):
                state = step(frame[None], state)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _centre(step: InferenceStep, seen: dict[nn.Linear, _Seen]) -> None:
    """Shift activations to a mean of zero, without a change of what the step computes."""

    def mean(linear: nn.Linear) -> Tensor:
        return (seen[linear].total / seen[linear].count).float()

    for norm, linear in _normed(step):
        shift = mean(linear)
        norm.bias.sub_(shift)
        linear.bias.add_(linear.weight @ shift)
    for values, start, out in _attended(step):
        shift = mean(out)
        values.bias[start : start + step.dim].sub_(shift)
        out.bias.add_(out.weight @ shift)


def _normed(step: InferenceStep) -> Iterator[tuple[nn.LayerNorm, nn.Linear]]:
    """Each LayerNorm whose output one linear layer alone reads."""
    for module in step.modules():
        if isinstance(module, EncoderBlock | CoreBlock):
            yield module.attention_norm, module.attention.query_key_value
            yield module.mlp_norm, module.mlp.dense_in
        if isinstance(module, CoreBlock):
            yield module.ca_attention_norm, module.query


def _attended(step: InferenceStep) -> Iterator[tuple[nn.Linear, int, nn.Linear]]:
    """Each attention: the layer that makes its values, where they begin in its output, the layer that reads it."""
    for module in step.modules():
        if isinstance(module, EncoderBlock | CoreBlock):
            yield module.attention.query_key_value, 2 * step.dim, module.attention.out
    for index, block in enumerate(step.blocks):
        yield step.keys_values, (2 * index + 1) * step.dim, cast(CoreBlock, block).out


def _quantized(linear: nn.Linear, seen: _Seen) -> QuantizedLinear:
    scale, zero_point = _range(torch.cat(seen.samples))
    weight_scale = linear.weight.abs().amax(1).clamp(min=1e-12) / 127
    weight = round_weights(linear.weight, weight_scale, seen.moment)
    return QuantizedLinear(scale, zero_point, weight.to(torch.int8).numpy(), weight_scale.numpy())


def _range(x: Tensor) -> tuple[float, int]:
    """Scale and zero point of the unsigned 8-bit range with the least squared error; zero is always exact."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    best = (float("inf"), 1.0, 0)
    for share in np.linspace(0.4, 1.0, 25):
        scale = max(float(share) * (high - low) / 255, 1e-12)
        zero_point = round(-float(share) * low / scale)
        rounded = (x / scale).round().add(zero_point).clamp(0, 255).sub(zero_point).mul(scale)
        best = min(best, (float((rounded - x).square().mean()), scale, zero_point))
    return best[1], best[2]


def round_weights(weight: Tensor, scale: Tensor, moment: Tensor, block: int = 64) -> Tensor:
    """Round weights to integers so that the layer's outputs change least on the inputs that were seen (GPTQ).

    Args:
        weight: [out, in].
        scale: [out], of the integers.
        moment: second moment of the inputs, float64 [in, in].
        block: inputs whose later errors are brought along at once.

    Returns:
        Integers within -127..127, float32 [out, in].
    """
    count = weight.shape[1]
    moment = moment + max(DAMPING * float(moment.diagonal().mean()), 1e-12) * torch.eye(count, dtype=moment.dtype)
    order = moment.diagonal().argsort(descending=True)  # The loudest inputs first: their errors can still be made up.
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    # Inputs as rows: each is then one stretch of memory.
    left, scale = weight[:, order].T.double().contiguous(), scale.double()
    rounded = torch.empty_like(left)
    for start in range(0, count, block):
        stop = min(start + block, count)
        errors = torch.empty_like(left[start:stop])
        for row in range(start, stop):
            rounded[row] = (left[row] / scale).round().clamp(-127, 127)
            errors[row - start] = (left[row] - rounded[row] * scale) / upper[row, row]
            left[row:stop] -= upper[row, row:stop, None] * errors[row - start]
        left[stop:] -= upper[start:stop, stop:].T @ errors
    return rounded[order.argsort()].T.float()
