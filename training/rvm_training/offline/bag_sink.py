"""Results as a bag that plays beside the original: the live node's topics, with the stamps of the images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Qos
from rosbags.typesys import Stores, get_typestore

from rvm_model.bags import BagError, BagWriter, Message, Topic
from rvm_model.bags.feature_coding import IMAGE, LATCHED, STRING, FeatureCoding, definition
from rvm_model.bags.qos import offered
from rvm_model.camera_heads import CameraHeads, Outputs, Wanted, tensors
from rvm_model.engines import EngineInfo
from rvm_model.messages.stamps import NANOSECONDS
from rvm_training.offline.folders import ResultFolder
from rvm_training.offline.pipeline import Result
from rvm_training.offline.streams import Outcome

_STORE = get_typestore(Stores.ROS2_HUMBLE)
_OUTPUT = offered()
"""As the node offers its outputs."""


class BagSink:
    """A bag for one recording."""

    def __init__(
        self,
        folder: ResultFolder,
        info: EngineInfo,
        outputs: Collection[str],
        *,
        node: str,
        coding: str,
        components: int,
        heads: Callable[[], CameraHeads],
        describe: Callable[[Outcome], dict[str, Any]],
    ) -> None:
        """Begin the bag.

        Args:
            folder: where.
            info: the engine.
            outputs: names of the fields of `Wanted` to write.
            node: full name of the node that would send them.
            coding: of the features, one of `recoding.CODINGS`.
            components: see `Recoder`.
            heads: makes the heads of a camera.
            describe: what is said of the whole at the end.

        Raises:
            BagError: the bag cannot be made.
            OSError: likewise.
        """
        self._folder, self._info, self._node = folder, info, node
        self._wanted = Wanted(**dict.fromkeys(outputs, True))
        self._coding, self._components = coding, components
        self._new_heads, self._describe = heads, describe
        self._heads: dict[str, CameraHeads] = {}
        self._said: dict[str, str] = {}
        self._resets: dict[str, Counter[str]] = {}
        self._codings: dict[str, FeatureCoding] = {}
        self._writer = BagWriter(folder.begin(), compressed=True)

    def write(self, result: Result) -> None:
        """Write what the live node would send of a frame."""
        camera = result.arrival.camera
        self._say(result, "status", self._status(result))
        outputs = tensors(self._info, result.features, self._wanted)
        self._send(result, outputs)
        if self._wanted.pictures:
            if camera not in self._heads:
                self._heads[camera] = self._new_heads()
            heads = self._heads[camera]
            if result.reset:
                heads.start_anew(result.reset)
            drawn = heads.draw(result.image, result.features, self._wanted, result.arrival.stamp_ns)
            if drawn.labels is not None:
                self._say(result, "labels", drawn.labels.described())
            self._send(result, drawn)

    def finish(self, outcome: Outcome) -> None:
        """End the bag, and give it its name."""
        for coding in self._codings.values():
            self._put(coding.end())
        self._writer.close()
        self._folder.finish(self._describe(outcome))

    def discard(self) -> None:
        """Leave nothing."""
        self._folder.discard()

    def _status(self, result: Result) -> dict[str, object]:
        """What the live node's status says; at each reset anew."""
        camera = result.arrival.camera
        resets = self._resets.setdefault(camera, Counter())
        if result.reset:
            resets[result.reset] += 1
        last = {"reason": result.reset, "stamp_ns": result.arrival.stamp_ns if result.reset else 0}
        return {
            "camera": camera,
            "state_age": 0,
            "last_reset": last,
            "resets": dict(resets),
            "last_prompt": "",
            "engine": self._info.digest,
            "weights": self._info.weights,
            "trained": self._info.trained,
        }

    def _say(self, result: Result, what: str, content: Mapping[str, object]) -> None:
        """Latch a text, if it is another than before."""
        name, text = f"{self._node}/{result.arrival.camera}/{what}", json.dumps(content)
        first = name not in self._said
        if not first and (self._said[name] == text or (what == "status" and not result.reset)):
            return
        self._said[name] = text
        message = _STORE.types[STRING](data=text)
        self._put([self._message(name, STRING, result.arrival.time_ns, message, LATCHED)])

    def _send(self, result: Result, outputs: Outputs) -> None:
        for name, pixels, encoding in _images(outputs):
            topic = f"{self._node}/{result.arrival.camera}/{name}"
            message = self._message(topic, IMAGE, result.arrival.time_ns, _image(result, pixels, encoding), _OUTPUT)
            if name != "features":
                self._put([message])
                continue
            if topic not in self._codings:
                self._codings[topic] = FeatureCoding({topic}, self._coding, self._components, self._refuse)
            coding = self._codings[topic]
            try:
                self._put(coding.prepare(message))
            except BagError:
                raise
            except ValueError as error:
                raise BagError(f"{self._folder.path}: {error}") from error

    def _refuse(self, problem: str) -> None:
        raise BagError(f"{self._folder.path}: {problem}")

    def _put(self, messages: list[Message]) -> None:
        for message in messages:
            self._writer.add(message.topic)
            self._writer.write(message.topic.name, message.time_ns, message.data)

    @staticmethod
    def _message(name: str, kind: str, time_ns: int, content: object, qos: Qos) -> Message:
        topic = Topic(name, kind, definition(kind), (qos,))
        return Message(topic, time_ns, bytes(_STORE.serialize_cdr(content, kind)))


def _images(outputs: Outputs) -> Iterator[tuple[str, npt.NDArray[Any], str]]:
    for name in ("features", "cls_token", "pca", "segmentation", "overlay", "confidence"):
        pixels = getattr(outputs, name)
        if pixels is None:
            continue
        if pixels.dtype == np.float32:
            encoding = f"32FC{pixels.shape[2]}"
        elif pixels.ndim == 3:
            encoding = "rgb8"
        else:
            encoding = "mono8" if pixels.dtype == np.uint8 else "16UC1"
        yield name, pixels, encoding


def _image(result: Result, pixels: npt.NDArray[Any], encoding: str) -> object:
    seconds, nanoseconds = divmod(result.arrival.stamp_ns, NANOSECONDS)
    time = _STORE.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
    header = _STORE.types["std_msgs/msg/Header"](time, result.arrival.frame_id)
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    data = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
    height, width = pixels.shape[:2]
    return _STORE.types[IMAGE](header, height, width, encoding, 0, data.nbytes // height, data)
