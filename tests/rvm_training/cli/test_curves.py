"""`rvm curves`: several runs in one picture, under the names that were given."""

import cv2
import pytest

from rvm_training.__main__ import main


@pytest.fixture
def run(tmp_path):
    def write(name, text):
        path = tmp_path / name / "metrics" / "version_0" / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return tmp_path / name

    return write


def test_runs_are_drawn_side_by_side_and_their_ends_told(run, tmp_path, capsys):
    one, two = (
        run("one", "step,train/loss,val/psnr\n10,0.5,\n20,0.25,12.5\n"),
        run("two", "step,train/loss,val/psnr\n20,1,9\n"),
    )
    assert main(["curves", f"first={one}", str(two), "--out", str(tmp_path / "made" / "c.png")]) == 0
    told = capsys.readouterr().out
    assert "first: train/loss 0.25 at step 20, val/psnr 12.5 at step 20" in told
    assert "two: train/loss 1 at step 20, val/psnr 9 at step 20" in told
    height, width = cv2.imread(str(tmp_path / "made" / "c.png")).shape[:2]
    assert width > 2 * height


def test_a_metric_that_a_run_lacks_is_told(run, capsys):
    assert main(["curves", str(run("one", "step,train/loss\n10,0.5\n"))]) == 1
    assert "one: got no val/psnr, expected some of train/loss" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["curves", str(tmp_path)])
    assert "expected the folder of a run" in capsys.readouterr().err
