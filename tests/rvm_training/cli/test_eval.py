"""`rvm eval` from the command line: data made, models compared, results written and put side by side."""

import json
import re

import pytest

from rvm_training.__main__ import main
from rvm_training.cli.eval import PROTOCOLS
from rvm_training.evaluation.table import KEPT


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("eval") / "data"
    assert (
        main(
            [
                "eval",
                "data",
                str(root),
                "--videos",
                "1",
                "--frames",
                "5",
                "--size",
                "64x112",
                "--clips",
                "8",
                "16",
                "--side",
                "32",
            ]
        )
        == 0
    )
    return root


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_has_a_help(protocol, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["eval", protocol, "--help"])
    assert f"usage: rvm eval {protocol}" in capsys.readouterr().out


def test_models_are_evaluated_and_compared(data, tiny_model, tmp_path, capsys):
    models = ["--model", f"ours={tiny_model}", "pixels", "--out", str(tmp_path), "--device", "cpu"]
    for protocol, size in (("davis", "64x112"), ("jhmdb", "64x64"), ("vip", "64x112")):
        assert main(["eval", protocol, str(data / protocol), "--size", size, *models]) == 0
    assert main(["eval", "table", str(tmp_path), "--out", str(tmp_path / "table")]) == 0
    printed = capsys.readouterr().out
    text = (tmp_path / "table" / "table.md").read_text()
    assert text in printed
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| ours", "| pixels", f"| {KEPT}"]
    assert (tmp_path / "table" / "table.png").stat().st_size > 5000
    saved = json.loads((tmp_path / "davis-2017_ours.json").read_text())
    assert saved["data"] == "davis val (made)"
    assert re.search(rf"J&F-Mean +{saved['metrics']['J&F-Mean']:.4g}\n", printed)


def test_masks_are_left_for_others(data, tmp_path):
    words = ["--size", "64x112", "--model", "pixels", "--save-masks", "--out", str(tmp_path)]
    assert main(["eval", "davis", str(data / "davis"), "--year", "2016", *words]) == 0
    assert len(list((tmp_path / "masks" / "davis-2016" / "pixels" / "scene-00").glob("*.png"))) == 5
    assert (tmp_path / "davis-2016_pixels.json").is_file()


def test_curves_are_plotted(data, tmp_path):
    words = [str(data / "davis"), "--size", "64x112", "--model", "pixels", "--out", str(tmp_path)]
    assert main(["eval", "horizon", *words, "--frames", "3", "5"]) == 0
    assert main(["eval", "robustness", *words, "--corruptions", "noise", "--strengths", "0", "5"]) == 0
    for name in ("horizon", "robustness"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / f"{name}_pixels.json").is_file()


def test_the_noise_square_is_looked_for_with_and_without_recurrence(tiny_model, tmp_path):
    words = ["--model", tiny_model, "--size", "32x48", "--clips", "1", "--frames", "4", "--taught", "2"]
    words += ["--out", str(tmp_path)]
    assert main(["eval", "noise-square", *words]) == 0
    kinds = {path.stem: json.loads(path.read_text())["model"]["kind"] for path in tmp_path.glob("*.json")}
    assert kinds == {"noise-square_tiny": "recurrent", "noise-square_still-tiny": "frame by frame"}
    assert (tmp_path / "noise-square.mp4").stat().st_size > 1000


def test_clips_are_found_by_clips(data, tiny_model, tmp_path):
    words = ["--model", tiny_model, "--size", "32x48", "--frames", "4", "--clips", "2", "--out", str(tmp_path)]
    assert main(["eval", "retrieval", str(data / "classification"), *words]) == 1  # Every eighth: of one class.
    words[words.index("2")] = "16"
    assert main(["eval", "retrieval", str(data / "classification"), *words]) == 0
    saved = json.loads((tmp_path / "retrieval_tiny.json").read_text())
    assert saved["settings"]["clips"] == 16
    assert saved["metrics"]["chance"] == pytest.approx(1 / 15)


def test_videos_show_features(tiny_model, make_video, tmp_path):
    words = ["--model", tiny_model, "--size", "32x48", "--frames", "3", "--clusters", "2", "--out", str(tmp_path)]
    assert main(["eval", "videos", str(make_video(4)), *words]) == 0
    assert (tmp_path / "video_tiny.mp4").stat().st_size > 1000


def test_what_is_wrong_is_told(data, tiny_model, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["eval", "imagenet"])
    assert "invalid choice: 'imagenet'" in capsys.readouterr().err
    words = ["eval", "davis", str(data / "davis"), "--out", str(tmp_path)]
    assert main([*words, "--model", "pixels", "pixels"]) == 1
    assert "got several called pixels; name them, as --model NAME=MODEL" in capsys.readouterr().err
    assert main([*words, "--model", tiny_model, "--size", "50x50"]) == 1
    assert "50" in capsys.readouterr().err
    assert main(["eval", "davis", str(tmp_path / "nothing")]) == 1
    assert "it lists the videos, or name some yourself" in capsys.readouterr().err
    assert main(["eval", "reconstruction", "--model", tiny_model, "--size", "32x48", "--scenes", "1"]) == 1
    assert "no decoder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
