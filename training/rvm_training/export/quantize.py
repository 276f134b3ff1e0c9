"""Static 8 bits for the linear layers of a step: activations and weights, with scales from calibration frames.

What keeps the features of int8 near those of float32, at no cost at run time:

- Each channel of an activation has a range of its own, around its own middle: the weights and the bias take it back
  (`QuantizedLinear`), so that the product is one of plain integers.
- Weights are rounded one input at a time, and what one rounding lost is made up by the next ones, in the directions
  that the activations really take (GPTQ, arXiv 2210.17323). What is lost at the mean activation goes into the bias.
- Ranges are wider than what calibration saw. A range that fits tightly looks better on the calibration's own frames,
  and is several times worse on others.

Attention itself, LayerNorm, GELU and the state keep the precision of the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rvm_model.engines.onnx_graph import EightBits, Float8Linear, QuantizedLinear
from rvm_model.inference import CoreBlock, InferenceStep

DAMPING = 0.01
"""Added to the diagonal of the activations' covariance, as a share of its mean: directions that were never seen."""
MARGIN = 1.4
"""Width of a channel's range, as a multiple of what calibration saw: the robot will see more."""
NARROWEST = 1.3
"""Least width of a channel, as a multiple of the layer's mean: one that was quiet so far may be loud on the robot."""


class _Seen:
    """What a layer's inputs were during calibration."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.origin = torch.zeros(width)
        """A first mean [in]; sums are taken from there, so that float32 is enough for inputs far from zero."""
        self.total = torch.zeros(width, dtype=torch.float64)
        """Sum of x - origin [in]."""
        self.moment = torch.zeros(width, width)
        """Sum of (x - origin)(x - origin)^T [in, in]."""
        self.low, self.high = torch.full((width,), torch.inf), torch.full((width,), -torch.inf)
        """Ends of x [in]."""

    def add(self, x: Tensor) -> None:
        """Take in tokens [tokens, in]."""
        if not self.count:
            self.origin = x.mean(0)
        from_origin = x - self.origin
        self.count += len(x)
        self.total += from_origin.sum(0)
        self.moment.addmm_(from_origin.T, from_origin)
        self.low, self.high = torch.minimum(self.low, x.amin(0)), torch.maximum(self.high, x.amax(0))


@torch.inference_mode()
def quantize(
    step: InferenceStep, clips: Sequence[Tensor], *, float8: bool = False, show: bool = True
) -> dict[nn.Linear, EightBits]:
    """Calibrate and quantize.

    Args:
        step: the float32 step; it is left as it is.
        clips: calibration frames uint8 [steps, H, W, 3] each, of what the robot will see; the state runs through each.
        float8: take float8 (e4m3) instead of integers: one scale for a layer's input and one for each of its outputs.
        show: draw progress bars.

    Returns:
        The step's linear layers in 8 bits, but for those that stay in the precision of the rest.
    """
    seen = _calibrate(step, clips, show)
    rounding = _in_float8 if float8 else _in_integers
    layers = tqdm(seen.items(), desc="rounding", unit="layer", disable=not show)
    return {linear: rounding(linear, inputs) for linear, inputs in layers}


def _calibrate(step: InferenceStep, clips: Sequence[Tensor], show: bool) -> dict[nn.Linear, _Seen]:
    seen = {linear: _Seen(linear.in_features) for linear in _layers(step)}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[cast(nn.Linear, module)].add(inputs[0].flatten(0, -2))

    hooks = [linear.register_forward_pre_hook(note) for linear in seen]
    try:
        with tqdm(total=sum(len(clip) for clip in clips), desc="calibrating", unit="frame", disable=not show) as bar:
            for clip in clips:
                state = torch.zeros_like(step.table)
                for frame in clip:
                    state = step(frame[None], state)
                    bar.update()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _layers(step: InferenceStep) -> Iterator[nn.Linear]:
    """The layers to quantize: all but the outputs of the core's attentions.

    What those take in hardly varies within a frame, and moves as a whole from scene to scene, out of any range that
    calibration saw: they are small, and were most of the error in videos that calibration had not seen.
    """
    blocks = cast(Iterable[CoreBlock], step.blocks)
    kept = {linear for block in blocks for linear in (block.out, block.attention.out)}
    return (module for module in step.modules() if isinstance(module, nn.Linear) and module not in kept)


def _in_integers(linear: nn.Linear, seen: _Seen) -> QuantizedLinear:
    width = seen.high - seen.low
    width = MARGIN * width.clamp(min=max(NARROWEST * float(width.mean()), 1e-6))
    gain = 255 / width
    offset = 255 / 2 - (seen.low + seen.high) / 2 * gain
    beyond = (seen.total / seen.count).float()
    mean = seen.origin + beyond
    covariance = (seen.moment / seen.count - torch.outer(beyond, beyond)) * torch.outer(gain, gain)
    weight = linear.weight / gain
    weight_scale = weight.abs().amax(1).clamp(min=1e-12) / 127
    rounded = round_weights(weight, weight_scale, covariance)
    used = rounded * weight_scale[:, None]
    shift = (weight - used) @ (mean * gain) - used @ offset
    return QuantizedLinear(
        gain.numpy(), offset.numpy(), rounded.to(torch.int8).numpy(), weight_scale.numpy(), shift.numpy()
    )


def _in_float8(linear: nn.Linear, seen: _Seen) -> Float8Linear:
    """Its numbers are as fine for small values as for large ones: no offsets, and a margin costs nothing."""
    largest = torch.finfo(torch.float8_e4m3fn).max
    scale = 2 * max(float(seen.high.max()), -float(seen.low.min()), 1e-12) / largest
    weight_scale = linear.weight.abs().amax(1).clamp(min=1e-12) / largest
    weight = (linear.weight / weight_scale[:, None]).to(torch.float8_e4m3fn)
    return Float8Linear(scale, weight, weight_scale.numpy())


def round_weights(weight: Tensor, scale: Tensor, moment: Tensor, block: int = 64) -> Tensor:
    """Round weights to integers so that the layer's outputs change least on the inputs that were seen (GPTQ).

    Args:
        weight: [out, in].
        scale: [out], of the integers.
        moment: covariance of the inputs, [in, in].
        block: inputs whose later errors are brought along at once.

    Returns:
        Integers within -127..127, float32 [out, in].
    """
    count = weight.shape[1]
    moment = moment.double()
    moment = moment + max(DAMPING * float(moment.diagonal().mean()), 1e-12) * torch.eye(count, dtype=torch.float64)
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
