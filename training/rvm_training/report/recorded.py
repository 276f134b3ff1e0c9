"""What a perception node recorded, joined by stamps: images, features, segmentation, status."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from rvm_model.bags import Bag, open_bag
from rvm_model.bags.images import camera_topics, to_array
from rvm_model.bags.reader import IMAGES
from rvm_model.messages.encodings import RgbArray
from rvm_model.messages.feature_maps import Basis, msg_to_features
from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.stamps import stamp_ns
from rvm_training.offline.folders import NAME as FEATURES
from rvm_training.report.track import HEIGHT, Labels, Segmentation, Shown, Track, shrunk

WAITING = 64
"""Frames of a camera whose parts may be apart in the bag."""
DELAY = "latency: from the image's stamp to the recording of its features"


def node_of(bag: Bag) -> str:
    """Name of the perception node whose features a bag has; empty where it has none."""
    found = [
        topic
        for topic, kind in bag.types.items()
        if topic.endswith("/features") and topic.count("/") >= 3 and kind == IMAGES[0] and bag.counts[topic]
    ]
    return found[0].rsplit("/", 2)[0] if found else ""


@dataclass
class _Frame:
    image: RgbArray | None = None
    segmentation: Any = None
    features: Any = None
    delay_ms: float | None = None


@dataclass
class _Camera:
    track: Track
    frames: dict[int, _Frame] = field(default_factory=dict)
    basis: Basis | None = None
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    resets: dict[int, str] = field(default_factory=dict)
    is_unstamped: bool = False


@dataclass(frozen=True)
class Collected:
    """What bags have of a perception node."""

    tracks: list[Track]
    """Its cameras."""
    status: dict[str, Any]
    """What it says of its engine; empty where that was not recorded."""
    later: bool
    """Whether the features are of `rvm features`, and not of a node that ran."""
    notes: list[str]
    """What could not be joined."""


def collect(paths: Sequence[Path], most: int, chosen: Mapping[str, str] | None = None) -> Collected:
    """Join what bags have of the cameras of a perception node.

    Args:
        paths: bags, one of them with features; the images may be in another.
        most: frames of each camera that are shown at most.
        chosen: names of the node's cameras to the topics of their images, where the names do not tell.

    Returns:
        What was found. Of several bags with features, those of `rvm features` count, else the first.

    Raises:
        ValueError: a bag cannot be read, or there are no features.
    """
    with ExitStack() as stack:
        bags = [stack.enter_context(open_bag(path)) for path in paths]
        joined = _Joined(bags, most, chosen or {})
        joined.run()
        return Collected(
            [camera.track for camera in joined.cameras.values()], joined.status, joined.later, joined.notes
        )


class _Joined:
    def __init__(self, bags: Sequence[Bag], most: int, chosen: Mapping[str, str]) -> None:
        self._bags = bags
        self.status: dict[str, Any] = {}
        self.notes: list[str] = []
        made = [bag for bag in bags if node_of(bag) and (bag.path / FEATURES).is_file()]
        # Of features that were made later, the times of recording are those of the images.
        self.later = bool(made)
        self._own = (made or [bag for bag in bags if node_of(bag)])[0]
        node, counts = node_of(self._own), self._own.counts
        names = [
            topic.removeprefix(f"{node}/").removesuffix("/features")
            for topic in counts
            if topic.startswith(f"{node}/") and topic.endswith("/features")
        ]
        delay = "" if self.later else DELAY
        self.cameras = {
            name: _Camera(Track(name, counts[f"{node}/{name}/features"], most, delay)) for name in sorted(names)
        }
        # What each topic is: of which camera, and which part.
        self._parts = {
            f"{node}/{name}/{part}": (name, part)
            for name in self.cameras
            for part in ("features", "features/basis", "segmentation", "labels", "status")
        }
        images: dict[str, tuple[Bag, str]] = {}
        for bag in bags:
            images = {camera: (bag, topic) for camera, topic in self._images(bag, chosen).items()} | images
        self._shown = {topic: bag for bag, topic in images.values()}
        self._parts |= {topic: (camera, "image") for camera, (_, topic) in images.items()}
        if missing := self.cameras.keys() - images.keys():
            self.notes.append(f"No images of {', '.join(sorted(missing))}: --camera NAME=TOPIC tells where they are.")

    def _images(self, bag: Bag, chosen: Mapping[str, str]) -> dict[str, str]:
        """Cameras' own topics in a bag, where they were given, or their names tell that they are these cameras."""
        if chosen:
            return {
                camera: topic for camera, topic in chosen.items() if bag.counts.get(topic) and camera in self.cameras
            }
        try:
            found = camera_topics(bag)
        except ValueError:
            return {}  # A bag of features alone.
        if len(found) == len(self.cameras) == 1:
            return {next(iter(self.cameras)): next(iter(found.values()))}
        return {camera: topic for camera, topic in found.items() if camera in self.cameras}

    def run(self) -> None:
        """Read the bags together, in the order of recording."""
        for topic, time_ns, message in merge(*map(self._messages, self._bags), key=itemgetter(1)):
            name, part = self._parts[topic]
            self._take(self.cameras[name], part, message, time_ns)
        for camera in self.cameras.values():
            self._finish(camera)

    def _messages(self, bag: Bag) -> Iterator[tuple[str, int, Any]]:
        wanted = [topic for topic in self._parts if self._shown.get(topic, self._own) is bag and topic in bag.types]
        for topic, time_ns, data in bag.messages(wanted):
            yield topic, time_ns, bag.deserialize(topic, data)

    def _take(self, camera: _Camera, part: str, message: Any, time_ns: int) -> None:
        if part == "features/basis":
            camera.basis = Basis.of_message(message)
        elif part == "labels":
            camera.colours = {each["id"]: _rgb(each["color"]) for each in json.loads(message.data)["labels"]}
        elif part == "status":
            self.status = json.loads(message.data)
            reset = self.status["last_reset"]
            if reset["reason"]:
                camera.resets[reset["stamp_ns"]] = reset["reason"]
        else:
            # Recording times are the images' own, where features were made of them later.
            stamp = stamp_ns(message) or (time_ns if self.later else 0)
            if not stamp:
                if not camera.is_unstamped:
                    camera.is_unstamped = True
                    self.notes.append(
                        f"Camera {camera.track.camera} does not stamp its images, so that nothing tells what belongs "
                        "together: make its features anew with --anew."
                    )
                return
            if part == "features" and stamp in camera.frames and camera.frames[stamp].features is not None:
                self._finish(camera)  # A bag that loops comes to the same stamps again.
            frame = camera.frames.setdefault(stamp, _Frame())
            if part == "image":
                frame.image = self._decoded(camera, stamp, message)
            elif part == "segmentation":
                frame.segmentation = _labels(message)
            else:
                frame.features = msg_to_features(message, camera.basis).copy()
                frame.delay_ms = (time_ns - stamp) / 1e6 if camera.track.delay else None
            if len(camera.frames) > WAITING:
                self._show(camera)

    def _finish(self, camera: _Camera) -> None:
        while camera.frames:
            self._show(camera)

    @staticmethod
    def _decoded(camera: _Camera, stamp: int, message: Any) -> RgbArray | None:
        try:
            return shrunk(to_array(message))
        except ImageError as error:
            camera.track.note(stamp, "refused", f"image that cannot be used: {error}")
            return None

    def _show(self, camera: _Camera) -> None:
        """The oldest frame has all that it will have."""
        stamp = next(iter(camera.frames))
        frame = camera.frames.pop(stamp)
        if frame.features is None:
            return  # The node left this image out.
        segmentation = None
        if frame.segmentation is not None and camera.colours:
            segmentation = Segmentation(frame.segmentation, camera.colours)
        camera.track.add(
            Shown(stamp, frame.features, frame.image, frame.delay_ms, camera.resets.get(stamp, ""), segmentation)
        )


def _rgb(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def _labels(message: Any) -> Labels:
    """A segmentation as large as it is shown."""
    kind: type[Any] = np.uint16 if message.encoding == "16UC1" else np.uint8
    labels: Labels = np.frombuffer(message.data, kind).reshape(message.height, -1)[:, : message.width]
    every = max(1, message.height // HEIGHT)
    return labels[::every, ::every].copy()
