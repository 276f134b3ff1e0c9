"""The engine that runs the network with torch in float32: on a CPU as it is, on CUDA as captured graphs."""

from __future__ import annotations

import torch
from torch import Tensor

from rvm_model.engines.base import EngineInfo
from rvm_model.engines.buffers import StepBuffers
from rvm_model.inference import InferenceStep
from rvm_model.rvm import RVM
from rvm_model.weights import WeightsInfo


class TorchEngine:
    """Runs `InferenceStep` at one image size: no reduced precision. A step costs the same at any frame."""

    def __init__(
        self, model: RVM, weights: WeightsInfo, *, size: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        """Take over a network for inference.

        Args:
            model: the network; its decoder, if any, is not used. It is moved to `device`.
            weights: where it came from.
            size: height and width of the frames, multiples of the patch size.
            device: `cpu`, `cuda` or `cuda:N`.

        Raises:
            ValueError: the size does not fit the patch, or there is no such device.
        """
        device = _checked_device(device)
        self._step = InferenceStep(model.to(device=device, dtype=torch.float32), size)
        self._device = device
        self._info = EngineInfo(
            kind="torch",
            weights=weights.identity,
            trained=weights.trained,
            device=str(device),
            precision="fp32",
            height=size[0],
            width=size[1],
            patch_size=model.config.patch_size,
            dim=model.config.dim,
        )
        self._buffers = StepBuffers(self._info, lambda _: self._launch) if device.type == "cuda" else None

    @property
    def info(self) -> EngineInfo:
        """What runs here."""
        return self._info

    def init_state(self, batch: int) -> Tensor:
        """Zeros [batch, 1 + N, D]; see `Engine.init_state`."""
        return self._info.zeros(batch)

    @torch.inference_mode()
    def step(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one frame of each camera; see `Engine.step`."""
        self._info.check_inputs(frames, state)
        features = self._step(frames, state) if self._buffers is None else self._buffers.step(frames, state)
        return features, features

    def _launch(self, frames: Tensor, state: Tensor, features: Tensor) -> None:
        features.copy_(self._step(frames, state))


def _checked_device(name: torch.device | str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: got {name!r}, expected cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device: got {name!r}, expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: got {name!r}, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices; "
            "use cpu, or install a CUDA build of torch and a driver"
        )
    return device
