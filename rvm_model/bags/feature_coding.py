"""Feature messages made smaller as they are recorded, with a message beside them that says how."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rosbags.typesys import Stores, get_typestore

from rvm_model.bags.qos import offered
from rvm_model.bags.writer import Message, Topic
from rvm_model.messages.feature_maps import Basis, Coded, msg_to_features
from rvm_model.messages.recoding import Recoder

IMAGE, STRING = "sensor_msgs/msg/Image", "std_msgs/msg/String"
ERRORS = {
    "float16": "of a value at most 2^-11 of it, below 2^-14 at most 2^-25",
    "int8": "of a value at most 1/253 of the largest absolute value of its token",
}
"""What the codings lose, in words for whoever reads the bag; what a basis loses is measured."""
LONGEST_S = 0.5
"""Longest that feature maps wait for a basis, by their times, before it is made of those that there are: whatever ends
the process, no more is lost."""
_log = logging.getLogger(__name__)
_STORE = get_typestore(Stores.ROS2_HUMBLE)
LATCHED = offered(latched=True)
"""What a topic offers whose last message holds until the next."""


@functools.cache
def definition(msgtype: str) -> str:
    """A type's definition with those that it is made of, as a bag holds it.

    Raises:
        KeyError: it is none of ROS 2's common ones.
    """
    return str(_STORE.generate_msgdef(msgtype, ros_version=2)[0])


class FeatureCoding:
    """Codes the messages of feature topics, each topic by itself; others pass."""

    def __init__(
        self, topics: set[str], coding: str, components: int, on_problem: Callable[[str], object] = _log.error
    ) -> None:
        """Prepare for a recording.

        Args:
            topics: names of the topics with features.
            coding: one of `recoding.CODINGS`.
            components: of a basis.
            on_problem: told why a message that waited for a basis cannot be coded; it is left out.
        """
        self._topics, self._coding, self._components, self._on_problem = topics, coding, components, on_problem
        self.begin()

    def begin(self) -> None:
        """Each recording stands for itself, with bases of its own."""
        self._recoders: dict[str, Recoder] = {}
        self._waiting: dict[str, list[Message]] = {}
        self._told: set[str] = set()

    def prepare(self, message: Message) -> list[Message]:
        """Code a message of a feature topic; with a basis, the first ones wait for a moment until there is one.

        Raises:
            ValueError: this message cannot be coded, which is nothing to the others.
        """
        name = message.topic.name
        if name not in self._topics or self._coding == "float32":
            return [message]
        image: Any = _STORE.deserialize_cdr(message.data, IMAGE)
        recoder = self._recoders.setdefault(name, Recoder(self._coding, self._components))
        if not recoder.is_ready:
            recoder.see(msg_to_features(image))
            self._waiting.setdefault(name, []).append(message)
            waited_s = (message.time_ns - self._waiting[name][0].time_ns) / 1e9
            return self._waited(name) if recoder.is_ready or not 0 <= waited_s < LONGEST_S else []
        return self._coded(recoder, message, image)

    def end(self) -> list[Message]:
        """What waited for a basis, which is made of what there is."""
        return [coded for name in list(self._waiting) for coded in self._waited(name)]

    def _waited(self, name: str) -> list[Message]:
        recoder, made = self._recoders[name], []
        for message in self._waiting.pop(name):
            try:
                made += self._coded(recoder, message, _STORE.deserialize_cdr(message.data, IMAGE))
            except ValueError as error:
                self._on_problem(f"{name}: a message was not recorded: {error}")
        return made

    def _coded(self, recoder: Recoder, message: Message, image: Any) -> list[Message]:
        coded, basis = recoder.code(msg_to_features(image))
        made = []
        if basis is not None:
            made.append(_beside(message, "basis", IMAGE, _image(image, basis.coded())))
        if basis is not None or message.topic.name not in self._told:
            self._told.add(message.topic.name)
            content = {"coding": self._coding, "encoding": coded.encoding, "error": _error(self._coding, basis)}
            made.append(_beside(message, "coding", STRING, _STORE.types[STRING](data=json.dumps(content))))
        return [*made, replace(message, data=_serialized(_image(image, coded), IMAGE))]


def _image(like: Any, coded: Coded) -> Any:
    """A message of rosbags with the header of another."""
    return replace(
        like,
        height=coded.height,
        width=coded.width,
        encoding=coded.encoding,
        is_bigendian=0,
        step=coded.step,
        data=coded.data,
    )


def _beside(message: Message, name: str, msgtype: str, content: Any) -> Message:
    """A latched message on a topic below that of another."""
    topic = Topic(f"{message.topic.name}/{name}", msgtype, definition(msgtype), (LATCHED,))
    return Message(topic, message.time_ns, _serialized(content, msgtype))


def _serialized(content: Any, msgtype: str) -> bytes:
    return bytes(_STORE.serialize_cdr(content, msgtype))


def _error(coding: str, basis: Basis | None) -> str:
    if basis is None:
        return ERRORS[coding]
    return f"{basis.unexplained:.4g} of the variance of the features that the basis was made of"
