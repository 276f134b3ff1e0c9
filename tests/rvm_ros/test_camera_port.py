"""The topics of one camera come and go as a whole."""

import pytest

pytest.importorskip("rclpy")

from rclpy.lifecycle import LifecycleNode

from rvm_ros.camera_port import CameraPort
from rvm_ros.interfaces import IMAGE_OUTPUTS, LATCHED_OUTPUTS

pytestmark = pytest.mark.ros


@pytest.fixture
def node(ros):
    node = LifecycleNode("ports")
    yield node
    node.destroy_node()


def topics(node):
    return sorted(publisher.topic_name for publisher in node.publishers if "/camera/" in publisher.topic_name)


def test_what_was_made_before_a_topic_failed_is_taken_back(node, monkeypatch):
    make = node.create_lifecycle_publisher

    def fail_at_pca(kind, topic, *words, **named):
        if topic.endswith("pca"):
            assert topics(node), "others were made before it"
            raise RuntimeError("no such policy")
        return make(kind, topic, *words, **named)

    monkeypatch.setattr(node, "create_lifecycle_publisher", fail_at_pca)
    with pytest.raises(RuntimeError, match="no such policy"):
        CameraPort(node, "camera", topic="image", transport="raw", max_pixels=100)
    assert topics(node) == []


def test_all_topics_are_made_and_taken_back(node):
    port = CameraPort(node, "camera", topic="image", transport="raw", max_pixels=100)
    assert topics(node) == [f"/ports/camera/{name}" for name in sorted((*IMAGE_OUTPUTS, *LATCHED_OUTPUTS))]
    port.destroy()
    assert topics(node) == []
