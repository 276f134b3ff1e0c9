"""What is on the page of a recording, and of what a node recorded."""

import base64
import re
from contextlib import closing

import cv2
import numpy as np
import pytest
from bags import STORE, TYPES, raw, write

from rvm_model import load_checkpoint
from rvm_model.bags import BagWriter, Topic
from rvm_model.bags.feature_coding import IMAGE, definition
from rvm_model.engines import TorchEngine
from rvm_model.weights import WeightsInfo, seeded
from rvm_training.__main__ import main
from rvm_training.offline.features import Target, extract
from rvm_training.offline.recordings import recordings


def picture(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def report(tiny_model, tmp_path):
    """Function running `rvm report` with the tiny network; returns the file."""

    def run(*words):
        out = tmp_path / "report.html"
        own = ["--model", tiny_model, "--engine", "torch", "--size", "32x48", "--out", str(out)]
        assert main(["report", *map(str, words), *own]) == 0
        return out

    return run


def test_the_page_has_every_camera_frame_and_event_of_a_recording(report, eventful, content):
    path = report(eventful)
    front, rear = content(path)["tracks"]
    assert [(track["camera"], len(track["frames"])) for track in (front, rear)] == [("front", 11), ("rear", 6)]
    assert [event["kind"] for event in front["events"]] == ["gap", "reset"]
    assert front["events"][0]["text"] == "3.10 s without a frame"
    assert front["events"][1]["text"] == "state started anew: gap"
    assert front["events"][1]["time_s"] == pytest.approx(3.6)
    assert len(front["delays_ms"]) == 11
    assert min(front["delays_ms"]) > 0
    assert "1 images could not be used, the first of camera front: got a damaged PNG" in content(path)["about"]
    frame = front["frames"][0]
    assert picture(frame["image"]).shape == picture(frame["pca"]).shape == (40, 60, 3)
    assert picture(frame["segmentation"]).shape == (40, 60, 4)
    assert front["grid"] == [2, 3]
    assert front["computed"]
    assert len(base64.b64decode(frame["tokens"])) == 6 * 24


def test_the_page_needs_nothing_else(report, eventful):
    text = report(eventful).read_text("utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']|https?:|@import|url\(""", text)


def test_a_long_recording_shows_every_nth_frame_and_plots_all(report, eventful, content):
    front = content(report(eventful, "--frames", "4"))["tracks"][0]
    assert [frame["index"] for frame in front["frames"]] == [0, 3, 6, 9]
    assert len(front["times_s"]) == 11


@pytest.mark.parametrize("coding", ["float32", "pca"])
def test_what_was_recorded_is_shown_as_it_was(report, engine, eventful, content, tmp_path, coding):
    target = Target(tmp_path / "features", outputs=("features", "segmentation"), coding=coding, components=8)
    extract(recordings([str(eventful)]), engine, target)
    found = content(report(eventful, tmp_path / "features" / "run"))
    assert found["about"].startswith("Features of `rvm features`. Engine sha256:")
    front = found["tracks"][0]
    assert [event["kind"] for event in front["events"]] == ["gap", "reset", "refused"]
    assert not front["computed"]
    assert front["delay"] == "", "no node ran, so there is no latency"
    assert len(front["frames"]) == 11
    assert all(frame["image"] for frame in front["frames"])


def test_features_alone_are_shown_without_images(report, engine, eventful, content, tmp_path):
    extract(recordings([str(eventful)]), engine, Target(tmp_path / "features"))
    rear = content(report(tmp_path / "features" / "run"))["tracks"][1]
    assert [frame["image"] for frame in rear["frames"]] == [None] * 6
    assert rear["computed"]


def test_names_cannot_break_out_of_the_page(report, eventful, content):
    renamed = eventful.rename(eventful.with_name("run<b>"))
    path = report(renamed)
    assert "<b>" not in path.read_text("utf-8").split('id="data"')[1].split("</script>")[0]
    assert content(path)["title"] == "run<b>"


def test_several_recordings_without_features_are_refused(eventful, video, capsys):
    assert main(["report", str(eventful), str(video())]) == 1
    assert "got 2 inputs to make features of, expected one" in capsys.readouterr().err


def test_of_two_bags_with_features_those_that_were_made_later_are_shown(
    report, engine, tiny_model, eventful, content, tmp_path
):
    found = recordings([str(eventful)])
    extract(found, engine, Target(tmp_path / "recorded"))
    old = tmp_path / "recorded" / "run"
    (old / "features.json").unlink()
    weights = WeightsInfo("other", "sha256:" + "2" * 64, True)
    other = TorchEngine(seeded(load_checkpoint(tiny_model).config, 5), weights, size=(32, 48), device="cpu")
    extract(found, other, Target(tmp_path / "later"))
    page = content(report(eventful, old, tmp_path / "later" / "run"))
    assert page["about"].startswith("Features of `rvm features`.")
    assert "sha256:2222" in page["about"]
    alone = content(report(eventful, tmp_path / "later" / "run"))
    assert [frame["tokens"] for frame in page["tracks"][0]["frames"]] == [
        frame["tokens"] for frame in alone["tracks"][0]["frames"]
    ]


def test_time_that_goes_back_goes_on_on_the_page(report, content, tmp_path):
    rng = np.random.default_rng(0)
    times = [20 + 0.1 * index for index in range(5)] + [5 + 0.1 * index for index in range(5)]
    messages = [raw(rng.integers(0, 256, (40, 60, 3), np.uint8), "rgb8", round(time * 1e9)) for time in times]
    with closing(BagWriter(tmp_path / "loop", [Topic("/front/image_raw", IMAGE, definition(IMAGE))])) as bag:
        for index, message in enumerate(messages):
            bag.write("/front/image_raw", index * 10**8, bytes(STORE.serialize_cdr(message, IMAGE)))
    (track,) = content(report(tmp_path / "loop"))["tracks"]
    assert len(track["times_s"]) == 10
    assert min(np.diff(track["times_s"])) > 0
    assert [event["text"] for event in track["events"] if event["kind"] == "gap"] == ["time went back by 15.40 s"]
    assert sum(event["kind"] == "reset" for event in track["events"]) == 1


def test_a_camera_without_frames_is_told_and_costs_no_other(report, eventful, content, tmp_path):
    rng = np.random.default_rng(0)
    good = [raw(rng.integers(0, 256, (40, 60, 3), np.uint8), "rgb8", index * 10**8 + 10**9) for index in range(3)]
    bad = [raw(np.zeros((40, 60, 3), np.uint8), "rgb8", index * 10**8 + 10**9) for index in range(3)]
    for message in bad:
        message.step = 1
    page = content(report(write(tmp_path / "two", {"/front/image_raw": good, "/rear/image_raw": bad})))
    assert [track["camera"] for track in page["tracks"]] == ["front"]
    assert page["about"].endswith("Of rear there is no frame with features.")


def test_cameras_whose_names_do_not_tell_their_topics_are_told_or_given(report, engine, eventful, content, tmp_path):
    chosen = {"left": "/front/image_raw/compressed", "right": "/rear/image_raw"}
    extract(recordings([str(eventful)], cameras=chosen), engine, Target(tmp_path / "out"))
    page = content(report(eventful, tmp_path / "out" / "run"))
    assert "No images of left, right: --camera NAME=TOPIC tells where they are." in page["about"]
    assert not any(frame["image"] for frame in page["tracks"][0]["frames"])
    words = [word for name, topic in chosen.items() for word in ("--camera", f"{name}={topic}")]
    page = content(report(eventful, tmp_path / "out" / "run", *words))
    assert all(frame["image"] for track in page["tracks"] for frame in track["frames"])


def test_images_without_stamps_are_joined_where_features_were_made_later(report, engine, content, tmp_path):
    rng = np.random.default_rng(0)
    messages = [raw(rng.integers(0, 256, (40, 60, 3), np.uint8), "rgb8", 0) for _ in range(4)]
    with closing(BagWriter(tmp_path / "bag", [Topic("/front/image_raw", IMAGE, definition(IMAGE))])) as bag:
        for index, message in enumerate(messages):
            bag.write("/front/image_raw", 10**9 + index * 10**8, bytes(STORE.serialize_cdr(message, IMAGE)))
    extract(recordings([str(tmp_path / "bag")]), engine, Target(tmp_path / "out"))
    (track,) = content(report(tmp_path / "bag", tmp_path / "out" / "bag"))["tracks"]
    assert len(track["frames"]) == 4
    assert all(frame["image"] for frame in track["frames"])
    assert len(content(report(tmp_path / "bag", "--anew"))["tracks"][0]["frames"]) == 4


def test_other_topics_that_are_called_features_make_no_bag_recorded(report, content, tmp_path):
    text = TYPES["std_msgs/msg/String"]("x")
    image = raw(np.zeros((40, 60, 3), np.uint8), "rgb8")
    path = write(tmp_path / "run", {"/a/b/features": [text], "/front/image_raw": [image]})
    assert content(report(path))["about"].startswith("Made for this page by torch")
