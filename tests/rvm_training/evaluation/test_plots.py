"""Plots are drawn, and what is missing is told."""

import numpy as np
import pytest
from PIL import Image

from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.plots import plot_bars, plot_curves
from rvm_training.evaluation.result import Result


def result(model, **curves):
    info = ModelInfo(model, "recurrent", "sha256:0", True, "fp32", "torch on cpu", 16)
    return Result("made", info, "made", {}, {}, curves=curves)


def shows(path, rgb):
    """Whether enough of the picture has that colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return (np.abs(pixels - rgb).max(axis=-1) < 8).sum() > 100


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


def test_every_model_has_a_curve_in_every_panel(tmp_path):
    results = [result("a", t=[0, 1], y=[0.0, 1.0], z=[1.0, 1.0]), result("b", t=[0, 1], y=[1.0, 0.0], z=[0.5, 0.5])]
    plot_curves(tmp_path / "new" / "one.png", results[:1], "t", ["y"], title="one")
    plot_curves(tmp_path / "four.png", results, "t", ["y", "z", "y", "z"], title="four")
    assert shows(tmp_path / "new" / "one.png", BLUE)
    assert not shows(tmp_path / "new" / "one.png", ORANGE)
    assert shows(tmp_path / "four.png", ORANGE)


def test_a_curve_that_there_is_not_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"got curves \['t', 'y'\], expected 't' and 'z'"):
        plot_curves(tmp_path / "none.png", [result("a", t=[0], y=[0])], "t", ["z"], title="")


def test_bars_stand_side_by_side(tmp_path):
    plot_bars(tmp_path / "bars.png", {"first": {"a": 1.0, "b": 2.0}, "second": {"b": 3.0}}, title="bars")
    assert shows(tmp_path / "bars.png", BLUE)
    assert shows(tmp_path / "bars.png", ORANGE)
