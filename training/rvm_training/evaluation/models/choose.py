"""Which model is evaluated, by one string."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rvm_model.engines import choose_engine
from rvm_model.engines.manifest import MANIFEST
from rvm_model.weights import weights_config
from rvm_training.evaluation.models.base import VideoModel
from rvm_training.evaluation.models.pixels import PixelModel
from rvm_training.evaluation.models.rivals import load_timm, load_transformers
from rvm_training.evaluation.models.rvm import RecurrentModel
from rvm_training.evaluation.models.windowed import WindowedModel

PIXELS = "pixels"
STILL = "still:"
"""Prefix of RVM weights: the same network, started anew at every frame."""
HUB, TIMM = "hf:", "timm:"
"""Prefixes of models of the Hugging Face hub, and of timm's."""
HELP = (
    "weights of RVM (rvm_nano, a file, a downloaded released model, untrained:PRESET), an engine's folder, "
    "still:WEIGHTS for the same without recurrence; a folder of transformers or hf:NAME, timm:NAME[@FILE]; or "
    "pixels[:PATCH]"
)
"""What may be given."""


@dataclass(frozen=True)
class Choice:
    """A model, and what runs it."""

    model: str
    """See `HELP`."""
    name: str = ""
    """What tables call it; empty takes it from the specification, without folders."""
    engine: str = "torch"
    """What runs RVM weights, as `choose_engine` takes it."""
    device: str = "auto"
    """cpu, cuda, cuda:N; auto takes CUDA where torch sees it."""
    threads: int = 0
    """Of a CPU engine; 0 takes as many as torch does."""

    @property
    def title(self) -> str:
        """What tables call it."""
        if self.name:
            return self.name
        if self.model.startswith(STILL):
            return STILL + replace(self, model=self.model.removeprefix(STILL)).title
        if self.model.startswith(TIMM):
            return self.model.partition("@")[0]
        path = Path(self.model).expanduser()
        return path.stem if path.is_file() else path.name if path.is_dir() else self.model

    @property
    def torch_device(self) -> torch.device:
        """Where torch runs it.

        Raises:
            ValueError: there is no such device.
        """
        there = torch.cuda.device_count()
        if self.device in ("cpu", "auto") and not (self.device == "auto" and there):
            return torch.device("cpu")
        match = re.fullmatch(r"auto|cuda(?::(\d+))?", self.device)
        if not match or int(match[1] or 0) >= there:
            raise ValueError(f"device: got {self.device!r}, expected cpu, auto, or one of the {there} CUDA devices")
        return torch.device("cuda", int(match[1] or 0))


def load_model(choice: Choice, size: tuple[int, int]) -> VideoModel:
    """Load a model for frames of a size.

    Args:
        choice: which one, and what runs it.
        size: rows and columns of the frames.

    Raises:
        ValueError: the specification is none, or does not fit the size or this machine.
        OSError: there is no such file or folder.
    """
    spec = choice.model
    if spec.startswith(STILL):
        model = load_model(replace(choice, model=spec.removeprefix(STILL)), size)
        if not isinstance(model, RecurrentModel):
            raise ValueError(f"model: got {spec!r}, expected {STILL} before weights of RVM or an engine's folder")
        return model.frame_by_frame(choice.title)
    if spec == PIXELS or spec.startswith(f"{PIXELS}:"):
        return PixelModel(size, name=choice.title, patch_size=_patch(spec), device=choice.torch_device)
    folder = Path(spec).expanduser()
    if spec.startswith(HUB) or (folder / "config.json").is_file():
        return load_transformers(spec.removeprefix(HUB), choice.title, size, choice.torch_device)
    if spec.startswith(TIMM):
        return load_timm(spec.removeprefix(TIMM), choice.title, size, choice.torch_device)
    if (folder / MANIFEST).is_file():
        engine = choose_engine(str(folder), model="", size=size, device=choice.device, threads=choice.threads)
        if (engine.info.height, engine.info.width) != size:
            raise ValueError(
                f"model: {folder} is an engine for {engine.info.height}x{engine.info.width}, expected "
                f"{size[0]}x{size[1]}; export one with `rvm export --size {size[0]}x{size[1]}`, or give its own size"
            )
        return RecurrentModel(engine, choice.title)
    if weights_config(spec).aggregator != "gated":
        return WindowedModel(spec, choice.title, size, choice.torch_device)
    engine = choose_engine(choice.engine, model=spec, size=size, device=choice.device, threads=choice.threads)
    return RecurrentModel(engine, choice.title)


def _patch(spec: str) -> int:
    _, _, text = spec.partition(":")
    if text and (not text.isdecimal() or int(text) < 1):
        raise ValueError(f"model: got {spec!r}, expected {PIXELS}:PATCH with a patch side in pixels, for example 16")
    return int(text or 16)
