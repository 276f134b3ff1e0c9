"""The bundled model's engines are near enough to it, in eight bits too, by the tolerances that everybody's have."""

import pytest

from rvm_model.engines.parity import STEPS
from rvm_training.export.build import export
from rvm_training.synthetic.demo_clip import DemoClipConfig, write

MODEL = "rvm_nano"
SIZE = (96, 128)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """What the demo shows, smaller: real pictures, which calibration does not see."""
    path, _ = write(tmp_path_factory.mktemp("clip"), DemoClipConfig(70, *SIZE))
    return path


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_its_engines_are_within_the_tolerance_of_their_precision(clip, video, tmp_path, kind, precision):
    calibration = [video(frames=70)] if precision == "int8" else []
    _, drift = export(
        MODEL, tmp_path / "engine", engine=kind, size=SIZE, precision=precision, calibration=calibration, video=clip,
        show=False,
    )  # fmt: skip
    assert len(drift.relative) == STEPS
