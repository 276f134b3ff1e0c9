"""Other people's encoders, through transformers or timm: DINOv2, DINOv3, MAE-like ViTs, VideoMAE, V-JEPA 2.

As in the authors' evaluation notebook: an encoder of images sees each frame by itself; one of clips sees windows of 16
frames, the last one filled up with grey, and its maps of several frames each are interpolated over time. Position codes
are stretched to the frames' grid.

Shape legend: T frames, t maps of a window, H W pixels, h w patches, D width.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rvm_model.hashing import file_digest
from rvm_training.evaluation.models.base import ModelInfo, Video, VideoModel

IMAGE_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit", "vit_mae", "vit_msn", "ijepa")
"""Values of `model_type` in config.json that see one frame at a time."""
CLIP_TYPES = ("videomae", "vjepa2")
"""Likewise, that see windows of frames."""
WINDOW = 16
"""Frames that a model of clips sees together."""
BATCH = 16
"""Frames that go through a model of images together on a GPU; one on a CPU."""
NORMALISATION = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
"""Files beside the weights that say how pixels are normalised; the first that is there counts."""


class Rival(VideoModel):
    """An encoder with a normalisation of its own."""

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        size: tuple[int, int],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> None:
        """Take over a network for evaluation.

        Args:
            network: the encoder.
            info: which model it is.
            size: rows and columns of the frames.
            mean: of red, green and blue in 0..1, which is taken away.
            std: likewise, which divides.
            device: where it runs.
        """
        super().__init__(info, size)
        self._network = network.to(device, torch.float32).eval().requires_grad_(False)
        self._mean, self._std = (torch.tensor(each, device=device) for each in (mean, std))

    @torch.inference_mode()
    def features(self, frames: Video) -> Tensor:
        """Feature maps [T, h, w, D]; see `VideoModel.features`."""
        self.check(frames)
        (rows, columns), patch = self.grid, self.info.patch_size
        # What is left of a patch at the edges would shift the position codes of some models.
        whole = torch.from_numpy(np.ascontiguousarray(frames[:, : rows * patch, : columns * patch]))
        pixels = (whole.to(self._mean.device) / 255 - self._mean) / self._std
        return self._maps(pixels.movedim(-1, 1))

    @abstractmethod
    def _maps(self, pixels_T3HW: Tensor) -> Tensor:
        """Feature maps [T, h, w, D] of normalised frames of whole patches."""


class ImageRival(Rival):
    """Sees each frame by itself."""

    def _maps(self, pixels_T3HW: Tensor) -> Tensor:
        at_once = BATCH if pixels_T3HW.is_cuda else 1
        tokens = torch.cat([self._tokens(batch) for batch in pixels_T3HW.split(at_once)])
        # Before the patches come a class token, and registers where there are any.
        return tokens[:, tokens.shape[1] - self.grid[0] * self.grid[1] :].unflatten(1, self.grid)

    @abstractmethod
    def _tokens(self, pixels_B3HW: Tensor) -> Tensor:
        """Tokens [B, prefix + h w, D], the patches last."""


class TransformersImages(ImageRival):
    """A model of images by transformers."""

    def _tokens(self, pixels_B3HW: Tensor) -> Tensor:
        network: Any = self._network
        words: dict[str, Any] = {}
        if network.config.model_type in ("vit", "vit_mae", "vit_msn", "ijepa"):
            words["interpolate_pos_encoding"] = True
        if network.config.model_type == "vit_mae":
            # It shuffles its patches by this noise, also where it hides none of them.
            order = torch.arange(self.grid[0] * self.grid[1], device=pixels_B3HW.device)
            words["noise"] = order.float().expand(len(pixels_B3HW), -1)
        tokens: Tensor = network(pixels_B3HW, **words).last_hidden_state
        return tokens


class TimmImages(ImageRival):
    """A model of images by timm."""

    def _tokens(self, pixels_B3HW: Tensor) -> Tensor:
        network: Any = self._network
        tokens: Tensor = network.forward_features(pixels_B3HW)
        return tokens


class TransformersClips(Rival):
    """A model of clips by transformers."""

    def __init__(self, network: nn.Module, info: ModelInfo, size: tuple[int, int], **normalisation: Any) -> None:
        """See `Rival`; the network's position codes are stretched to the grid."""
        super().__init__(network, info, size, **normalisation)
        config: Any = network.config
        self._window: int = config.num_frames if config.model_type == "videomae" else WINDOW
        (_stretch_videomae if config.model_type == "videomae" else _stretch_vjepa2)(self._network, self.grid)

    def _maps(self, pixels_T3HW: Tensor) -> Tensor:
        missing = -len(pixels_T3HW) % self._window
        padded = functional.pad(pixels_T3HW, (0, 0, 0, 0, 0, 0, 0, missing))
        maps = [self._window_maps(window) for window in padded.split(self._window)]
        return torch.cat(maps)[: len(pixels_T3HW)]

    def _window_maps(self, pixels_T3HW: Tensor) -> Tensor:
        network: Any = self._network
        encode = network.get_vision_features if network.config.model_type == "vjepa2" else network
        output = encode(pixels_T3HW[None])
        tokens = output if isinstance(output, Tensor) else output.last_hidden_state
        maps_DtHW = tokens[0].unflatten(0, (-1, *self.grid)).movedim(-1, 0)
        size = (len(pixels_T3HW), *self.grid)
        return functional.interpolate(maps_DtHW[None], size=size, mode="trilinear")[0].movedim(0, -1)


