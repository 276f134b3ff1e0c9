"""The engine that runs an ONNX graph with ONNX Runtime, on a CPU or on CUDA. The only file that imports onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from rvm_model.engines.base import FEATURES, FRAMES, STATE, EngineInfo
from rvm_model.engines.cpu import check_int8
from rvm_model.engines.manifest import EngineError


def version() -> str:
    """Version of ONNX Runtime."""
    return str(onnxruntime.__version__)


class OnnxEngine:
    """Runs `step.onnx`. Inputs and output are bound by address: nothing is copied around the graph."""

    def __init__(self, path: Path, info: EngineInfo, *, threads: int) -> None:
        """Load a graph.

        Args:
            path: the ONNX file, its weights beside it.
            info: what it holds, and the device to run on.
            threads: CPU threads.

        Raises:
            EngineError: this runtime cannot load the graph, or has no provider for the device.
        """
        self._info = info
        self._device = torch.device(info.device)
        if info.precision == "int8" and self._device.type == "cpu":
            check_int8(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait slow down everything else on a robot's CPU.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._device.type not in ("cpu", "cuda"):
            raise EngineError(f"engine: onnx runs on cpu or cuda, got {info.device}; export for openvino")
        if info.rest == "bf16" and self._device.type == "cpu":
            raise EngineError("engine: ONNX Runtime has no bf16 on a CPU; export for openvino, or in another precision")
        if info.precision == "fp8":
            # It takes float8 for integers where it joins nodes to integer products, and then refuses its own graph.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        provider = "CUDAExecutionProvider" if self._device.type == "cuda" else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise EngineError(
                f"engine: this onnxruntime {onnxruntime.__version__} has no {provider}, which device {info.device} "
                "needs; install onnxruntime-gpu, or use device cpu"
            )
        settings: dict[str, str] = {}
        if self._device.type == "cuda":
            settings = {
                "device_id": str(self._device.index or 0),
                "use_tf32": "0",  # float32 means float32
            }
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[(provider, settings)])
        except Exception as error:  # The runtime's own exceptions have no common base but this one.
            raise EngineError(
                f"{path}: onnxruntime {onnxruntime.__version__} cannot load it ({error}); export the engine again"
            ) from error

        if self._session.get_providers()[0] != provider:
            raise EngineError(
                f"engine: onnxruntime {onnxruntime.__version__} could not start {provider} and fell back to "
                f"{self._session.get_providers()[0]}; install the CUDA libraries that it names above, or use device cpu"
            )

        values = (*self._session.get_inputs(), *self._session.get_outputs())
        info.check_graph(path, {value.name: value.shape[1:] for value in values})

    @property
    def info(self) -> EngineInfo:
        """What runs here."""
        return self._info

    def init_state(self, batch: int) -> Tensor:
        """Zeros [batch, T, D]; see `Engine.init_state`."""
        return self._info.zeros(batch)

    def step(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one frame of each camera; see `Engine.step`."""
        self._info.check_inputs(frames, state)
        features = torch.empty(state.shape, device=self._device)
        binding = self._session.io_binding()
        place = (self._device.type, self._device.index or 0)
        frames, state = frames.contiguous(), state.contiguous()
        for name, tensor, dtype in ((FRAMES, frames, np.uint8), (STATE, state, np.float32)):
            binding.bind_input(name, *place, dtype, tuple(tensor.shape), tensor.data_ptr())
        binding.bind_output(FEATURES, *place, np.float32, tuple(features.shape), features.data_ptr())
        if self._device.type == "cuda":
            # The runtime has a stream of its own, which does not wait for torch's.
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        return features, features

    def all_outputs(self, frames: Tensor, state: Tensor) -> dict[str, Tensor]:
        """Everything that the graph gives out, by name: for comparing layers."""
        names = [output.name for output in self._session.get_outputs()]
        values = self._session.run(names, {FRAMES: frames.cpu().numpy(), STATE: state.cpu().numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}
