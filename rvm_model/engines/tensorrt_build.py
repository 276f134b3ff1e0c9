"""Building a TensorRT plan from the step's ONNX graph: strongly typed, so that 10 and 11 build the same.

Precision is in the graph, never a builder flag: TensorRT 11 has none of those, and 10 takes a strongly typed network.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvm_model.engines import cuda
from rvm_model.engines.base import FRAMES, STATE, EngineInfo
from rvm_model.engines.manifest import EngineError
from rvm_model.engines.tensorrt_runtime import INSTALL, logger, tensorrt
from rvm_model.weights import cache_dir


@dataclass(frozen=True)
class PlanConfig:
    """How a plan is built."""

    version_compatible: bool = False
    """Later TensorRT versions run the plan too, also the lean runtime; it brings code along and may be slower."""
    hardware_compatible: bool = False
    """Other GPUs from Ampere on run the plan too; it may be slower."""
    refittable: bool = False
    """Other weights can be put into the plan later; it may be slower."""
    refit: Path | None = None
    """Folder of a refittable engine, whose plan is taken with the new weights; None builds a plan."""

    def __post_init__(self) -> None:
        """Refuse what a plan that is there already cannot become.

        Raises:
            EngineError: a build is asked for, and none is made.
        """
        if self.refit and (self.version_compatible or self.hardware_compatible or self.refittable):
            raise EngineError(
                f"engine: got a refit of {self.refit} with another compatibility, expected none: the plan keeps its own"
            )


def build_plan(
    graph: Path, plan: Path, info: EngineInfo, config: PlanConfig, tell: Callable[[str], object]
) -> dict[str, str]:
    """Build a plan on the GPU that will run it; this takes minutes.

    Args:
        graph: the ONNX file.
        plan: the file to write.
        info: shapes, the largest batch, the device.
        config: how it is built.
        tell: takes a line on the progress now and then.

    Returns:
        Versions of what built it.

    Raises:
        EngineError: TensorRT is not installed, or refuses the graph; the message has TensorRT's own words.
    """
    trt = tensorrt()
    log = logger(trt)
    with cuda.use(info.device):
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        if not parser.parse_from_file(str(graph)):
            log.reasons()  # The parser has told them to the logger too.
            errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            raise EngineError(
                f"{graph}: TensorRT {trt.__version__} does not take the graph ({'; '.join(errors)}); take another "
                f"precision, or {INSTALL}"
            )
        settings = builder.create_builder_config()
        settings.add_optimization_profile(_profile(builder, info))
        settings.progress_monitor = _monitor(trt, tell)
        settings.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32; it is on by itself
        if config.version_compatible:
            settings.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if config.refittable:
            settings.set_flag(trt.BuilderFlag.REFIT)
        if config.hardware_compatible:
            settings.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        cache = _timing_cache_path(trt, info.device)
        _use_timings(settings, cache, tell)
        serialized = builder.build_serialized_network(network, settings)
        if serialized is None:
            raise EngineError(
                f"{graph}: TensorRT {trt.__version__} cannot build it ({log.reasons()}); take another "
                f"precision or size, or {INSTALL}"
            )
        plan.write_bytes(serialized)
        if (measured := settings.get_timing_cache()) is not None:
            _replace(cache, bytes(measured.serialize()))
    return {"tensorrt": str(trt.__version__), "cuda": cuda.version()}


def _profile(builder: Any, info: EngineInfo) -> Any:
    """Batches from one camera to the largest, which is what is optimized for."""
    profile = builder.create_optimization_profile()
    for name in (FRAMES, STATE):
        shape = info.shapes[name]
        profile.set_shape(name, (1, *shape), (info.cameras, *shape), (info.cameras, *shape))
    return profile


def _monitor(trt: Any, tell: Callable[[str], object]) -> Any:
    """Tells the phases of the build as they start, and of long ones every tenth of the steps."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            if parent_phase is None:
                tell(f"TensorRT: {phase_name}")

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            if steps >= 20 and 10 * step // steps > 10 * (step - 1) // steps and step:
                tell(f"TensorRT: {phase_name}, {100 * step // steps} %")
            return True  # False would stop the build.

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def _timing_cache_path(trt: Any, device: str) -> Path:
    """What was measured counts for one kind of GPU, one CUDA and one TensorRT."""
    measured_on = [*cuda.gpu(device), cuda.version(), trt.__version__]
    key = hashlib.sha256(" ".join(measured_on).encode()).hexdigest()[:16]
    return cache_dir() / "tensorrt" / f"{key}.timing"


def _use_timings(settings: Any, cache: Path, tell: Callable[[str], object]) -> None:
    """Start from what is known of this kind of GPU, or from nothing where that cannot be used."""
    if cache.is_file():
        timings = settings.create_timing_cache(cache.read_bytes())
        if timings is not None and settings.set_timing_cache(timings, ignore_mismatch=False):
            return
        tell(f"TensorRT: the timing cache {cache} cannot be used; kernels are timed anew")
    timings = settings.create_timing_cache(b"")
    if timings is not None:
        settings.set_timing_cache(timings, ignore_mismatch=False)


def _replace(path: Path, data: bytes) -> None:
    """Write a file at once and whole; another process may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).chmod(0o644)  # The folder may be shared.
    Path(file.name).replace(path)
