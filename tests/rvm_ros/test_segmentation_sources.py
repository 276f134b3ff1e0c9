"""Segmentation that people can steer, through a live node's topics and parameters."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from rvm_model import load_checkpoint
from rvm_model.camera_heads import Wanted
from rvm_model.heads.readout import ReadoutConfig, ReadoutLabels, SegmentationReadout, save_readout
from rvm_model.prompt import Prompt
from rvm_model.weights import weights_info
from rvm_ros.outgoing import array_to_image

pytestmark = pytest.mark.ros


@pytest.fixture
def steered(robot, client):
    """Function starting a node whose segmentation is steered, with what it tells of labels and confidence."""

    def start(**parameters):
        node = robot(**parameters)
        latched = {"labels": [], "confidence": []}
        latched["labels"] = client.subscribe(String, "/perception/camera/labels", node.latched)
        latched["confidence"] = client.subscribe(Image, "/perception/camera/confidence")
        publisher = node.node.ports["camera"]._publishers["confidence"]
        client.wait_for(publisher.get_subscription_count, "the subscriber")
        return node, latched

    return start


def labels(client, latched, condition) -> dict:
    client.wait_for(lambda: latched["labels"] and condition(json.loads(latched["labels"][-1].data)), "labels")
    return json.loads(latched["labels"][-1].data)


def prompt(client, content: dict) -> None:
    publisher = client.node.create_publisher(String, "/perception/camera/prompt", 10)
    client.wait_for(publisher.get_subscription_count, "the node's subscription")
    publisher.publish(String(data=json.dumps(content)))


def test_an_object_of_a_box_is_followed_until_it_is_removed(steered, client):
    node, latched = steered(segmentation="propagation")
    outputs = node.see(10.0, 0)
    assert set(outputs["segmentation"]) == {255}
    prompt(client, {"id": 4, "name": "cup", "box": [0, 0, 35, 60], "stamp": [10, 0]})
    table = labels(client, latched, lambda each: len(each["labels"]) == 2)
    assert (table["source"], table["unlabelled"]) == ("propagation", 255)
    assert [(label["id"], label["name"]) for label in table["labels"]] == [(0, "background"), (4, "cup")]
    assert set(node.see(10.1, 0)["segmentation"]) == {0, 4}
    client.wait_for(lambda: any(each.header.stamp.nanosec for each in latched["confidence"]), "the second's confidence")
    assert latched["confidence"][-1].encoding == "mono8"
    assert max(latched["confidence"][-1].data) > 128
    assert "follows object 4" in node.wait_for_status(lambda told: told["last_prompt"])["last_prompt"]
    prompt(client, {"remove": 4})
    labels(client, latched, lambda each: len(each["labels"]) == 1)
    assert set(node.see(10.2, 0)["segmentation"]) == {255}


def test_objects_of_a_mask_are_followed(steered, client):
    node, latched = steered(segmentation="propagation")
    node.see(10.0, 0)
    mask = np.zeros((60, 70), np.uint8)
    mask[:, :35], mask[30:, 35:] = 1, 9
    publisher = client.node.create_publisher(Image, "/perception/camera/prompt_mask", 10)
    client.wait_for(publisher.get_subscription_count, "the node's subscription")
    publisher.publish(array_to_image(mask, Header(), "mono8"))
    labels(client, latched, lambda each: [label["id"] for label in each["labels"]] == [0, 1, 9])
    assert {1, 9} <= set(node.see(10.1, 0)["segmentation"]) <= {0, 1, 9}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"box": [0, 0, 700, 60]}, "which has 70x60"),
        ({"boxx": 3}, "got boxx, expected some of"),
        ({"remove": 3}, "nothing is followed"),
        ({"box": [0, 0, 1, 10**400]}, "a number beyond all measure"),
        ({"box": [0, 0, 9, 9], "stamp": [-(10**300), 0]}, "expected [seconds, nanoseconds]"),
        ({"box": [0, 0, 9, 9], "stamp": [999, 0]}, "after the newest frame's"),
    ],
)
def test_a_prompt_that_marks_nothing_is_refused_with_its_reason_and_frames_go_on(steered, client, content, reason):
    node, _ = steered(segmentation="propagation")
    node.see(10.0, 0)
    prompt(client, content)
    told = node.wait_for_status(lambda told: told["last_prompt"])["last_prompt"]
    assert told.startswith("refused: ")
    assert reason in told
    node.see(10.1, 0)


def test_a_mask_of_ids_without_end_is_refused_before_anything_is_made_of_it(steered, client):
    node, _ = steered(segmentation="propagation")
    node.see(10.0, 0)
    depth = np.arange(480 * 640, dtype=np.uint32).astype(np.uint16).reshape(480, 640)
    publisher = client.node.create_publisher(Image, "/perception/camera/prompt_mask", 10)
    client.wait_for(publisher.get_subscription_count, "the node's subscription")
    publisher.publish(array_to_image(depth, Header(), "16UC1"))
    told = node.wait_for_status(lambda told: told["last_prompt"])["last_prompt"]
    assert "got a pixel of 65535, expected ids 1..254" in told
    node.see(10.1, 1)


def test_objects_are_followed_though_nobody_looks(robot):
    node = robot(segmentation="propagation")
    node.see(10.0, 0)
    heads = node.node.worker.pictures.heads("camera")
    heads.mark(Prompt(id=1, box=(0, 0, 35, 60)))
    before = heads.remember()["propagation"].tensors["queue_labels"]
    node.node.ports["camera"].wanted = Wanted
    node.send(10.1, 5)
    counts = node.node.worker.streams["camera"].counts
    node.client.wait_for(lambda: counts["processed"] == 2, "the frame")
    node.node.worker.between_frames(lambda: None).result(timeout=10)
    assert not torch.equal(heads.remember()["propagation"].tensors["queue_labels"], before)


def test_another_camera_on_the_topic_is_not_painted_with_the_objects_of_the_one_before(robot):
    node = robot(segmentation="propagation")
    node.see(10.0, 0)
    node.node.worker.pictures.heads("camera").mark(Prompt(id=1, box=(0, 0, 35, 60)))
    assert 1 in node.see(10.1, 0)["segmentation"]
    node.node.worker.pictures.heads("camera").start_anew("gap")
    assert 1 in node.see(10.2, 0)["segmentation"], "it is the same scene"
    node.node.worker.pictures.heads("camera").start_anew("frame_id changed")
    assert set(node.see(10.3, 0)["segmentation"]) == {255}


def test_the_source_is_switched_while_the_node_runs_and_the_labels_follow(steered, client):
    node, latched = steered()
    assert set(node.see(10.0, 0)["segmentation"]) <= {0, 1, 2}
    assert labels(client, latched, lambda each: True)["source"] == "clusters"
    assert node.node.set_parameters([Parameter("segmentation", value="propagation")])[0].successful
    labels(client, latched, lambda each: each["source"] == "propagation")
    assert set(node.see(10.1, 0)["segmentation"]) == {255}
    refused = node.node.set_parameters([Parameter("segmentation", value="readout")])[0]
    assert (refused.successful, "readout" in refused.reason) == (False, True)
    assert not node.node.set_parameters([Parameter("segmentation", value="magic")])[0].successful
    assert node.node.set_parameters([Parameter("segmentation", value="clusters")])[0].successful
    labels(client, latched, lambda each: each["source"] == "clusters")
    assert set(node.see(10.2, 0)["segmentation"]) <= {0, 1, 2}


@pytest.fixture
def readout_file(tiny_checkpoint, tmp_path):
    """A head of two classes for the tiny network."""
    torch.manual_seed(3)
    head = SegmentationReadout(ReadoutConfig(dim=load_checkpoint(tiny_checkpoint).config.dim, classes=2))
    path = tmp_path / "head.safetensors"
    names = ReadoutLabels(("floor", "robot"), ((1, 2, 3), (250, 0, 0)))
    save_readout(path, head, names, weights=weights_info(str(tiny_checkpoint)).identity, image_size=(32, 48))
    return path


def test_a_trained_head_names_its_classes(steered, client, readout_file):
    node, latched = steered(segmentation="readout", readout=str(readout_file))
    assert set(node.see(10.0, 0)["segmentation"]) <= {0, 1}
    table = labels(client, latched, lambda each: each["source"] == "readout")
    assert [(label["name"], label["color"]) for label in table["labels"]] == [
        ("floor", "#010203"),
        ("robot", "#fa0000"),
    ]
    client.wait_for(lambda: latched["confidence"], "confidence")
    assert min(latched["confidence"][-1].data) >= 127, "the larger of two shares"


def test_an_engine_that_the_head_was_not_trained_on_is_refused_and_the_old_one_goes_on(
    steered, client, readout_file, other_checkpoint
):
    node, _ = steered(segmentation="readout", readout=str(readout_file))
    node.see(10.0, 0)
    assert node.node.set_parameters([Parameter("model", value=str(other_checkpoint))])[0].successful
    client.wait_for(lambda: node.node.reload.problem, "the refusal")
    assert "on whose features it was trained" in node.node.reload.problem
    node.see(10.1, 1)
    assert node.node.worker.perception("camera").states.age("camera") == 2
