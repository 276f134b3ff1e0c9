"""Several nodes in one process, as a robot runs them."""

from __future__ import annotations

import signal

import numpy as np
import pytest

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rvm_model.messages.feature_maps import msg_to_features
from rvm_ros.outgoing import array_to_image
from rvm_ros.perception_container import main

pytestmark = pytest.mark.ros


@pytest.fixture
def container(start_node, tiny_checkpoint, tmp_path):
    """The nodes front and rear in one process."""
    lines = [
        f"model: {tiny_checkpoint}", "engine: torch", "image_size: [32, 48]", "threads: 1", "device: cpu",
        "autostart: true", "clusters: 3",
    ]  # fmt: skip
    parameters = tmp_path / "nodes.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n" + "".join(f"    {line}\n" for line in lines))
    return start_node(
        "rvm_ros.perception_container", arguments=["--params-file", str(parameters)], words=["front", "rear"]
    )


def test_each_node_works_on_its_own_and_the_engine_is_shared(client, container):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
    received = {name: client.subscribe(Image, f"/{name}/camera/features") for name in ("front", "rear")}
    publisher = client.node.create_publisher(Image, "/camera/image_raw", 1)
    message, stamp = array_to_image(pixels, Header(), "rgb8"), iter(range(1, 10_000))

    def both() -> bool:
        message.header.stamp.sec = 10 * next(stamp)  # Each is a gap: every frame is the first one of its state.
        publisher.publish(message)
        return all(received.values())

    client.wait_for(both, "features of both")
    assert "[rear]: engine: shared with another node of this process" in container.log
    front, rear = (msg_to_features(received[name][-1]) for name in ("front", "rear"))
    np.testing.assert_allclose(front, rear, rtol=1e-4, atol=1e-5)
    deactivate = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert client.call(ChangeState, "/front/change_state", deactivate).success
    for messages in received.values():
        messages.clear()

    def more_of_rear() -> bool:
        both()
        return len(received["rear"]) > 3

    client.wait_for(more_of_rear, "the other one's features")
    assert received["front"] == []
    assert container.interrupt(signal.SIGINT) == 0
    assert "Traceback" not in container.log


def test_without_names_it_says_what_is_expected(capsys):
    assert main(["front", "front"]) == 2
    assert "got names ['front', 'front'], expected at least one node's, each once" in capsys.readouterr().err
