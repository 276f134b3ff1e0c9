"""Arguments of the launch file and cameras of the parameter file, together."""

from datetime import datetime

import pytest

from rvm_ros.launch_parameters import NODE_ARGUMENTS, node_parameters, recorder_parameters, rosbag2_command


def given(**arguments):
    empty = dict.fromkeys((*NODE_ARGUMENTS, "image", "camera"), "")
    return {**empty, "params_file": "p.yaml", "autostart": "true", **arguments}


def file_with(*cameras):
    return {
        "/**": {"ros__parameters": {"use_sim_time": True}},
        "/**/perception": {"ros__parameters": {"cameras": cameras}},
    }


def test_without_arguments_the_file_decides():
    assert node_parameters(given(), file_with("front", "rear")) == {"autostart": True}
    assert node_parameters(given(autostart="false"), None) == {"autostart": False}


def test_what_is_given_goes_over_the_file():
    got = node_parameters(given(model="7", engine="onnx", segmentation="readout", readout="head.safetensors"), None)
    assert got == {
        "model": "7", "engine": "onnx", "segmentation": "readout", "readout": "head.safetensors", "autostart": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"image": "/i"}, {"cameras": ["camera"], "camera.topic": "/i"}),
        ({"camera": "front"}, {"cameras": ["front"]}),
        ({"image": "/i", "camera": "front"}, {"cameras": ["front"], "front.topic": "/i"}),
    ],
)
@pytest.mark.parametrize("in_file", [None, {}, {"/**": None}, ["no parameters"]])
def test_one_camera_needs_no_file(arguments, expected, in_file):
    assert node_parameters(given(**arguments), in_file) == {**expected, "autostart": True}


def test_a_files_one_camera_keeps_its_name():
    got = node_parameters(given(image="/i"), file_with("front"))
    assert got == {"cameras": ["front"], "front.topic": "/i", "autostart": True}
    assert node_parameters(given(camera="front"), file_with("front"))["cameras"] == ["front"]


@pytest.mark.parametrize(
    ("cameras", "arguments"),
    [(("front", "rear"), {"image": "/i"}), (("front", "rear"), {"camera": "front"}), (("front",), {"camera": "rear"})],
)
def test_cameras_of_the_file_are_never_dropped_unsaid(cameras, arguments):
    with pytest.raises(ValueError, match="image and camera are for one camera.*in p.yaml; set the topics in that file"):
        node_parameters(given(**arguments), file_with(*cameras))


def recorded(**arguments):
    empty = dict.fromkeys(("namespace", "folder", "features", "every_n", "keep_s", "buffer_mb"), "")
    return {**empty, "perception": "perception", "record": "true", "images": "/i", **arguments}


def test_a_recorder_is_given_what_was_given():
    assert recorder_parameters(recorded()) == {"perception": "perception", "record": True}
    given = recorder_parameters(recorded(folder="/b", features="int8", every_n="3", keep_s="5", record="false"))
    assert given == {
        "perception": "perception", "folder": "/b", "features": "int8", "every_n": 3, "keep_s": 5.0, "record": False,
    }  # fmt: skip
    with pytest.raises(ValueError, match="every_n: got 'x', expected a number"):
        recorder_parameters(recorded(every_n="x"))


def test_rosbag2_records_the_same_topics_and_is_not_asked_for_what_it_cannot():
    now = datetime(2026, 11, 22, 9, 30, 5)
    outputs = "(features|segmentation|labels|status)"
    assert rosbag2_command(recorded(), now)[-2:] == ["--regex", f"/perception/[^/]+/{outputs}|/i"]
    command = rosbag2_command(recorded(namespace="/robot", folder="/bags"), now)
    assert command[:7] == ["ros2", "bag", "record", "--storage", "mcap", "--output", "/bags/rvm_2026_11_22-09_30_05"]
    assert command[-1] == f"/robot/perception/[^/]+/{outputs}|/i"
    for arguments, told in (({"features": "int8"}, "features"), ({"record": "false"}, "record")):
        with pytest.raises(ValueError, match=f"rosbag2 with {told}, which only feature_recorder has"):
            rosbag2_command(recorded(**arguments), now)
