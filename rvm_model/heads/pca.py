"""Streaming PCA to RGB: three main directions of the features as colours that do not flicker from frame to frame.

Departs from a per-frame PCA (paper, figure 5), whose signs, order and range are arbitrary in every frame: here the
subspace is tracked over time by orthogonal iteration with a decaying history, the colour axes are turned as little as
possible from frame to frame, and the range follows the running spread. After the first frame no covariance matrix is
formed: a frame costs O(N D) for N tokens of width D.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rvm_model.heads.tokens import as_matrix, check_width, running_weight, where_all

CHANNELS = 3
"""Red, green, blue."""
MIN_CONTRAST = 1e-6
"""Variance of a frame, as a share of the running one, below which it is not followed."""
MIN_SPREAD = 1e-3
"""Smallest spread of a channel that fills its range, as a share of the largest channel's."""


@dataclass(frozen=True)
class PCAConfig:
    """How the streaming PCA follows the features."""

    momentum: float = 0.05
    """Weight that a new frame settles at in the directions and the spread, 0..1; 0 freezes them."""
    components: int = 8
    """Directions that are tracked; more than three, so that a direction that grows is known before it shows."""
    range_sigmas: float = 2.0
    """Standard deviations from the mean at which a colour channel saturates."""

    def __post_init__(self) -> None:
        """Refuse values that make no picture."""
        if not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"momentum: got {self.momentum}, expected 0..1")
        if self.components < CHANNELS:
            raise ValueError(f"components: got {self.components}, expected at least {CHANNELS}")
        if not self.range_sigmas > 0:
            raise ValueError(f"range_sigmas: got {self.range_sigmas}, expected more than 0")


@dataclass(frozen=True)
class PCAState:
    """Running statistics of one camera's features; D is their width, k the number of tracked directions."""

    directions: Tensor
    """Orthonormal columns [D, k], the main one first."""
    variances: Tensor
    """Variance along each direction [k]."""
    axes: Tensor
    """Orthonormal colour axes [D, 3], within the span of the first three directions."""
    spread: Tensor
    """Standard deviation along each colour axis [3]."""
    frames: Tensor
    """Frames in the statistics, float32 scalar."""


class StreamingPCA:
    """Turns feature maps into pictures, one camera's state at a time."""

    def __init__(self, config: PCAConfig | None = None) -> None:
        self.config = config or PCAConfig()

    @torch.no_grad()
    def __call__(self, tokens: Tensor, state: PCAState | None = None) -> tuple[Tensor, PCAState]:
        """Draw one frame.

        Args:
            tokens: features [h, w, D], floating point, on any device.
            state: from the camera's last frame; None at the first.

        Returns:
            (picture uint8 [h, w, 3], state for the next frame). A frame with a value that is not finite leaves the
            state as it was and draws its bad tokens grey.

        Raises:
            ValueError: not [h, w, D] with D >= 3, or a width other than the state's.
        """
        x_ND, finite = as_matrix(tokens)
        if x_ND.shape[1] < CHANNELS:
            raise ValueError(f"tokens: got width {x_ND.shape[1]}, expected at least {CHANNELS} for three colours")
        # Each frame's own mean: what all tokens share says nothing in a picture, and it drifts far while a recurrent
        # state grows from zeros, against which the differences between tokens are small.
        centred_ND = x_ND - x_ND.mean(0)
        if state is None:
            state = self._start(centred_ND)
        else:
            check_width(centred_ND, state.axes.T)
            if self.config.momentum > 0:
                # A frame without contrast (a covered lens) says nothing of directions, and would turn them at random.
                variance = centred_ND.square().sum(1).mean()
                usable = finite & (variance > MIN_CONTRAST * state.variances.sum())
                state = where_all(usable, self._follow(centred_ND, state), state)
        projected_N3 = centred_ND @ state.axes
        # A channel without a spread of its own would otherwise show rounding errors over the full range.
        floor = (MIN_SPREAD * state.spread.max()).clamp(min=1e-6)
        half_range = self.config.range_sigmas * torch.maximum(state.spread, floor)
        rgb = (127.5 + 127.5 * projected_N3 / half_range).round().clamp(0, 255).to(torch.uint8)
        return rgb.reshape(*tokens.shape[:2], CHANNELS), state

    def _start(self, centred_ND: Tensor) -> PCAState:
        values, vectors = torch.linalg.eigh(centred_ND.T @ centred_ND / centred_ND.shape[0])
        count = min(self.config.components, centred_ND.shape[1])
        directions = vectors[:, -count:].flip(1)
        # An eigenvector's sign is arbitrary: the entry of largest size decides, so that a run repeats itself.
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        directions = directions * torch.where(largest < 0, -1.0, 1.0)
        variances = values[-count:].flip(0).clamp(min=0)
        axes = directions[:, :CHANNELS]
        return PCAState(directions, variances, axes, variances[:CHANNELS].sqrt(), torch.ones_like(variances[0]))

    def _follow(self, centred_ND: Tensor, state: PCAState) -> PCAState:
        weight = running_weight(state.frames, self.config.momentum)
        # One orthogonal iteration on (1 - w) * history + w * this frame, with the history kept as Q diag(v) Q^T.
        seen_Dk = centred_ND.T @ (centred_ND @ state.directions) / centred_ND.shape[0]
        directions, upper = torch.linalg.qr((1 - weight) * state.directions * state.variances + weight * seen_Dk)
        main = directions[:, :CHANNELS]
        # Procrustes: of all rotations within the subspace, the one that leaves the colour axes nearest to the old.
        left, _, right = torch.linalg.svd(main.T @ state.axes)
        axes = main @ (left @ right)
        variance = torch.lerp(state.spread.square(), (centred_ND @ axes).square().mean(0), weight)
        return PCAState(directions, upper.diagonal().abs(), axes, variance.sqrt(), state.frames + 1)
