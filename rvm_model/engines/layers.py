"""Which layer of an engine is off first: the same step with every block's output shown, beside the float32 network."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from rvm_model.engines import onnx_graph
from rvm_model.engines.base import EngineInfo
from rvm_model.inference import InferenceStep


@torch.inference_mode()
def layer_errors(
    info: EngineInfo, graph: onnx.ModelProto, step: InferenceStep, frames: Tensor, at: int
) -> dict[str, float]:
    """Compare the blocks of one step, from the float32 state before it, so that no earlier error is in it.

    Args:
        info: of the engine, whose kind is onnx or openvino.
        graph: the engine's graph, built with `watch`.
        step: the float32 step.
        frames: uint8 [steps, cameras, H, W, 3].
        at: index of the step.

    Returns:
        Block to the relative error of its output, in the order of the network.
    """
    state = torch.zeros(frames.shape[1], info.tokens, info.dim)
    for index in range(at):
        state = step(frames[index], state)
    expected: dict[str, Tensor] = {}

    def note(name: str, output: Tensor) -> None:
        expected[name] = output

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in watched(step).items()
    ]
    try:
        step(frames[at], state)
    finally:
        for hook in hooks:
            hook.remove()
    got = _outputs(info, graph, frames[at], state)
    return {
        name: float((got[name] - output).norm() / output.norm().clamp(min=1e-12)) for name, output in expected.items()
    }


def watched(step: InferenceStep) -> dict[str, nn.Module]:
    """Names in the graph of what each block gives, [B, T, D] all of them."""
    names: dict[str, nn.Module] = {f"encoder.{i}.mapped": layer for i, layer in enumerate(step.layers)}
    names["encoder.norm"] = step.norm
    names |= {f"core.{i}.attended": block for i, block in enumerate(step.blocks)}
    names["core.output_norm"] = step.output_norm
    return names


def _outputs(info: EngineInfo, graph: onnx.ModelProto, frames: Tensor, state: Tensor) -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = onnx_graph.save(graph, folder / "step.onnx")[0]
        if info.kind == "onnx":
            from rvm_model.engines.onnx_engine import OnnxEngine

            return OnnxEngine(path, info, threads=torch.get_num_threads()).all_outputs(frames, state)
        from rvm_model.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(path, info, threads=torch.get_num_threads()).all_outputs(frames, state)
