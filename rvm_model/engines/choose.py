"""Which engine runs: an exported one, the torch network, or the fastest for a CPU, built once and kept in the cache."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.nn import functional

from rvm_model.engines import cuda
from rvm_model.engines.base import Engine
from rvm_model.engines.load import PACKAGES, load_engine, runtime_version
from rvm_model.engines.manifest import SCHEMA, DamagedEngineError, EngineError, EngineManifest, Kind
from rvm_model.engines.parity import STEPS
from rvm_model.engines.pool import EnginePool
from rvm_model.engines.torch_engine import TorchEngine
from rvm_model.hashing import file_digest
from rvm_model.inference import InferenceStep
from rvm_model.weights import WeightsInfo, cache_dir, load_weights, weights_config, weights_info

TORCH = "torch"
CPU_KINDS: tuple[Kind, ...] = ("openvino", "onnx")
"""Kinds that are built here from weights, the fastest first: docs/benchmarks.md."""
BY_NAME = ("", TORCH, *CPU_KINDS, "tensorrt")
"""What `choose_engine` takes besides a folder."""
_STEPS = 8
"""Recurrent steps that an engine is compared over when it is built here for a CPU: the first start waits for them."""


def choose_engine(
    choice: str,
    *,
    model: str,
    size: tuple[int, int] | None = None,
    device: str = "auto",
    threads: int = 0,
    cameras: int = 1,
    build_if_missing: bool = False,
    tell: Callable[[str], object] = print,
    pool: EnginePool | None = None,
) -> Engine:
    """Load the engine that a user asks for.

    Args:
        choice: a folder of `rvm export`; `torch`; `openvino` or `onnx`, built from the weights on first use and kept in
            the cache; `tensorrt`, from the cache, in float16; or empty for the default: torch on CUDA, on a CPU the
            fastest of those that are installed.
        model: weights, as `rvm_model.load_weights` takes them; not read for a folder.
        size: height and width of the frames; None takes those that the network is made for. Not read for a folder.
        device: `cpu`, `cuda`, `cuda:N`, `xpu` (an Intel GPU, by OpenVINO), or `auto`: CUDA where torch sees it and the
            engine may run there, else the CPU.
        threads: CPU threads; 0 takes as many as torch does.
        cameras: largest batch that a TensorRT engine is built for.
        build_if_missing: let a TensorRT engine be built here, which takes minutes of the GPU.
        tell: takes sentences on what is done, where that takes long or is not what the user may expect.
        pool: shares the engine with other callers of this pool.

    Raises:
        FileNotFoundError: no such weights or folder.
        ValueError: choice, weights, size or device do not fit each other or this machine.
    """
    if device == "auto":
        kinds = ("", TORCH, "tensorrt")
        kind = choice if choice in (*kinds, *CPU_KINDS) else EngineManifest.read(_folder(choice)).kind
        device = "cuda" if torch.cuda.is_available() and kind in kinds else "cpu"
    if not choice and device == "cpu":
        choice = _default(tell)
    if not choice and device == "xpu":
        choice = "openvino"
    if choice not in BY_NAME:
        return load_engine(_folder(choice), device=device, threads=threads, pool=pool)
    sizes = weights_config(model)
    size = size or sizes.image_size
    if warning := sizes.beyond_training(*size):
        tell(warning)
    if choice in ("", TORCH):
        return _torch_engine(model, size, device, pool)
    if choice in CPU_KINDS:
        place = torch.device(device).type
        wanted = _Wanted(choice, weights_info(model), size, device=place, built_for=(runtime_version(choice), place))
    else:
        cuda.require(device, "tensorrt")
        built_for = (*cuda.gpu(device), runtime_version("tensorrt"))
        wanted = _Wanted("tensorrt", weights_info(model), size, "fp16", cameras, device, built_for)
    load = partial(load_engine, device=device, threads=threads, pool=pool)
    return _cached(wanted, load, build=choice in CPU_KINDS or build_if_missing, tell=tell)


@dataclass(frozen=True)
class _Wanted:
    """An engine that the cache may hold."""

    kind: Kind
    weights: WeightsInfo
    size: tuple[int, int]
    precision: Literal["fp32", "fp16"] = "fp32"
    cameras: int | None = None
    device: str = "cpu"
    """Where it is built and compared."""
    built_for: tuple[str, ...] = ()
    """Runtime and machine that it is bound to."""


def _folder(choice: str) -> Path:
    folder = Path(choice).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"engine: no folder at {folder}; make one with `rvm export`, or give one of {TORCH}, "
            f"{', '.join(CPU_KINDS)}, tensorrt"
        )
    return folder


def _default(tell: Callable[[str], object]) -> str:
    for kind in CPU_KINDS:
        if _installed(kind):
            return kind
    tell(
        f"engine: none of {', '.join(PACKAGES[kind] for kind in CPU_KINDS)} is installed, so torch runs the network, "
        f"which is slower; pip install onnx {PACKAGES[CPU_KINDS[0]]}"
    )
    return TORCH


def _installed(kind: Kind) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in (PACKAGES[kind], "onnx"))


def _torch_engine(model: str, size: tuple[int, int], device: str, pool: EnginePool | None) -> Engine:
    def load() -> TorchEngine:
        network, weights = load_weights(model)
        return TorchEngine(network, weights, size=size, device=device)

    if pool is None:
        return load()
    return pool.get((TORCH, weights_info(model).identity, size, device), load)


@contextmanager
def _locked(path: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """A second process waits for the first one's engine; the lock goes with its holder, however that ends."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        tell(f"engine: waiting for another process that loads or builds the same one and holds {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _cached(wanted: _Wanted, load: Callable[[Path], Engine], *, build: bool, tell: Callable[[str], object]) -> Engine:
    folder = cache_dir() / "engines" / _key(wanted)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock"), tell):
        if folder.exists():
            try:
                return load(folder)
            except (DamagedEngineError, FileNotFoundError) as error:
                if not build:
                    raise
                refused = folder.with_suffix(".refused")
                shutil.rmtree(refused, ignore_errors=True)
                folder.rename(refused)
                tell(f"engine: the cache's one is not usable ({error}); put aside as {refused.name}, and built anew")
        if not build:
            height, width = wanted.size
            raise EngineError(
                f"engine: no {wanted.kind} engine for {height}x{width}, {wanted.cameras} cameras, is in the cache; set "
                "build_if_missing once, which takes minutes, or give the folder of an `rvm export`"
            )
        _build(wanted, folder, tell)
        return load(folder)


