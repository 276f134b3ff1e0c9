"""The pictures of a bag: which of its topics are cameras, and their messages as arrays."""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rvm_model.bags.errors import BagError
from rvm_model.bags.reader import IMAGES, Bag, open_bag
from rvm_model.messages.encodings import ENCODINGS
from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.images import RgbArray, check_compressed, check_image, compressed_to_array, image_to_array

OUTPUTS = frozenset({"features", "cls_token", "pca", "segmentation", "overlay", "confidence"})
"""Topics that a perception node sends of a camera, beside each other: pictures, but no camera's."""
_TRANSPORT = "/compressed"
_IMAGE_NAMES = re.compile(r"/image(_raw|_rect|_rect_color|_color|_mono)?$")
"""Last part of a camera's topic, as image_pipeline and drivers name it; what is before it is the camera."""
_log = logging.getLogger(__name__)


def image_topics(bag: Bag, chosen: Collection[str] = ()) -> dict[str, int]:
    """Topics with colour or grey images, and how many messages each has.

    Topics without messages are left out; so are those of depth and other images, which is logged, and what a perception
    node sent.

    Args:
        bag: the bag.
        chosen: topics that count alone; none takes all.

    Raises:
        BagError: the bag is damaged, or has no such images.
    """
    kinds = bag.types
    topics = {}
    for topic, kind in kinds.items():
        if kind not in IMAGES or (chosen and topic not in chosen) or (not chosen and _is_output(topic, kinds)):
            continue
        held = _held(bag, topic)
        if held:
            _log.warning("%s: %s is left out, it holds %s", bag.path, topic, held)
        elif bag.counts[topic]:
            topics[topic] = bag.counts[topic]
    if not topics:
        raise BagError(
            f"{bag.path}: got messages of {sorted(set(kinds.values()))}, expected colour or grey images in "
            f"{', '.join(IMAGES)}"
        )
    return topics


def camera_topics(bag: Bag, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Cameras of a bag and the topic of each.

    A camera that is there raw and compressed counts once, with the topic that has more messages; its name is its
    topic's without `/image_raw` and the like, with underscores for slashes.

    Args:
        bag: the bag.
        chosen: names to topics, which count alone.

    Raises:
        BagError: the bag has no images, or lacks a topic that was chosen.
    """
    if chosen:
        there = [topic for topic, kind in bag.types.items() if kind in IMAGES]
        if missing := [topic for topic in chosen.values() if topic not in there]:
            raise BagError(f"{bag.path}: got no images on {', '.join(missing)}, expected some of {', '.join(there)}")
        image_topics(bag, chosen.values())
        return dict(chosen)
    topics = image_topics(bag)
    by_base: dict[str, str] = {}
    for topic, count in topics.items():
        base = topic.removesuffix(_TRANSPORT)
        before = by_base.get(base)
        if before is None or (count, topic == base) > (topics[before], before == base):
            by_base[base] = topic
    for topic in topics.keys() - by_base.values():
        _log.warning("%s: %s is left out, the same camera has another topic", bag.path, topic)
    short = {base: _name(_IMAGE_NAMES.sub("", base)) for base in by_base}
    counts = Counter(short.values())
    cameras: dict[str, str] = {}
    for base, topic in by_base.items():
        name = short[base] if counts[short[base]] == 1 else _name(base)
        # Two topics may differ in nothing but slashes and underscores.
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        cameras[next(each for each in names if each not in cameras)] = topic
    return cameras


def _name(base: str) -> str:
    return base.strip("/").replace("/", "_") or "camera"


def _held(bag: Bag, topic: str) -> str:
    """What a topic's first message holds, where that is no picture in colours or grey; empty where it is."""
    first = next(bag.messages([topic]), None)
    if first is None:
        return "no message"
    try:
        message = bag.deserialize(topic, first[2])
    except BagError:
        return ""  # One message tells nothing of the others.
    if not hasattr(message, "encoding"):
        return str(message.format) if "compressedDepth" in message.format else ""
    return "" if message.encoding in ENCODINGS else (message.encoding or "an encoding without a name")


def check(message: Any) -> None:
    """Check what an image of either type says of itself; nothing is decoded.

    Raises:
        ImageError: it contradicts itself, or is no colour or grey image.
    """
    if hasattr(message, "encoding"):
        check_image(message)
    else:
        check_compressed(message)


def to_array(message: Any) -> RgbArray:
    """Decode an image of either type; see `rvm_model.messages.images`.

    Raises:
        ImageError: it cannot be used; says why.
    """
    return image_to_array(message) if hasattr(message, "encoding") else compressed_to_array(message)


def read_images(path: Path, topic: str, indices: Sequence[int]) -> Iterator[RgbArray]:
    """Decode some messages of an image topic, by their place in the order of recording, in one pass over the topic.

    Args:
        path: the bag.
        topic: one of `image_topics`.
        indices: distinct, ascending.

    Yields:
        uint8 RGB [H, W, 3] each.

    Raises:
        BagError: the bag or an image cannot be read, or the topic has fewer messages.
    """
    missing = set(indices)
    with open_bag(path) as bag:
        for index, (_, _, data) in enumerate(bag.messages([topic])):
            if index not in missing:
                continue
            try:
                image = np.array(to_array(bag.deserialize(topic, data)))
            except ImageError as error:
                raise BagError(f"{path}: image {index} of {topic} cannot be decoded ({error})") from error
            yield image
            missing.remove(index)
            if not missing:
                return
    if missing:
        found = len(indices) - len(missing)
        raise BagError(f"{path}: got {found} of {len(indices)} images of {topic}; the bag ends before")


def _is_output(topic: str, topics: Mapping[str, str]) -> bool:
    """Whether a perception node sent it: its last part is an output's name, and what the node says is beside it."""
    base, _, name = topic.removesuffix("/basis").rpartition("/")
    return name in OUTPUTS and any(f"{base}/{other}" in topics for other in ("features", "labels", "status"))
