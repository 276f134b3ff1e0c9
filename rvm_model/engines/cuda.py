"""The little of CUDA, through torch, that engines on an NVIDIA GPU need."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from rvm_model.engines.manifest import EngineError


def require(device: str, kind: str) -> None:
    """Check that a device is a CUDA device that torch sees.

    Raises:
        EngineError: it is not.
    """
    if torch.device(device).type != "cuda":
        raise EngineError(f"engine: {kind} runs on device cuda, got {device}; export for openvino or onnx")
    if (torch.device(device).index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"engine: {kind} needs device {device}, but torch {torch.__version__} sees {torch.cuda.device_count()} "
            "CUDA devices; install a CUDA build of torch and a driver"
        )


def use(device: str) -> AbstractContextManager[object]:
    """Make a device the current one."""
    return torch.cuda.device(device)


def stream(device: str) -> int:
    """Handle of torch's current stream on a device."""
    return int(torch.cuda.current_stream(device).cuda_stream)


def gpu(device: str) -> tuple[str, str]:
    """Name and compute capability of a device, for example `9.0`."""
    properties = torch.cuda.get_device_properties(device)
    return properties.name, f"{properties.major}.{properties.minor}"


def version() -> str:
    """CUDA that torch was built with."""
    return str(torch.version.cuda)
