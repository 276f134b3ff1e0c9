"""The engine that runs a compiled graph with OpenVINO, on a CPU or an Intel GPU. Nothing else imports openvino."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import openvino
import torch
from torch import Tensor

from rvm_model.engines.base import FEATURES, FRAMES, STATE, EngineInfo
from rvm_model.engines.cpu import check_int8
from rvm_model.engines.manifest import EngineError

_HINTS = {"fp32": "f32", "bf16": "bf16"}
_PLUGINS = {"cpu": "CPU", "xpu": "GPU"}


def version() -> str:
    """Version of OpenVINO."""
    return str(openvino.__version__)


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def convert(graph: Path, path: Path) -> dict[str, str]:
    """Write an ONNX graph as OpenVINO's own files, `path` (.xml) and its .bin; returns the version that did it."""
    openvino.save_model(openvino.convert_model(graph), path, compress_to_fp16=False)
    return {"openvino": version()}


class OpenVinoEngine:
    """Runs `step.xml`. Tensors are shared with the runtime: nothing is copied around the graph."""

    def __init__(self, path: Path, info: EngineInfo, *, threads: int) -> None:
        """Load and compile a graph for this machine.

        Args:
            path: the .xml file, its .bin beside it.
            info: what it holds; the device must be cpu, or xpu, torch's name for an Intel GPU. Frames and states are on
                the host in both cases.
            threads: CPU threads.

        Raises:
            EngineError: another device is asked for or there is no Intel GPU, or this runtime cannot load the graph.
        """
        kind = torch.device(info.device).type
        if kind not in _PLUGINS:
            raise EngineError(f"engine: openvino runs on cpu or xpu, got {info.device}; export for tensorrt or onnx")
        core, plugin = openvino.Core(), _PLUGINS[kind]
        if plugin not in {device.split(".")[0] for device in core.available_devices}:
            raise EngineError(
                f"engine: OpenVINO sees {', '.join(core.available_devices)} here, expected {plugin} for {info.device}; "
                "install Intel's GPU driver, or use device cpu"
            )
        if info.precision == "int8" and kind == "cpu":
            check_int8(path)
        if kind == "xpu":
            info = dataclasses.replace(info, device="cpu", processor="xpu")
        # Float32 means float32: by itself the runtime takes narrower types on processors that have them.
        if info.rest == "bf16" and (kind == "xpu" or not has_bf16()):
            info = dataclasses.replace(info, rest="fp32")
        self._info = info
        settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[info.rest]}
        if kind == "cpu":
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = core.compile_model(path, plugin, settings)
        except RuntimeError as error:
            raise EngineError(
                f"{path}: openvino {openvino.__version__} cannot load it ({error}); export the engine again"
            ) from error
        shapes = {
            value.get_any_name(): [int(str(side)) for side in list(value.get_partial_shape())[1:]]
            for value in (*compiled.inputs, *compiled.outputs)
        }
        info.check_graph(path, shapes)
        self._request = compiled.create_infer_request()

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
        # Held by name until the step is done: the runtime's tensors do not keep the memory that they share.
        frames, state, features = frames.contiguous(), state.contiguous(), torch.empty(state.shape)
        for name, tensor in ((FRAMES, frames), (STATE, state), (FEATURES, features)):
            self._request.set_tensor(name, openvino.Tensor(tensor.numpy(), shared_memory=True))
        self._request.infer()
        return features, features

    def all_outputs(self, frames: Tensor, state: Tensor) -> dict[str, Tensor]:
        """Everything that the graph gives out, by name: for comparing layers."""
        values = self._request.infer({FRAMES: frames.numpy(), STATE: state.numpy()})
        return {output.get_any_name(): torch.from_numpy(value.copy()) for output, value in values.items()}
