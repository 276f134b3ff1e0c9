"""Static 8 bits for the linear layers of a step: activations and weights, with scales from calibration frames.

What keeps the features of int8 near those of float32, at no cost at run time:

- Each channel of an activation has a range of its own, around its own middle: the weights and the bias take it back
  (`QuantizedLinear`), so that the product is one of plain integers.
- Weights are rounded one input at a time, and what one rounding lost is made up by the next ones, in the directions
  that the activations really take (GPTQ, arXiv 2210.17323). What is lost at the mean activation goes into the bias.
- Ranges are wider than what calibration saw. A range that fits tightly looks better on the calibration's own frames,
  and is several times worse on others. Pixels alone are 8-bit integers as they come, and are taken as they are.
- A layer that 8 bits would spoil all the same stays as it is: massive activations, as trained transformers have them in
  a channel or in a token, leave the others few of the 256 steps (`relative_error`).

Attention itself, LayerNorm, GELU and the state keep the precision of the rest.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
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
KEPT_ABOVE = 5e-2
"""Largest `relative_error` of a layer in integers; with a larger one it stays in the precision of the rest.

Ordinary layers have 5e-3 to 3e-2 (untrained small and base, and smaller networks after some training), and layers
made to have massive activations, 100 to 1000 times the rest, have 5e-2 to 7e-1 there. Small has 1.7e-2 in the middle,
and its features are 7e-3 off: with all layers at this limit, they would be off by about the tolerance of int8, 2e-2.
"""
STEP_NOISE = 1 / 12
"""Variance of the error of rounding to whole steps, in steps squared."""
FEWEST_PATCHES = 64
"""Of all calibration frames together; ranges and covariances of fewer say nothing of what is to come."""

_log = logging.getLogger(__name__)


class Seen:
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

    def mean(self) -> Tensor:
        """Mean of x [in]."""
        return self.origin + (self.total / self.count).float()

    def covariance(self) -> Tensor:
        """Covariance of x [in, in]."""
        beyond = (self.total / self.count).float()
        return self.moment / self.count - torch.outer(beyond, beyond)


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

    Raises:
        ValueError: there are too few frames in `clips`, or no layer can be in 8 bits.
    """
    frames, (rows, columns) = sum(len(clip) for clip in clips), step.grid
    if frames * rows * columns < FEWEST_PATCHES:
        raise ValueError(
            f"quantize: got {frames} calibration frames of {rows * columns} patches, expected at least "
            f"{FEWEST_PATCHES} patches in all; give more frames of what the robot will see"
        )
    always = _always_kept(step)
    names = {module: name for name, module in step.named_modules() if isinstance(module, nn.Linear)}
    seen = _calibrate(step, clips, [linear for linear in names if linear not in always], show)
    layers: dict[nn.Linear, EightBits] = {}
    errors: dict[str, float] = {}
    for linear in tqdm(list(seen), desc="rounding", unit="layer", disable=not show):
        inputs = seen.pop(linear)  # Its moments can be freed then: together they are as large as the weights and more.
        if float8:
            # All stay in: float8 is as fine for small values as for large ones, so massive activations take nothing
            # from the rest. Channels and tokens of 1000 times the rest left the error of a layer at 3.7e-2.
            layers[linear] = _in_float8(linear, inputs)
            continue
        layer, error = in_integers(linear, inputs, pixels=linear is step.patch_embedding)
        errors[names[linear]] = error
        if error <= KEPT_ABOVE:
            layers[linear] = layer
    _tell([name for linear, name in names.items() if linear in always], errors)
    if not layers:
        raise ValueError(
            f"quantize: got errors of {min(errors.values()):.1e} and more in every layer, expected some of at most "
            f"{KEPT_ABOVE:.0e}; export in another precision"
        )
    return layers


