"""The page holds all results, and needs nothing beside it."""

import re

import numpy as np
import pytest
from PIL import Image

from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.report import write_report
from rvm_training.evaluation.result import Result, ResultError
from rvm_training.offline.encoding import write_video


def model(name, trained=True):
    return ModelInfo(name, "recurrent", "sha256:0", trained, "fp32", "torch on cpu", 16)


@pytest.fixture
def folder(tmp_path):
    Result("vip", model("a<b>"), "made", {"top_k": 7}, {"mIoU": 0.5, "IoU hat": float("nan")}).save(tmp_path)
    Result("vip", model("other", False), "made", {"top_k": 7}, {"mIoU": 0.25}).save(tmp_path)
    Result("mine", model("other", False), "made", {}, {"figure": 3.0}).save(tmp_path)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "vip_a.png")
    write_video(tmp_path / "clip.mp4", np.zeros((2, 32, 32, 3), np.uint8))
    return tmp_path


def test_results_of_every_protocol_are_there_with_their_pictures(folder):
    page = write_report(folder, title="A & B").read_text()
    assert "<h1>A &amp; B</h1>" in page
    assert "a&lt;b&gt;" in page
    assert "a<b>" not in page
    assert re.search(r"<td>mIoU</td><td>0\.5</td><td>0\.25</td>", page)
    assert '<td class="best">50</td>' in page
    assert page.index("VIP: parts") < page.index("data:image/png;base64,") < page.index("<h2>mine</h2>")
    assert page.index("Features seen") < page.index("data:video/mp4;base64,")
    assert "Untrained, so that its figures are chance: other" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_writing_it_twice_changes_nothing(folder):
    once = write_report(folder, title="once").read_text()
    assert write_report(folder, title="once").read_text() == once


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ResultError, match="got no .json file"):
        write_report(tmp_path, title="none")
