"""Arguments of the launch file and cameras of the parameter file, together."""

import pytest

from rvm_ros.launch_parameters import node_parameters


def given(**arguments):
    empty = dict.fromkeys(("model", "engine", "device", "image", "camera"), "")
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
    got = node_parameters(given(model="7", engine="onnx", device="cpu"), None)
    assert got == {"model": "7", "engine": "onnx", "device": "cpu", "autostart": True}


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
