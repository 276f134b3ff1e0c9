"""The engine that runs a TensorRT plan on an NVIDIA GPU: fixed buffers, states swapped in place, captured graphs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rvm_model.engines import cuda
from rvm_model.engines.base import FEATURES, FRAMES, STATE, EngineInfo
from rvm_model.engines.buffers import Launch, StepBuffers
from rvm_model.engines.manifest import EngineError, EngineManifest
from rvm_model.engines.tensorrt_runtime import INSTALL, logger, release, tensorrt


def version() -> str:
    """Version of TensorRT."""
    return str(tensorrt().__version__)


class TensorRtEngine:
    """Runs `step.plan`. What it returns lies in its own buffers and holds until the next step."""

    def __init__(self, path: Path, info: EngineInfo, *, threads: int) -> None:
        """Load a plan.

        Args:
            path: the plan.
            info: what it holds; the device must be CUDA.
            threads: not used: the GPU does the work.

        Raises:
            EngineError: TensorRT is not installed, refuses the plan, or the plan is not the step that `info` tells.
        """
        cuda.require(info.device, "tensorrt")
        self._info = info
        self._trt = trt = tensorrt(lean=info.version_compatible)
        self._logger = logger(trt)
        self._runtime = trt.Runtime(self._logger)
        # A version-compatible plan brings its own runtime's code along; others do not, and then it is not allowed.
        self._runtime.engine_host_code_allowed = info.version_compatible
        with cuda.use(info.device):
            self._plan = self._runtime.deserialize_cuda_engine(path.read_bytes())
            if self._plan is None:
                raise EngineError(
                    f"{path}: TensorRT {trt.__version__} refuses the plan ({self._logger.reasons()}); "
                    f"export it again on this machine, or {INSTALL}"
                )
            self._check(path)
            self._scratch = self._allocate()
            self._buffers = StepBuffers(info, self._launch_for)

    @property
    def info(self) -> EngineInfo:
        """What runs here."""
        return self._info

    def init_state(self, batch: int) -> Tensor:
        """Zeros [batch, T, D]; see `Engine.init_state`."""
        return self._info.zeros(batch)

    @torch.inference_mode()
    def step(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one frame of each camera; see `Engine.step`."""
        self._info.check_inputs(frames, state)
        features = self._buffers.step(frames, state)
        return features, features

    def _allocate(self) -> Tensor:
        """Memory that a step of the largest batch works in."""
        size = int(self._plan.device_memory_size_v2)
        try:
            return torch.empty(size, dtype=torch.uint8, device=self._info.device)
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"engine: no memory for {size / 1e6:.0f} MB that the plan works in for {self._info.cameras} cameras "
                f"({error}); export for fewer cameras or a smaller size"
            ) from error

    def _launch_for(self, batch: int) -> Launch:
        """A context for each batch size, for a captured graph keeps its context's shapes.

        They share the memory that they work in: steps run one after the other.
        """
        context = self._plan.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError(
                f"engine: TensorRT makes no context for {batch} cameras ({self._logger.reasons()}); "
                "run fewer cameras or a smaller size"
            )
        context.set_device_memory(self._scratch.data_ptr(), self._scratch.nbytes)
        # Once: the first step after a new shape allocates, which a capture does not allow.
        for name in (FRAMES, STATE):
            shape = (batch, *self._info.shapes[name])
            self._succeed(context.set_input_shape(name, shape), f"shape {shape} of {name}")

        def launch(frames: Tensor, state: Tensor, features: Tensor) -> None:
            for name, tensor in ((FRAMES, frames), (STATE, state), (FEATURES, features)):
                self._succeed(context.set_tensor_address(name, tensor.data_ptr()), f"address of {name}")
            self._succeed(context.execute_async_v3(cuda.stream(self._info.device)), "step")

        return launch

    def _succeed(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(f"engine: TensorRT refuses the {what} ({self._logger.reasons()}); {INSTALL}")

    def _check(self, path: Path) -> None:
        """Names, types and shapes of the plan against what the manifest says."""
        info, trt, plan = self._info, self._trt, self._plan
        names = [plan.get_tensor_name(index) for index in range(plan.num_io_tensors)]
        # The first axis is the batch, which the optimization profile limits.
        info.check_graph(path, {name: tuple(plan.get_tensor_shape(name))[1:] for name in names})
        types = {name: (plan.get_tensor_mode(name), plan.get_tensor_dtype(name)) for name in names}
        expected = {
            FRAMES: (trt.TensorIOMode.INPUT, trt.DataType.UINT8),
            STATE: (trt.TensorIOMode.INPUT, trt.DataType.FLOAT),
            FEATURES: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT),
        }
        if types != expected:
            raise EngineError(f"{path}: got inputs and outputs {types}, expected {expected}; export it again")
        _, _, (cameras, *_) = plan.get_tensor_profile_shape(FRAMES, 0)
        if info.cameras is None or cameras < info.cameras:
            raise EngineError(f"{path}: got a plan for {cameras} cameras, expected {info.cameras}; export it again")


def check_fit(folder: Path, manifest: EngineManifest, device: str) -> None:
    """Check that a plan was built for this GPU and this TensorRT, before TensorRT sees it.

    Raises:
        EngineError: it was built for others, or there is no GPU or no TensorRT here.
    """
    cuda.require(device, "tensorrt")
    if manifest.gpu is None:
        raise EngineError(f"{folder}: the manifest names no GPU, which a TensorRT plan needs; export it again")
    built, (name, capability) = manifest.gpu, cuda.gpu(device)
    if built.hardware_compatible:
        fits = release(capability) >= (8, 0)
    else:
        fits = (name, capability) == (built.name, built.compute_capability)
    if not fits:
        expected = "one of compute capability 8.0 or above" if built.hardware_compatible else "the same"
        raise EngineError(
            f"{folder}: built on {built.name} ({built.compute_capability}) for {expected}, got {name} ({capability}); "
            "export it on this machine, or with --hardware-compatible"
        )
    here = str(tensorrt(lean=built.version_compatible).__version__)
    theirs = manifest.built_with.get("tensorrt", "")
    if not release(theirs):
        raise EngineError(f"{folder}: the manifest names no version of TensorRT, which a plan needs; export it again")
    if here != theirs and not (built.version_compatible and release(here) >= release(theirs)):
        expected = f"{theirs} or later" if built.version_compatible else theirs
        raise EngineError(
            f"{folder}: needs TensorRT {expected}, got {here}; export it on this machine, or with --version-compatible "
            "on the older version"
        )
