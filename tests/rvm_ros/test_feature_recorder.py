"""A recorder beside a perception node that runs: what is in its bags, and what is left of them after a kill."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool

from rvm_model.bags import repair
from rvm_model.messages.feature_maps import msg_to_features, relative_error
from rvm_model.messages.images import image_to_array
from rvm_model.messages.stamps import set_stamp, stamp_ns
from rvm_ros.feature_recorder import FeatureRecorder
from rvm_ros.outgoing import array_to_image
from rvm_ros.recorder.sources import Camera, sources

pytestmark = pytest.mark.ros

FEATURES, SEGMENTATION = "/perception/camera/features", "/perception/camera/segmentation"


def read(folder: Path) -> dict[str, list]:
    """Messages by topic, in the order of their recording."""
    found: dict[str, list] = {}
    with AnyReader([folder]) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
    return found


@pytest.fixture
def recorder(client, tmp_path):
    """Function starting a recorder in this process, which has found the perception node when it returns."""
    started = []

    def start(**parameters: object) -> FeatureRecorder:
        own = {"folder": str(tmp_path / "bags"), **parameters}
        node = FeatureRecorder(parameter_overrides=[Parameter(name, value=value) for name, value in own.items()])
        started.append(node)
        client.executor.add_node(node)
        client.wait_for(lambda: node._tape is not None, "the perception node's answer")
        return node

    yield start
    for node in started:
        client.executor.remove_node(node)
        node.destroy_node()


class Scene:
    """A perception node that sees images which are on their topic, too."""

    def __init__(self, client, robot) -> None:
        self.client, self.robot = client, robot
        self.images = client.node.create_publisher(Image, "/camera/image_raw", 10)
        self.infos = client.node.create_publisher(CameraInfo, "/camera/camera_info", 10)
        self.features: list[np.ndarray] = []

    def watched(self) -> Scene:
        """When somebody records what it publishes."""
        self.client.wait_for(
            lambda: self.images.get_subscription_count() and self.infos.get_subscription_count(), "the recorder"
        )
        publisher = self.robot.node.ports["camera"]._publishers["features"]
        self.client.wait_for(lambda: publisher.get_subscription_count() == 2, "the recorder of features")
        return self

    def show(self, count: int, first: int = 0) -> None:
        for index in range(first, first + count):
            message = array_to_image(np.full((4, 6, 3), index % 256, np.uint8), Header(frame_id="front"), "rgb8")
            set_stamp(message, (index + 1) * 10**8)
            self.images.publish(message)
            self.infos.publish(CameraInfo(header=message.header, height=4, width=6))
            self.features.append(self.robot.see((index + 1) / 10, index)["features"])
        self.client.spin_for(0.2)


@pytest.fixture
def scene(client, robot):
    made = Scene(client, robot())
    yield made
    client.node.destroy_publisher(made.images)
    client.node.destroy_publisher(made.infos)


def stop(client, recorder: FeatureRecorder) -> Path:
    response = client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=False))
    assert response.success, response.message
    return Path(recorder._tape.progress.bag)


def test_all_that_belongs_to_a_frame_is_in_the_bag(client, scene, recorder):
    node = recorder()
    scene.watched().show(5)
    found = read(stop(client, node))
    stamps = [(index + 1) * 10**8 for index in range(5)]
    for name in ("/camera/image_raw", "/camera/camera_info", FEATURES, SEGMENTATION):
        assert [stamp_ns(message) for message in found[name]] == stamps, name
    for index, image in enumerate(found["/camera/image_raw"]):
        np.testing.assert_array_equal(image_to_array(image), index)
    for message, expected in zip(found[FEATURES], scene.features, strict=True):
        np.testing.assert_array_equal(msg_to_features(message), expected)
    assert json.loads(found["/perception/camera/labels"][-1].data)["source"] == "clusters"
    assert (
        json.loads(found["/perception/camera/status"][-1].data)["weights"]
        == scene.robot.node.worker.perception("camera").engine.info.weights
    )


@pytest.mark.parametrize(("features", "error"), [("float16", 1e-3), ("int8", 0.02), ("pca", 0.2)])
def test_smaller_features_are_those_of_the_node_within_the_error(client, scene, recorder, features, error):
    node = recorder(features=features, components=12)
    scene.watched().show(4)
    found = read(stop(client, node))
    from rvm_model.messages.feature_maps import Basis

    basis = Basis.of_message(found[f"{FEATURES}/basis"][0]) if features == "pca" else None
    for message, expected in zip(found[FEATURES], scene.features, strict=True):
        assert 0 < relative_error(expected, msg_to_features(message, basis)) < error
    assert json.loads(found[f"{FEATURES}/coding"][0].data)["coding"] == features


def test_every_nth_frame_is_recorded_with_its_image(client, scene, recorder):
    node = recorder(every_n=3)
    scene.watched().show(7)
    found = read(stop(client, node))
    for name in ("/camera/image_raw", "/camera/camera_info", FEATURES, SEGMENTATION):
        assert [stamp_ns(message) // 10**8 for message in found[name]] == [1, 4, 7], name


def test_the_seconds_before_the_trigger_are_in_the_bag(client, scene, recorder):
    node = recorder(record=False, keep_s=60.0)
    told = client.subscribe(String, "/feature_recorder/state", 10)
    scene.watched().show(3)
    response = client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=False))
    assert (response.success, response.message) == (False, "nothing is being recorded")
    response = client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=True))
    assert response.success, response.message
    scene.show(2, first=3)
    assert client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=True)).success is False
    found = read(stop(client, node))
    assert [stamp_ns(message) // 10**8 for message in found[FEATURES]] == [1, 2, 3, 4, 5]
    assert found["/perception/camera/labels"]
    client.wait_for(lambda: told and not json.loads(told[-1].data)["recording"], "the state")
    assert json.loads(told[-1].data)["messages"] > 15


def test_recordings_of_one_second_are_told_apart(client, scene, recorder):
    node = recorder(record=False)
    bags = []
    for _ in range(3):
        assert client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=True)).success
        bags.append(stop(client, node))
    assert len(set(bags)) == 3
    assert all((bag / "metadata.yaml").is_file() for bag in bags)


def test_nothing_is_taken_while_nothing_is_recorded_or_kept(client, scene, recorder):
    node = recorder(record=False)
    publisher = scene.robot.node.ports["camera"]._publishers["features"]
    assert publisher.get_subscription_count() == 1, "the test's own"
    client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=True))
    scene.watched().show(3)
    found = read(stop(client, node))
    assert len(found[FEATURES]) == 3
    client.wait_for(lambda: publisher.get_subscription_count() == 1, "the end of the subscription")


def test_a_node_without_cameras_is_told(client, ros, recorder, tmp_path):
    other = ros.create_node("other")
    client.executor.add_node(other)
    node = FeatureRecorder(parameter_overrides=[Parameter("perception", value="other")])
    client.executor.add_node(node)
    try:
        client.wait_for(lambda: "cameras" in node._told_s, "the answer", timeout_s=10)
        response = client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=True))
        assert "has not answered yet" in response.message
    finally:
        for each in (node, other):
            client.executor.remove_node(each)
            each.destroy_node()


def test_a_topic_of_several_cameras_is_recorded_once():
    cameras = [Camera(name, f"/stereo/{name}_image", "raw") for name in ("left", "right")]
    found = sources("/perception", cameras, ["image", "camera_info"])
    assert [(source.topic, source.shared) for source in found] == [
        ("/stereo/left_image", False), ("/stereo/camera_info", True), ("/stereo/right_image", False),
    ]  # fmt: skip


def test_what_cannot_be_recorded_is_refused_at_the_start():
    with pytest.raises(ValueError, match="outputs: got depth, expected some of image, camera_info, features"):
        FeatureRecorder(parameter_overrides=[Parameter("outputs", value=["image", "depth"])])


def test_a_folder_that_cannot_be_written_is_told_and_the_node_lives_on(client, scene, recorder, tmp_path):
    (tmp_path / "file").write_text("")
    recorder(folder=str(tmp_path / "file"), record=False)
    response = client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=True))
    assert not response.success
    assert "file" in response.message


def test_a_full_disk_ends_the_recording_with_an_error_and_leaves_a_readable_bag(client, scene, recorder, small_disk):
    disk = small_disk(9)
    node = recorder(folder=str(disk / "bags"))
    scene.watched()
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    sent = 0
    while not node._tape.progress.problem:
        assert sent < 60
        message = array_to_image(noise, Header(frame_id="front"), "rgb8")
        set_stamp(message, (sent + 1) * 10**8)
        scene.images.publish(message)
        sent += 1
        client.spin_for(0.1)
    progress = node._tape.progress
    assert not progress.recording
    assert "No space left on device" in progress.problem
    found = read(Path(progress.bag))["/camera/image_raw"]
    assert 3 <= len(found) < sent
    for message in found:
        np.testing.assert_array_equal(image_to_array(message), noise)
    response = client.call(SetBool, "/feature_recorder/record", SetBool.Request(data=False))
    assert response.message == "nothing is being recorded"


def test_an_interrupted_recorder_leaves_a_whole_bag(client, scene, start_node, tmp_path):
    node = start_node("rvm_ros.feature_recorder", {"folder": tmp_path / "bags"})
    client.wait_for(lambda: "recording to" in node.log, "the recorder")
    scene.watched().show(4)
    assert node.interrupt() == 0, node.log
    (folder,) = (tmp_path / "bags").iterdir()
    assert len(read(folder)[FEATURES]) == 4
    assert f"to {folder}" in node.log


def test_a_recorder_that_is_killed_loses_at_most_the_last_second(client, scene, start_node, tmp_path):
    """The last test: others would meet what the killed process leaves on the network for 20 s."""
    parameters = {"folder": tmp_path / "bags", "features": "pca", "split_s": 1.0}
    killed = start_node("rvm_ros.feature_recorder", parameters)
    client.wait_for(lambda: "recording to" in killed.log, "the recorder")
    scene.watched()
    shown_s = []
    end_s = time.monotonic() + 2.5
    while time.monotonic() < end_s:
        scene.show(1, first=len(shown_s))
        shown_s.append(time.monotonic())
    killed.process.send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    killed.process.wait()
    (folder,) = (tmp_path / "bags").iterdir()
    assert "messages kept" in repair(folder)
    found = [stamp_ns(message) // 10**8 for message in read(folder)[FEATURES]]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= sum(shown < killed_s - 1.0 for shown in shown_s)
