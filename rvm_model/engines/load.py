"""Loading an engine folder: all is checked before anything is parsed, then the runtime that it needs is imported."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rvm_model.engines.base import Engine, EngineInfo
from rvm_model.engines.manifest import START_FILES, EngineError, EngineManifest, check_files
from rvm_model.engines.pool import EnginePool

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
"""What each kind needs."""
_RUNTIMES = {
    "onnx": ("rvm_model.engines.onnx_engine", "OnnxEngine"),
    "openvino": ("rvm_model.engines.openvino_engine", "OpenVinoEngine"),
    "tensorrt": ("rvm_model.engines.tensorrt_engine", "TensorRtEngine"),
}
"""Kind to module and class."""


def load_engine(folder: str | Path, *, device: str = "cpu", threads: int = 0, pool: EnginePool | None = None) -> Engine:
    """Load an engine that `rvm export` wrote.

    Args:
        folder: the engine's folder.
        device: `cpu`, `cuda`, `cuda:N`, or `xpu` for an Intel GPU.
        threads: CPU threads; 0 takes as many as torch does.
        pool: shares the engine with other callers of this pool.

    Raises:
        FileNotFoundError: there is no such folder or manifest.
        EngineError: a file was changed, or the engine does not fit this package or machine.
    """
    folder = Path(folder).expanduser()
    manifest = EngineManifest.read(folder)
    check_files(folder, manifest)
    if manifest.kind == "tensorrt":
        from rvm_model.engines.tensorrt_engine import check_fit  # It needs CUDA.

        check_fit(folder, manifest, device)
    info = engine_info(manifest, device)
    if pool is None:
        return run_engine(folder, info, threads=threads)
    key = (info.digest, device, threads, info.cameras)
    return pool.get(key, lambda: run_engine(folder, info, threads=threads))


def run_engine(folder: Path, info: EngineInfo, *, threads: int = 0) -> Engine:
    """Start the runtime of a folder whose files are known to be good.

    Raises:
        EngineError: the runtime is not installed, or cannot load the files.
    """
    module, name = _RUNTIMES[info.kind]
    with needing(info.kind):
        runtime = getattr(importlib.import_module(module), name)
    engine: Engine = runtime(folder / START_FILES[info.kind], info, threads=threads or torch.get_num_threads())
    return engine


def runtime_version(kind: str) -> str:
    """Version of the runtime that is installed for a kind.

    Raises:
        EngineError: it is not installed.
    """
    with needing(kind):
        return str(importlib.import_module(_RUNTIMES[kind][0]).version())


@contextmanager
def needing(kind: str) -> Iterator[None]:
    """Tell what to install where a kind's runtime cannot be imported in here.

    Raises:
        EngineError: in place of an ImportError, but for a module of this package.
    """
    package = PACKAGES[kind]
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("rvm_model"):
            raise
        raise EngineError(
            f"engine: {kind} needs the package {package}, which cannot be imported ({error}); pip install {package}"
        ) from error


def engine_info(manifest: EngineManifest, device: str) -> EngineInfo:
    """What a manifest says, as engines tell it."""
    return EngineInfo(
        kind=manifest.kind,
        weights=manifest.weights,
        trained=manifest.trained,
        device=device,
        precision=manifest.precision,
        height=manifest.height,
        width=manifest.width,
        patch_size=manifest.patch_size,
        dim=manifest.dim,
        cameras=manifest.cameras,
        rest=manifest.rest,
        files=hashlib.sha256(json.dumps(manifest.files, sort_keys=True).encode()).hexdigest(),
        version_compatible=manifest.gpu is not None and manifest.gpu.version_compatible,
    )
