"""The node's parameters: what is refused at the start or when configured, and with which words."""

from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition
from node_client import NODE, change, set_parameter, state
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from rvm_ros.loading import THREADS
from rvm_ros.perception_node import PerceptionNode

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    ("change_parameters", "reason"),
    [
        ({"model": "/nowhere/model.npz"}, "got '/nowhere/model.npz', which is no file"),
        ({"image_size": [30, 48]}, "got 30x48, expected height and width to be multiples of the patch size 16"),
        ({"engine": "/nowhere/engine"}, "engine: no folder at /nowhere/engine; make one with `rvm export`"),
        ({"device": "tpu"}, "device: got 'tpu', expected cpu, cuda or cuda:N"),
        ({"camera.topic": "/front camera/image"}, "front camera"),
    ],
)
def test_configure_fails_with_the_reason_and_the_node_can_be_configured_again(
    ros, parameters, capfd, change_parameters, reason
):
    given = {"model": str(parameters["model"]), "image_size": [32, 48], "engine": "torch", "threads": 1}
    node = made({**given, **change_parameters})
    before = torch.get_num_threads()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert reason in capfd.readouterr().err
        name = next(iter(change_parameters))
        good = given.get(name, {"engine": "torch", "device": "cpu", "camera.topic": "image"}.get(name))
        assert node.set_parameters([Parameter(name, value=good)])[0].successful
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()
        torch.set_num_threads(before)


def made(values: dict[str, object]) -> PerceptionNode:
    return PerceptionNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])


OUT_OF_RANGE = [
    ({"clusters": 1}, "Parameter clusters out of range. Min: 2"),
    ({"image_size": [32]}, "image_size: got 1 items, expected 2"),
    ({"cameras": ["a", "a"]}, "expected at least one name and each once"),
    ({"cameras": ["front camera"]}, "got 'front camera'"),
    ({"camera.transport": "theora"}, "camera.transport: got 'theora', expected one of raw, compressed"),
]


@pytest.mark.parametrize(("values", "reason"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_at_the_start(ros, values, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        made(values)


@pytest.mark.parametrize(
    ("words", "reason"),
    [({"clusters": 1}, "clusters"), ({"cameras": "[]"}, "cameras: got no value, expected one like ['camera']")],
)
def test_a_process_whose_parameters_are_refused_ends_with_the_reason(start_node, parameters, words, reason):
    node = start_node(NODE, {**parameters, **words})
    assert node.process.wait(timeout=30) == 1
    assert reason in node.log
    assert "Traceback" not in node.log


def test_parameters_describe_themselves_and_are_locked_once_configured(client, start_node, parameters):
    start_node(NODE, parameters)
    names = ["clusters", "overlay_alpha", "cameras"]
    described = client.call(
        DescribeParameters, "/perception/describe_parameters", DescribeParameters.Request(names=names)
    ).descriptors
    assert all(descriptor.description for descriptor in described)
    assert (described[0].integer_range[0].from_value, described[0].integer_range[0].to_value) == (2, 1000)
    assert described[2].read_only

    def set_clusters(value: int):
        number = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
        return set_parameter(client, ParameterMessage(name="clusters", value=number))

    assert set_clusters(5).successful
    assert not set_clusters(100_000).successful
    assert change(client, Transition.TRANSITION_CONFIGURE)
    result = set_clusters(6)
    assert not result.successful
    assert "deactivate it and clean it up first" in result.reason


def test_a_parameter_that_there_is_not_is_told_with_the_one_that_may_be_meant(client, start_node, parameters):
    node = start_node(NODE, {**parameters, "camera.topci": "/front", "use_sim_time": "false", "modle": "x"})
    assert state(client) == "unconfigured"
    told = [line for line in node.log.splitlines() if "there is none of this name" in line]
    assert len(told) == 2
    assert (
        "parameter camera.topci: there is none of this name, so it does nothing; did you mean camera.topic?" in node.log
    )
    assert "did you mean model?" in node.log


def test_threads_go_back_to_what_torch_takes_by_itself(ros, parameters):
    node = PerceptionNode(
        parameter_overrides=[
            Parameter("model", value=str(parameters["model"])),
            Parameter("image_size", value=[32, 48]),
            Parameter("threads", value=1),
        ]
    )
    before = torch.get_num_threads()
    try:
        node.trigger_configure()
        assert torch.get_num_threads() == 1
        node.trigger_cleanup()
        node.set_parameters([Parameter("threads", value=0)])
        node.trigger_configure()
        assert torch.get_num_threads() == THREADS
    finally:
        node.destroy_node()
        torch.set_num_threads(before)
