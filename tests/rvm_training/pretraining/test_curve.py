"""Metrics of a run that was started several times read as one."""

import cv2

from rvm_training.pretraining.curve import draw_curves, read_metrics


def write(folder, version, text):
    path = folder / "metrics" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_a_later_start_replaces_what_it_did_again(tmp_path):
    write(tmp_path, 0, "step,train/loss,val/mse\n1,5.0,\n2,4.0,\n2,,0.5\n3,9.0,\n4,9.0,\n")
    write(tmp_path, 1, "step,train/loss,epoch\n3,3.0,0\n")
    write(tmp_path, 10, "step,train/loss\n4,2.0\n")
    assert read_metrics(tmp_path) == {"train/loss": {1: 5.0, 2: 4.0, 3: 3.0, 4: 2.0}, "val/mse": {2: 0.5}}


def test_a_start_that_wrote_nothing_changes_nothing(tmp_path):
    write(tmp_path, 0, "step,a\n1,5.0\n")
    write(tmp_path, 1, "step,a\n")
    assert read_metrics(tmp_path) == {"a": {1: 5.0}}
    assert read_metrics(tmp_path / "nothing") == {}


def test_curves_are_drawn(tmp_path):
    steps = {step: 1 / step for step in range(1, 20)}
    metrics = {f"{split}/{kind}": steps for split in ("train", "val") for kind in ("mse", "psnr")}
    draw_curves(metrics | {"val/mse_copy_last": {1: 0.3, 19: 0.3}}, tmp_path / "c.png")
    image = cv2.imread(str(tmp_path / "c.png"))
    assert image.shape[1] > image.shape[0] > 300
    assert len({tuple(pixel) for pixel in image.reshape(-1, 3)}) > 50, "axes and lines of several colours"


def test_a_file_that_is_being_rewritten_counts_as_far_as_it_is_there(tmp_path):
    path = tmp_path / "metrics" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    whole = "epoch,step,train/loss\n0,1,0.5\n0,2,0.25\n"
    wholes = {0: {}, 5: {}, 24: {}, 30: {1: 0.5}, 34: {1: 0.5}, len(whole): {1: 0.5, 2: 0.25}}
    for length, expected in wholes.items():
        path.write_text(whole[:length])
        assert read_metrics(tmp_path).get("train/loss", {}) == expected, length
