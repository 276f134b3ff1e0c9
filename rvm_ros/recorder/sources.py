"""Which topics are recorded, and how: by what the perception node says of its cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from rvm_ros.interfaces import IMAGE_OUTPUTS, LATCHED_OUTPUTS, TRANSPORTS

CAMERA_TOPICS = ("image", "camera_info")
"""What comes from the camera itself."""
RECORDABLE = (*CAMERA_TOPICS, *IMAGE_OUTPUTS, *LATCHED_OUTPUTS)
"""What can be recorded of a camera."""


@dataclass(frozen=True)
class Camera:
    """Where a camera's images come from, as the parameters of the perception node say."""

    name: str
    topic: str
    """Base topic, as image_transport means it."""
    transport: str
    """One of TRANSPORTS."""


@dataclass(frozen=True)
class Source:
    """A topic that is recorded."""

    topic: str
    type: type[Any]
    camera: str
    """The camera, or the first of those that share it."""
    what: str
    """One of RECORDABLE."""
    shared: bool = False
    """Whether several cameras have it, as stereo cameras may have one camera_info: all of it is recorded."""

    @property
    def latched(self) -> bool:
        """Whether the last message holds until the next."""
        return self.what in LATCHED_OUTPUTS

    @property
    def stamped(self) -> bool:
        """Whether a message begins with the header of the frame that it belongs to."""
        return self.type is not String


def sources(perception: str, cameras: Collection[Camera], outputs: Collection[str]) -> list[Source]:
    """The topics.

    Args:
        perception: full name of the perception node.
        cameras: its cameras.
        outputs: what to record of each, of RECORDABLE.
    """
    found = []
    for camera in cameras:
        topics: Mapping[str, tuple[str, type[Any]]] = {
            "image": _image(camera),
            "camera_info": (f"{camera.topic.rpartition('/')[0]}/camera_info", CameraInfo),
            **{output: (f"{perception}/{camera.name}/{output}", Image) for output in IMAGE_OUTPUTS},
            **{output: (f"{perception}/{camera.name}/{output}", String) for output in LATCHED_OUTPUTS},
        }
        found += [Source(*topics[what], camera.name, what) for what in RECORDABLE if what in outputs]
    counts = Counter(source.topic for source in found)
    first = {source.topic: source for source in reversed(found)}
    return [replace(source, shared=counts[source.topic] > 1) for source in found if first[source.topic] is source]


def _image(camera: Camera) -> tuple[str, type[Any]]:
    suffix = "" if camera.transport == "raw" else f"/{camera.transport}"
    return f"{camera.topic}{suffix}", TRANSPORTS[camera.transport]
