"""Result files are refused where they are something else."""

import pytest

from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.result import Result, ResultError, load_results

MODEL = ModelInfo("a/b c", "recurrent", "sha256:0", True, "fp32", "torch on cpu", 16)


def test_files_are_named_by_protocol_and_model(tmp_path):
    path = Result("davis-2017", MODEL, "made", {}, {"J&F-Mean": 0.5}).save(tmp_path / "new")
    assert path == tmp_path / "new" / "davis-2017_a-b-c.json"
    assert load_results([tmp_path / "new"])[0].metrics == {"J&F-Mean": 0.5}
    assert not list(path.parent.glob("*.partial"))


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 0}', '{"schema": 1}', '{"schema": 1, "metrics": 3}', "\xff"])
def test_other_files_are_refused(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ResultError, match=r"other\.json"):
        load_results([path])


def test_no_file_is_told(tmp_path):
    with pytest.raises(ResultError, match=r"got no \.json file"):
        load_results([tmp_path])
