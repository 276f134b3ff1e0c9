"""The training task as a measure: how well masked later frames are reconstructed, by time and share of hidden patches.

Beside the network stand what costs nothing, the last source frame taken for the target, and what the network makes of
that frame alone: the difference is what its memory of the others is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from rvm_model.rvm import RVM, Reconstruction
from rvm_model.weights import WeightsInfo
from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.result import Result
from rvm_training.pretraining.objectives import psnr

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ReconstructionSettings:
    """What is reconstructed from what."""

    size: tuple[int, int] = (256, 256)
    """Rows and columns of the frames."""
    sources: int = 4
    """Consecutive source frames, from the start of a clip."""
    deltas: tuple[int, ...] = (4, 8, 16, 32, 48)
    """Frames from the delta's origin to the target, each reconstructed by itself."""
    mask_ratios: tuple[float, ...] = (0.75, 0.9, 0.95)
    """Shares of the target's patches that are hidden; the last one is that of the main figures."""
    delta_origin: str = "last"
    """Source frame that deltas count from, `last` or `first`: as the network was trained."""
    seed: int = 0
    """Of the patches that stay visible."""

    def __post_init__(self) -> None:
        """Refuse what has no target."""
        if self.delta_origin not in ("last", "first"):
            raise ValueError(f"delta_origin: got {self.delta_origin!r}, expected last or first")
        nearest = 1 if self.delta_origin == "last" else self.sources
        if not self.deltas or self.sources < 1 or min(self.deltas) < nearest:
            raise ValueError(
                f"got {self.sources} sources and deltas {self.deltas} from the {self.delta_origin}, expected deltas of "
                f"at least {nearest}"
            )
        if not self.mask_ratios:
            raise ValueError("mask_ratios: got none, expected at least one")

    @property
    def targets(self) -> list[int]:
        """Index of each delta's target in the clip."""
        origin = self.sources - 1 if self.delta_origin == "last" else 0
        return [origin + delta for delta in self.deltas]

    @property
    def frames(self) -> int:
        """Frames that a clip must have."""
        return max(self.targets) + 1


@torch.inference_mode()
def reconstruct(
    network: RVM, clip: U8, settings: ReconstructionSettings, ratio: float, *, first: int = 0
) -> Reconstruction:
    """Reconstruct the targets of one clip [T, H, W, 3] with that share of their patches hidden; a batch of one.

    Args:
        network: with a decoder.
        clip: frames of the settings' size.
        settings: what is reconstructed from what.
        ratio: share of hidden patches.
        first: source that the network begins with; those before are not shown to it.
    """
    frames = torch.from_numpy(clip)[None].to(network.cls_token.device)
    skipped = first if settings.delta_origin == "first" else 0
    return network.reconstruct(
        frames[:, first : settings.sources],
        frames[:, settings.targets],
        torch.tensor([settings.deltas]) - skipped,
        mask_ratio=ratio,
        generator=torch.Generator().manual_seed(settings.seed),
    )


def evaluate_reconstruction(
    network: RVM,
    weights: WeightsInfo,
    name: str,
    clips: Iterable[tuple[str, U8]],
    *,
    data: str,
    settings: ReconstructionSettings = ReconstructionSettings(),
) -> Result:
    """PSNR and SSIM of reconstructions, and of the last source frame in their place.

    Args:
        network: with a decoder.
        weights: where it came from.
        name: what tables call it.
        clips: (name, frames [T, H, W, 3] of the settings' size), each with enough frames.
        data: name of the data in the result.
        settings: what is reconstructed from what.

    Returns:
        The curves `PSNR MASK%` and `SSIM MASK%` over `delta`, with `PSNR copy` and `SSIM copy` of the last source, and
        `PSNR MASK%, last source alone` and its SSIM at the last mask ratio, where there are several sources.

    Raises:
        ValueError: the network has no decoder, or a clip is too short.
    """
    psnrs: dict[str, list[Tensor]] = {}
    ssims: dict[str, list[Tensor]] = {}
    hidden = _percent(settings.mask_ratios[-1])
    alone = f"{hidden}, last source alone"
    count = 0
    for clip_name, clip in clips:
        if len(clip) < settings.frames:
            raise ValueError(f"{clip_name}: got {len(clip)} frames, expected {settings.frames} for these deltas")
        count += 1
        targets = torch.from_numpy(clip[settings.targets]).float() / 255
        last = torch.from_numpy(clip[settings.sources - 1]).float() / 255
        made = {"copy": last.expand_as(targets)}
        for ratio in settings.mask_ratios:
            made[_percent(ratio)] = reconstruct(network, clip, settings, ratio).frames[0].clamp(0, 1).cpu()
        if settings.sources > 1:
            one = reconstruct(network, clip, settings, settings.mask_ratios[-1], first=settings.sources - 1)
            made[alone] = one.frames[0].clamp(0, 1).cpu()
        for what, frames in made.items():
            psnrs.setdefault(what, []).append(psnr((frames - targets).square().flatten(1).mean(1)))
            ssims.setdefault(what, []).append(_ssim(frames, targets))
    if not count:
        raise ValueError(f"{data}: got no clip, expected at least one")
    curves: dict[str, Sequence[float]] = {"delta": list(settings.deltas)}
    for measure, found in (("PSNR", psnrs), ("SSIM", ssims)):
        for what, values in found.items():
            curves[f"{measure} {what}"] = torch.stack(values).mean(0).tolist()
    names = [f"{measure} {what}" for measure in ("PSNR", "SSIM") for what in (hidden, alone, "copy")]
    metrics = {name: float(np.mean(curves[name])) for name in names if name in curves}
    info = ModelInfo(
        name, "recurrent", weights.identity, weights.trained, "fp32", f"torch on {network.cls_token.device}",
        network.config.patch_size,
    )  # fmt: skip
    return Result("reconstruction", info, data, {**asdict(settings), "clips": count}, metrics, curves=curves)


def _percent(ratio: float) -> str:
    return f"{100 * ratio:g}%"


def _ssim(frames: Tensor, targets: Tensor) -> Tensor:
    made, wanted = frames.movedim(-1, 1), targets.movedim(-1, 1)
    values = structural_similarity_index_measure(made, wanted, data_range=1.0, reduction="none")
    assert isinstance(values, Tensor)
    return values
