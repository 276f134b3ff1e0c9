"""Every topic and service of `perception_node`: name, type, quality of service, meaning. The only place they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

CAMERA_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Cameras are subscribed best effort, which matches every publisher; depth 1, so that no old frame waits in line."""
OUTPUT_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
"""Outputs are reliable, so that they match every subscriber, and hold one frame."""
LATCHED_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""For what a late subscriber must still get: the label list, the status."""
PROMPT_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""Prompts are few, and each counts."""
DIAGNOSTICS_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""As all nodes tell their diagnostics."""
TRANSPORTS: dict[str, type[Any]] = {"raw": Image, "compressed": CompressedImage}
"""How a camera's images come, and as what."""


@dataclass(frozen=True)
class Topic:
    """One topic. In its name, `<camera>` stands for each camera's name."""

    name: str
    type: type[Any]
    qos: QoSProfile
    description: str
    """What a message is: its encoding, size and unit."""


def every_frame_qos(depth: int) -> QoSProfile:
    """For cameras of which each frame counts: so many may wait, and none is lost on the way."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


IMAGE_OUTPUTS = {
    "features": "Dense features, `32FC<D>`: one pixel of D channels for each patch of the engine's input (8x8 "
    "pixels with rvm_nano, 16x16 with the released weights)",
    "cls_token": "The frame's global token, `32FC<D>`: one pixel",
    "pca": "Main directions of the features as colours, `rgb8`, at the input's size or `picture_height`",
    "segmentation": "Label of every pixel at the input's size, `mono8`, above 254 labels `16UC1`; 255 (65535) is "
    "unlabelled",
    "overlay": "The labels' colours over the input, `rgb8`, at the input's size or `picture_height`",
    "confidence": "How sure every pixel's label is, `mono8`, 0..255 for 0..1, at the input's size; not with the "
    "segmentation `clusters`",
}
"""Output topics `~/<camera>/<name>` of type sensor_msgs/Image, named like the fields of `Wanted` and `Outputs`."""
LATCHED_OUTPUTS = {
    "labels": "JSON: the source of the segmentation, every label's id, name and color, and which value is unlabelled",
    "status": "JSON: frames in the state, last reset and why, resets by reason, last prompt, digest of the engine, "
    "weights",
}
"""Output topics `~/<camera>/<name>` of type std_msgs/String."""
PROMPTS: dict[str, tuple[type[Any], str]] = {
    "prompt_mask": (
        Image,
        "Objects to follow: `mono8` or `16UC1` of any size, 0 says nothing, 1..254 are objects, 255 is unlabelled; its "
        "stamp is that of the image that was marked, 0 takes the newest",
    ),
    "prompt": (
        String,
        'JSON: `{"id": 1, "name": "cup", "box": [x0, y0, x1, y1]}` or `"points": [[x, y], ...]` with `"negative"` '
        'ones, in pixels of the camera\'s image, with `"stamp": [seconds, nanoseconds]` of it; `{"remove": 1}`; '
        '`{"clear": true}`',
    ),
}
"""Input topics `~/<camera>/<name>` on which objects are marked."""

PUBLISHED: tuple[Topic, ...] = (
    *(Topic(f"~/<camera>/{name}", Image, OUTPUT_QOS, text) for name, text in IMAGE_OUTPUTS.items()),
    *(Topic(f"~/<camera>/{name}", String, LATCHED_QOS, text) for name, text in LATCHED_OUTPUTS.items()),
    Topic(
        "/diagnostics", DiagnosticArray, DIAGNOSTICS_QOS, "One status of the node and one of each camera, once a second"
    ),
)
"""What the node sends. `~/<camera>/label_info`, a latched `vision_msgs/msg/LabelInfo`, is beside them where vision_msgs
is installed."""
SUBSCRIBED: tuple[Topic, ...] = (
    Topic(
        "<camera>/image_raw",
        Image,
        CAMERA_QOS,
        "The camera; another topic by the parameter `<camera>.topic`; with `<camera>.transport: compressed` "
        "`<topic>/compressed` of type `sensor_msgs/msg/CompressedImage`. With `processing: every` reliable and as deep "
        "as `queue_length`",
    ),
    *(Topic(f"~/<camera>/{name}", kind, PROMPT_QOS, text) for name, (kind, text) in PROMPTS.items()),
)
"""What it listens to while it is active."""

SERVICES: dict[str, tuple[type[Any], str]] = {
    "reset_state": (Trigger, "Start every camera's state anew before its next frame"),
    "save_state": (Trigger, "Write what every camera remembers, state and heads, to the file of `state_file`"),
    "load_state": (
        Trigger,
        "Go on from what that file holds, to the last bit; refused where another engine wrote it. The next frame goes "
        "on whatever its stamp",
    ),
    "reload_engine": (
        Trigger,
        "Load the engine of the parameters `engine` and `model` anew beside the one that runs, and change over between "
        "two frames; answered when it runs, or with the reason why the old one goes on",
    ),
}
"""Services `~/<name>`, beside those that every lifecycle node has."""


def type_name(kind: type[Any]) -> str:
    """Name of a message's or service's type as `ros2 interface show` takes it."""
    package, folder, _ = kind.__module__.split(".", 2)
    return f"{package}/{folder}/{kind.__name__}"
