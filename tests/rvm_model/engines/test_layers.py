"""Where an engine is too far off, the layer that is off first is named."""

import copy
import dataclasses

import pytest
import torch

from rvm_model.engines import EngineInfo
from rvm_model.engines.compile import EngineConfig, ParityError, write_engine
from rvm_model.engines.layers import layer_errors, watched
from rvm_model.engines.onnx_graph import build
from rvm_model.inference import InferenceStep
from rvm_model.weights import WeightsInfo

SIZE = (32, 48)
INFO = EngineInfo("onnx", "w", True, "cpu", "fp32", *SIZE, 16, 24)


def clip(length):
    return torch.randint(0, 256, (length, 2, *SIZE, 3), dtype=torch.uint8)


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_the_layer_that_differs_is_the_first_above_the_rest(tiny_model, kind):
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.encoder.layers[1].mlp.dense_out.bias.add_(0.5)
    step = InferenceStep(tiny_model, SIZE)
    graph = build(InferenceStep(other, SIZE), watch=watched(step))
    errors = layer_errors(dataclasses.replace(INFO, kind=kind), graph, step, clip(3), 2)
    assert list(errors) == [
        "encoder.0.mapped", "encoder.1.mapped", "encoder.norm", "core.0.attended", "core.1.attended",
        "core.output_norm",
    ]  # fmt: skip
    assert errors["encoder.0.mapped"] < 1e-5
    assert errors["encoder.1.mapped"] > 1e-2


def test_an_export_that_fails_names_step_and_layer(tiny_model, tmp_path):
    with pytest.raises(ParityError) as failure:
        write_engine(
            tmp_path / "e", EngineConfig("onnx"), InferenceStep(tiny_model, SIZE), tiny_model,
            WeightsInfo("t", "t", True), clip(2), tolerance=1e-12, debug_layers=True, show=False,
        )  # fmt: skip
    text = str(failure.value)
    assert "at step 1 and" in text
    assert "encoder.1.mapped" in text
    assert "first above 1e-12 in that step: encoder.0.mapped" in text
    assert not (tmp_path / "e").exists()
