"""The demo's recorder waits for the node whose outputs it draws."""

import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import Image

from rvm_ros.demo.recorder import OUTPUTS, Recorder

pytestmark = pytest.mark.ros


def test_it_subscribes_to_the_camera_only_once_every_output_has_a_maker(ros, client):
    camera = "/recorded/image_raw"
    recorder = Recorder(camera, "/made", lambda frame: None)
    try:
        client.executor.add_node(recorder)
        client.node.create_subscription(Image, "/made/prompt_mask", lambda message: None, 10)
        for output in OUTPUTS[1:]:
            client.node.create_publisher(Image, f"/made/{output}", 10)
        client.spin_for(0.5)
        assert client.node.count_subscribers(camera) == 0
        client.node.create_publisher(Image, f"/made/{OUTPUTS[0]}", 10)
        client.wait_for(lambda: client.node.count_subscribers(camera), "the recorder's subscription to the camera")
    finally:
        recorder.destroy_node()
