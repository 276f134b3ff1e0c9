"""What computes here, and what 8-bit engines ask of a CPU."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from rvm_model.engines.manifest import EngineError

_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def check_int8(path: Path) -> None:
    """Check that this CPU adds products of 8-bit numbers in 32 bits.

    An x86 processor without such instructions adds pairs of them in 16 bits, which is too narrow for the engine's
    numbers: the features are then off by several times what was measured at the export, and nothing would tell.

    Raises:
        EngineError: it does not.
    """
    if not adds_in_32_bits():
        raise EngineError(
            f"{path}: 8-bit engines need a CPU with VNNI or AMX, which this one has not; its sums would overflow. "
            "Export with --precision fp32"
        )


def adds_in_32_bits() -> bool:
    """Whether sums of products of 8-bit numbers are exact here, as far as the system tells."""
    flags = cpu_flags()
    return platform.machine() not in ("x86_64", "AMD64") or not flags or bool(flags & _DOT_PRODUCTS)


def processor(device: str) -> str:
    """Name of what computes on a device: the GPU's, or the CPU's as far as the system tells it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cpu_flags() -> set[str]:
    """Names of the processor's features; empty where the system does not tell them so simply."""
    return next((set(line.partition(":")[2].split()) for line in _cpuinfo() if line.startswith("flags")), set())


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
