"""Loading an engine folder: all is checked before anything is parsed, then the runtime that it needs is imported."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from rvm_model.engines.base import Engine, EngineInfo
from rvm_model.engines.manifest import EngineError, EngineManifest, Kind, check_files

PACKAGES: dict[Kind, str] = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
"""What each kind needs."""
_RUNTIMES = {
    "onnx": ("rvm_model.engines.onnx_engine", "OnnxEngine", "step.onnx"),
    "openvino": ("rvm_model.engines.openvino_engine", "OpenVinoEngine", "step.xml"),
    "tensorrt": ("rvm_model.engines.tensorrt_engine", "TensorRtEngine", "step.plan"),
}
"""Kind to (module, class, the file that it starts from)."""


def load_engine(folder: str | Path, *, device: str = "cpu", threads: int = 0) -> Engine:
    """Load an engine that `rvm export` wrote.

    Args:
        folder: the engine's folder.
        device: `cpu`, `cuda`, `cuda:N`, or `xpu` for an Intel GPU.
        threads: CPU threads; 0 takes as many as torch does.

    Raises:
        FileNotFoundError: there is no such folder or manifest.
        EngineError: a file was changed, or the engine does not fit this package or machine.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"engine: no folder at {folder}; make one with `rvm export`")
    manifest = EngineManifest.read(folder)
    check_files(folder, manifest)
    if manifest.kind == "tensorrt":
        from rvm_model.engines.tensorrt_engine import check_fit  # It needs CUDA.

        check_fit(folder, manifest, device)
    return run_engine(folder, manifest.kind, engine_info(manifest, device), threads=threads)


def run_engine(folder: Path, kind: Kind, info: EngineInfo, *, threads: int = 0) -> Engine:
    """Start the runtime of a folder whose files are known to be good.

    Raises:
        EngineError: the runtime is not installed, or cannot load the files.
    """
    if kind not in _RUNTIMES:
        raise EngineError(f"engine: got kind {kind!r}, expected one of {', '.join(_RUNTIMES)}")
    module, name, file = _RUNTIMES[kind]
    package = PACKAGES[kind]
    try:
        runtime = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise EngineError(
            f"{folder}: needs the package {package}, which cannot be imported ({error}); pip install {package}"
        ) from error
    engine: Engine = runtime(folder / file, info, threads=threads or torch.get_num_threads())
    return engine


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
        version_compatible=manifest.gpu is not None and manifest.gpu.version_compatible,
    )
