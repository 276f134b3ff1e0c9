"""RVM, the recurrent video masked autoencoder (arXiv 2512.13684): encode a frame, advance the state, reconstruct.

The network is the authors' JAX model; `tests/rvm_model/test_rvm.py` holds it to their outputs. Departures, none of
which changes a number: frames are encoded as one batch over time in `forward_clip`, the decoder's keys and values are
projected once per clip, and sizes other than the training one need no flag.

Shape legend: B batch, T frames, H W pixels, N patches (row-major), D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rvm_model.aggregator import SelfAttentionAggregator
from rvm_model.config import RVMConfig
from rvm_model.core import GatedCore
from rvm_model.decoder import PixelDecoder
from rvm_model.encoder import Encoder, Tokenizer, prepend_cls
from rvm_model.masking import check_permutation, random_permutation, visible_count


@dataclass(frozen=True)
class Reconstruction:
    """What `RVM.reconstruct` returns."""

    frames: Tensor
    """Reconstructed targets [B, Tt, H, W, 3], nominally in [0, 1], not clipped."""
    mask: Tensor
    """bool [B, Tt, rows, columns], True where the patch was hidden from the decoder."""
    features: Tensor
    """Features of the source frames [B, Ts, 1 + N, D]."""
    state: Tensor
    """State after the last source frame [B, 1 + N, D]."""


class RVM(nn.Module):
    """The network: tokenizer, encoder and recurrent core, and the pixel decoder where the configuration has one."""

    def __init__(self, config: RVMConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.empty(1, config.dim))
        nn.init.normal_(self.cls_token, std=0.02)
        self.tokenizer = Tokenizer(config)
        self.encoder = Encoder(config)
        self.core: nn.Module = GatedCore(config) if config.aggregator == "gated" else SelfAttentionAggregator(config)
        self.decoder = None if config.decoder is None else PixelDecoder(config, config.decoder)

    def init_state(self, batch: int, height: int, width: int) -> Tensor:
        """The state before the first frame: zeros [batch, 1 + N, D] for images of height x width pixels."""
        tokens = self.config.token_count(height, width)
        return self.cls_token.new_zeros(batch, tokens, self.config.dim)

    def encode(self, frames: Tensor, *, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """Encode frames one by one, without the recurrence.

        Args:
            frames: [B, H, W, 3], uint8 or float in [0, 1].
            origin: patch row and column that they begin at (`position_code`).

        Returns:
            [B, 1 + N, D], the encoder's tokens with CLS first.
        """
        _check_frames(frames, ("B", "H", "W", "3"))
        return self.encoder(prepend_cls(self.cls_token, self.tokenizer(frames, origin)))

    def step(self, frames: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take in one frame per camera.

        Args:
            frames: [B, H, W, 3], uint8 or float in [0, 1]; H and W are multiples of the patch size.
            state: [B, 1 + N, D] from the previous step, or None for zeros.

        Returns:
            (features, state), both [B, 1 + N, D]; token 0 is CLS. They are one tensor: copy before writing into either.

        Raises:
            ValueError: frames or state have another shape or type, or the network has no recurrent core.
        """
        if self.config.aggregator != "gated":
            raise ValueError(
                "step: this network aggregates by self-attention over a whole clip and has no state; call "
                "forward_clip, or take a network with the recurrent core"
            )
        tokens = self.encode(frames)
        state = self.core(tokens, self._checked_state(state, tokens))
        return state, state

    def forward_clip(
        self, frames: Tensor, state: Tensor | None = None, *, origin: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, Tensor]:
        """Take in a clip; the same numbers as `step` frame by frame, with the encoder run on all frames at once.

        Args:
            frames: [B, T, H, W, 3], uint8 or float in [0, 1].
            state: [B, 1 + N, D] to go on from, or None for zeros.
            origin: patch row and column that the frames begin at (`position_code`).

        Returns:
            (features [B, T, 1 + N, D], state [B, 1 + N, D] after the last frame). Without a recurrent core the state is
            the last frame's features.

        Raises:
            ValueError: frames or state have another shape or type; a state is given and there is no recurrent core.
        """
        _check_frames(frames, ("B", "T", "H", "W", "3"))
        batch, length = frames.shape[:2]
        tokens = self.encode(frames.flatten(0, 1), origin=origin).unflatten(0, (batch, length))
        if self.config.aggregator != "gated":
            if state is not None:
                raise ValueError("state: got one, expected None; this network has no recurrent core to go on with it")
            features_BTND = self.core(tokens)
            return features_BTND, features_BTND[:, -1]
        state = self._checked_state(state, tokens[:, 0])
        features = []
        for frame_tokens in tokens.unbind(1):
            state = self.core(frame_tokens, state)
            features.append(state)
        return torch.stack(features, dim=1), state

    def reconstruct(
        self,
        sources: Tensor,
        targets: Tensor,
        deltas: Tensor | None = None,
        *,
        mask_ratio: float = 0.95,
        permutation: Tensor | None = None,
        state: Tensor | None = None,
        generator: torch.Generator | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> Reconstruction:
        """Reconstruct masked target frames from the features of source frames: the training task.

        The decoder sees the features of all sources, as in the paper, or of the last one: `DecoderConfig.sees`.

        Args:
            sources: [B, Ts, H, W, 3], consecutive frames, uint8 or float in [0, 1].
            targets: [B, Tt, H, W, 3], later frames of the same clip.
            deltas: [B, Tt] integers, how many frames later; None leaves the time code out.
            mask_ratio: share of each target's patches that is hidden; int(N * (1 - mask_ratio)) stay visible.
            permutation: [B, Tt, N] order of patches whose first ones stay visible; None draws one that the whole
                batch shares, as the authors do.
            state: state before the first source frame, None for zeros.
            generator: randomness for the drawn permutation.
            origin: patch row and column that all frames begin at (`position_code`).

        Returns:
            The reconstruction and the source features.

        Raises:
            ValueError: the network has no decoder, or an argument has another shape.
        """
        if self.decoder is None or self.config.decoder is None:
            raise ValueError(
                "reconstruct: this network has no decoder; load a checkpoint that holds one or set config.decoder"
            )
        _check_frames(targets, ("B", "T", "H", "W", "3"))
        _check_frames(sources, ("B", "T", "H", "W", "3"))
        if sources.shape[0] != targets.shape[0] or sources.shape[2:] != targets.shape[2:]:
            raise ValueError(
                f"sources and targets: got {tuple(sources.shape)} and {tuple(targets.shape)}, expected the same B, H, W"
            )
        batch, count, height, width = targets.shape[:4]
        deltas = None if deltas is None else torch.as_tensor(deltas)
        if deltas is not None and tuple(deltas.shape) != (batch, count):
            raise ValueError(f"deltas: got shape {tuple(deltas.shape)}, expected [B, Tt] = {(batch, count)} or None")
        grid = self.config.grid(height, width)
        patches = grid[0] * grid[1]
        keep = visible_count(patches, mask_ratio)
        if permutation is None:
            permutation = random_permutation(batch, count, patches, device=targets.device, generator=generator)
        else:
            permutation = check_permutation(torch.as_tensor(permutation).to(targets.device), batch, count, patches)
        restore = permutation.argsort(dim=-1)

        features, state = self.forward_clip(sources, state, origin=origin)
        target_tokens = self.tokenizer(targets.flatten(0, 1), origin)
        kept = permutation[..., :keep].flatten(0, 1)[..., None].expand(-1, -1, target_tokens.shape[-1])
        visible = self.encoder(prepend_cls(self.cls_token, target_tokens.gather(1, kept)))
        seen = features[:, -1] if self.config.decoder.sees == "last" else features.flatten(1, 2)
        frames = self.decoder(seen, visible.unflatten(0, (batch, count)), restore, deltas, grid, origin)
        return Reconstruction(frames, (restore >= keep).unflatten(-1, grid), features, state)

    def _checked_state(self, state: Tensor | None, tokens: Tensor) -> Tensor:
        if state is None:
            return torch.zeros_like(tokens)
        if state.shape != tokens.shape:
            raise ValueError(
                f"state: got shape {tuple(state.shape)}, expected [B, 1 + N, D] = {tuple(tokens.shape)}; "
                "a state belongs to one image size and batch: start from None after a change"
            )
        if state.dtype != tokens.dtype or state.device != tokens.device:
            raise ValueError(
                f"state: got {state.dtype} on {state.device}, expected the network's {tokens.dtype} on {tokens.device}"
            )
        return state


def _check_frames(frames: Tensor, axes: tuple[str, ...]) -> None:
    if not isinstance(frames, Tensor):
        raise ValueError(f"frames: got {type(frames).__name__}, expected a torch.Tensor; wrap it with torch.from_numpy")
    if frames.ndim != len(axes) or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(
            f"frames: got shape {tuple(frames.shape)}, expected [{', '.join(axes)}] with RGB channels last"
        )
