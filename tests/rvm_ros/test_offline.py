"""The offline tools and the live node agree on the same frames with the same engine, to the last bit."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from bags import raw, write
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rvm_model.bags import open_bag
from rvm_model.engines import choose_engine
from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.messages.stamps import set_stamp
from rvm_ros.outgoing import array_to_image
from rvm_training.offline.features import Target, extract
from rvm_training.offline.recordings import recordings

pytestmark = pytest.mark.ros

STAMPS_S = [1.0, 1.1, 1.2, 5.0, 5.1, 5.2, 5.25]
"""With a gap."""


def live(image, stamp_s) -> Image:
    message = array_to_image(image, Header(frame_id="camera"), "rgb8")
    set_stamp(message, round(stamp_s * 1e9))
    return message


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_features_and_segments_of_a_bag_are_the_live_nodes(robot, tiny_checkpoint, tmp_path, engine):
    images = np.random.default_rng(0).integers(0, 256, (len(STAMPS_S), 60, 70, 3), np.uint8)
    node = robot(engine=engine, processing="every", clusters=6)
    shown = [node.show(live(image, stamp_s)) for image, stamp_s in zip(images, STAMPS_S, strict=True)]
    messages = [raw(image, "rgb8", round(s * 1e9)) for image, s in zip(images, STAMPS_S, strict=True)]
    path = write(tmp_path / "run", {"/camera/image_raw": messages})
    offline = choose_engine(engine, model=str(tiny_checkpoint), size=(32, 48), device="cpu", threads=1)
    outputs = ("features", "segmentation", "pca")
    done = extract(recordings([str(path)]), offline, Target(tmp_path / "out", outputs=outputs))
    assert done.outcomes[0].resets == {"gap": 1}
    with open_bag(tmp_path / "out" / "run") as bag:
        found = {name: [] for name in outputs}
        for topic, _, data in bag.messages([f"/perception/camera/{name}" for name in outputs]):
            found[topic.rpartition("/")[2]].append(bag.deserialize(topic, data))
    for expected, features in zip(shown, found["features"], strict=True):
        np.testing.assert_array_equal(msg_to_features(features), expected["features"])
    for name in ("segmentation", "pca"):
        for expected, message in zip(shown, found[name], strict=True):
            np.testing.assert_array_equal(message.data, expected[name])