def _tell(always: Sequence[str], errors: Mapping[str, float]) -> None:
    """Log which layers stay in the precision of the rest, and with which estimated errors."""
    _log.info("in the precision of the rest always, for scenes that calibration cannot see: %s", ", ".join(always))
    kept = {name: error for name, error in errors.items() if not error <= KEPT_ABOVE}
    if kept:
        _log.warning(
            "%d of %d layers stay in the precision of the rest, where the error in 8 bits would be above %.0e: %s",
            len(kept), len(errors), KEPT_ABOVE,
            ", ".join(f"{name} ({error:.1e})" for name, error in kept.items()),
        )  # fmt: skip
    elif errors:
        worst = max(errors, key=errors.__getitem__)
        _log.info("largest estimated error of a layer in 8 bits: %.1e, of %s", errors[worst], worst)


def _calibrate(
    step: InferenceStep, clips: Sequence[Tensor], linears: Iterable[nn.Linear], show: bool
) -> dict[nn.Linear, Seen]:
    seen = {linear: Seen(linear.in_features) for linear in linears}

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


def _always_kept(step: InferenceStep) -> set[nn.Linear]:
    """The outputs of the core's attentions.

    What those take in hardly varies within a frame, and moves as a whole from scene to scene, out of any range that
    calibration saw: they are small, and were most of the error in videos that calibration had not seen. Their error on
    the calibration's own frames is no larger than that of other layers, so that `relative_error` cannot find them.
    """
    blocks = cast(Iterable[CoreBlock], step.blocks)
    return {linear for block in blocks for linear in (block.out, block.attention.out)}


def in_integers(linear: nn.Linear, seen: Seen, *, pixels: bool = False) -> tuple[QuantizedLinear, float]:
    """A layer with inputs and weights in 8-bit integers, and its estimated `relative_error`.

    Args:
        linear: the layer, float32.
        seen: what its inputs were.
        pixels: they are uint8 / 255, so that integers hold them exactly.
    """
    if pixels:
        gain, offset = torch.full_like(seen.low, 255), torch.zeros_like(seen.low)
    else:
        width = seen.high - seen.low
        width = MARGIN * width.clamp(min=max(NARROWEST * float(width.mean()), 1e-6))
        gain = 255 / width
        offset = 255 / 2 - (seen.low + seen.high) / 2 * gain
    covariance = seen.covariance() * torch.outer(gain, gain)
    weight = linear.weight / gain
    weight_scale = weight.abs().amax(1).clamp(min=1e-12) / 127
    rounded = round_weights(weight, weight_scale, covariance)
    used = rounded * weight_scale[:, None]
    shift = (weight - used) @ (seen.mean() * gain) - used @ offset
    layer = QuantizedLinear(
        gain.numpy(), offset.numpy(), rounded.to(torch.int8).numpy(), weight_scale.numpy(), shift.numpy()
    )
    return layer, relative_error(weight, used, covariance, exact_inputs=pixels)


def relative_error(weight: Tensor, used: Tensor, covariance: Tensor, *, exact_inputs: bool = False) -> float:
    """How far rounding takes a layer's output away, relative to how that output varies; both root mean square.

    The error has two parts: of the rounded weights, and of the inputs rounded to whole steps.

    The variation that it is compared with leaves out two things, next to which any error would look small:

    - The mean. It says nothing of the frame, for it is the same in all; and the bias gives it back exactly.
    - What a single channel explains of the output, the one that explains most. A massive channel can be nearly all of
      the variation, and so can a massive token among hundreds of others, where it is the same in each frame. What the
      layer makes of the other channels and tokens may be lost then, and the network lives on it.

    On the networks tried, this is 0.6 to 1.8 times the median error of a token, and for most layers about the same.

    Args:
        weight: [out, in], for inputs in steps of their integers.
        used: the same after rounding.
        covariance: of the inputs, in steps squared [in, in].
        exact_inputs: they are whole steps.

    Returns:
        Without a unit; enormous where nothing varies but one channel.
    """
    lost = weight - used
    error = float(((lost @ covariance) * lost).sum())
    if not exact_inputs:
        error += STEP_NOISE * float(used.square().sum())
    with_inputs = weight @ covariance
    variation = float((with_inputs * weight).sum())
    explained = float((with_inputs.square().sum(0) / covariance.diagonal().clamp(min=STEP_NOISE)).max())
    return math.sqrt(max(error, 0.0) / max(variation - explained, 1e-30))


def _in_float8(linear: nn.Linear, seen: Seen) -> Float8Linear:
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