def _key(wanted: _Wanted) -> str:
    """Name of the cache's folder: another network, size, runtime or graph is another engine."""
    content = [
        SCHEMA, wanted.kind, wanted.weights.identity, *wanted.size, wanted.precision, wanted.cameras,
        *wanted.built_for, code_digest(),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return f"{wanted.kind}-{wanted.size[0]}x{wanted.size[1]}-{digest}"


@functools.cache
def code_digest() -> str:
    """Digest of this package's sources: the network, how weights are read, and the graph that is made of it."""
    folder = Path(__file__).parents[1]
    paths = sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file_digest(path) for path in paths)).hexdigest()


def _build(wanted: _Wanted, folder: Path, tell: Callable[[str], object]) -> None:
    if importlib.util.find_spec("onnx") is None:
        raise EngineError("engine: building one needs the package onnx, which is not installed; pip install onnx")
    # It imports onnx, which an engine's folder does without.
    from rvm_model.engines.compile import EngineConfig, write_engine

    (height, width), model = wanted.size, wanted.weights.name
    tell(f"engine: building {wanted.kind} for {height}x{width} from {model}, once; it is kept in {folder}")
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left)  # of a build that was killed; the lock is ours
    network, weights = load_weights(model)
    if weights.identity != wanted.weights.identity:
        raise EngineError(
            f"engine: the weights {model} changed from {wanted.weights.identity} to {weights.identity} while they were "
            "read; start again when they are complete"
        )
    config = EngineConfig(wanted.kind, wanted.precision, wanted.precision, wanted.cameras, wanted.device)
    step = InferenceStep(network, wanted.size)
    # TensorRT takes minutes anyway, and has kernels for the largest batch.
    steps, cameras = (STEPS, wanted.cameras or 1) if wanted.kind == "tensorrt" else (_STEPS, 1)
    frames = _frames(steps, cameras, wanted.size)
    manifest, _ = write_engine(folder, config, step, network, weights, frames, tell=tell, show=False)
    tell(f"engine: built; within {manifest.parity.worst:.1e} of the float32 network over {steps} steps")


def _frames(steps: int, cameras: int, size: tuple[int, int]) -> Tensor:
    """Blurred noise, uint8 [steps, cameras, H, W, 3]: nothing else is at hand on a robot."""
    noise = torch.rand(steps * cameras, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frames = functional.interpolate(noise, size=size, mode="bicubic").clamp(0, 1)
    return (frames * 255).to(torch.uint8).permute(0, 2, 3, 1).unflatten(0, (steps, cameras)).contiguous()