def load_transformers(path: str, name: str, size: tuple[int, int], device: torch.device) -> VideoModel:
    """Load weights of transformers' layout.

    Args:
        path: folder with config.json and weights, or a name on the hub.
        name: what tables call it.
        size: rows and columns of the frames.
        device: where it runs.

    Raises:
        ValueError: transformers is not installed, the model is of another kind, or nothing tells its normalisation.
        OSError: it cannot be loaded.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError(f"model: {path} needs transformers ({error}); pip install 'rvm_ros[rivals]'") from error
    config = transformers.AutoConfig.from_pretrained(path)
    kind = config.model_type
    if kind not in IMAGE_TYPES + CLIP_TYPES:
        raise ValueError(f"model: {path} is of type {kind!r}, expected one of {', '.join(IMAGE_TYPES + CLIP_TYPES)}")
    if kind == "vit_mae":
        config.mask_ratio = 0.0
    mean, std = _normalisation(path)
    network = transformers.AutoModel.from_pretrained(path, config=config)
    weights = f"{_identity(path, config)}, mean {list(mean)}, std {list(std)}"
    of_clips = kind in CLIP_TYPES
    sees = "clips" if of_clips else "frame by frame"
    info = ModelInfo(name, sees, weights, True, "fp32", f"transformers on {device}", config.patch_size)
    make = TransformersClips if of_clips else TransformersImages
    return make(network, info, size, mean=mean, std=std, device=device)


def load_timm(path: str, name: str, size: tuple[int, int], device: torch.device) -> VideoModel:
    """Load an encoder of timm.

    Args:
        path: name of the model for weights of the hub, or NAME@FILE for weights of a file.
        name: what tables call it.
        size: rows and columns of the frames.
        device: where it runs.

    Raises:
        ValueError: timm is not installed, or has no such model.
        OSError: weights cannot be loaded.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"model: timm:{path} needs timm ({error}); pip install timm") from error
    model, _, file = path.partition("@")
    # Position codes are stretched in the forward pass.
    try:
        network = timm.create_model(
            model, pretrained=not file, num_classes=0, checkpoint_path=file, dynamic_img_size=True
        )
        patch = network.patch_embed.patch_size[0]
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"model: timm:{path} is no ViT that timm can load: {error}") from error
    weights = f"sha256:{file_digest(Path(file)).hex()}" if file else f"timm:{model}"
    info = ModelInfo(name, "frame by frame", weights, True, "fp32", f"timm on {device}", patch)
    settings = network.pretrained_cfg
    return TimmImages(network, info, size, mean=settings["mean"], std=settings["std"], device=device)


def _normalisation(path: str) -> tuple[Sequence[float], Sequence[float]]:
    from transformers.utils import cached_file

    for name in NORMALISATION:
        file = cached_file(
            path, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
        )
        if file is None:
            continue
        values = json.loads(Path(file).read_text(encoding="utf-8"))
        values = values.get("image_processor") or values.get("video_processor") or values
        if "image_mean" in values and "image_std" in values:
            return values["image_mean"], values["image_std"]
    raise ValueError(
        f"model: {path} has none of {', '.join(NORMALISATION)} with image_mean and image_std, expected one; copy it "
        "from where the weights are from"
    )


def _identity(path: str, config: Any) -> str:
    folder = Path(path)
    if not folder.is_dir():
        return f"{path}@{getattr(config, '_commit_hash', None) or 'unknown'}"
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return "sha256:" + "+".join(file_digest(file).hex() for file in files)


def _stretch_videomae(network: Any, grid: tuple[int, int]) -> None:
    patches = network.embeddings.patch_embeddings
    patch = network.config.patch_size
    side = network.config.image_size // patch
    table_tDhw = network.embeddings.position_embeddings[0].unflatten(0, (-1, side, side)).movedim(-1, 1)
    stretched = functional.interpolate(table_tDhw, size=grid, mode="bicubic")
    network.embeddings.position_embeddings = stretched.movedim(1, -1).flatten(0, 2)[None]
    patches.image_size = (grid[0] * patch, grid[1] * patch)


def _stretch_vjepa2(network: Any, grid: tuple[int, int]) -> None:
    """Rows and columns of the grid are spread over those that the rotations were trained on."""
    side = network.config.crop_size // network.config.patch_size
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).float()
    rows, columns = functional.interpolate(places[None], size=grid, mode="bilinear")[0].flatten(1)

    def position_ids(tokens: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        assert masks is None
        maps = tokens.shape[1] // len(rows)
        frames = torch.arange(maps, device=tokens.device).repeat_interleave(len(rows))
        return frames, rows.to(tokens.device).repeat(maps), columns.to(tokens.device).repeat(maps)

    for layer in network.encoder.layer:
        layer.attention.get_position_ids = position_ids
