"""Where a camera's segmentation comes from: clusters, objects that someone marked, or a trained readout.

Shape legend: H W the camera's image, h w patch rows and columns, D feature width, K columns of the scores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rvm_model.engines import EngineInfo
from rvm_model.heads import propagation, readout
from rvm_model.heads.clusters import ClusterConfig, ClusterState, OnlineKMeans
from rvm_model.heads.palette import palette
from rvm_model.heads.propagation import LabelPropagation, PropagationConfig, PropagationState
from rvm_model.heads.readout import Readout
from rvm_model.prompt import Prompt, Seen
from rvm_model.snapshot import Remembered, SnapshotError, put_together, take_apart

SOURCES = ("clusters", "propagation", "readout")
"""Names of the sources."""


@dataclass(frozen=True)
class Label:
    """One value of the segmentation."""

    id: int
    """The value."""
    name: str
    """For people."""
    colour: tuple[int, int, int]
    """Red, green and blue in the overlay, 0..255."""


@dataclass(frozen=True)
class LabelTable:
    """What the values of the segmentation mean."""

    source: str
    """Which of SOURCES gives them."""
    labels: tuple[Label, ...]
    """Every value that there may be, but the one below; column by column of the scores."""
    unlabelled: int
    """The value of pixels without a label: 255, or 65535 above 254 labels."""

    def described(self) -> dict[str, object]:
        """What the `labels` topic says, as JSON has it."""
        labels = [
            {"id": label.id, "name": label.name, "color": "#{:02x}{:02x}{:02x}".format(*label.colour)}
            for label in self.labels
        ]
        return {"source": self.source, "unlabelled": self.unlabelled, "labels": labels}


@dataclass(frozen=True)
class Segments:
    """What a source says of one frame."""

    scores: Tensor
    """[h, w, K]: resized to an image, the largest wins a pixel."""
    confidence: Tensor | None = None
    """How sure each token's label is, float32 [h, w] in 0..1; None where the source does not know."""


class Source(Protocol):
    """Segments the frames of one camera."""

    @property
    def labels(self) -> LabelTable:
        """What the values mean now."""
        ...

    def __call__(self, tokens: Tensor) -> Segments | None:
        """Segment the features [h, w, D] of the next frame; None where there is nothing to find."""
        ...

    def remember(self) -> Remembered | None:
        """What is followed, for a snapshot; None where nothing is."""
        ...

    def recall(self, parts: Remembered, info: EngineInfo) -> None:
        """Go on from what `remember` gave, on features of this engine.

        Raises:
            SnapshotError: it does not fit.
        """
        ...

    def forget(self) -> None:
        """Drop what is followed."""
        ...


class Clusters:
    """Online k-means."""

    def __init__(self, config: ClusterConfig) -> None:
        self._head = OnlineKMeans(config)
        self._state: ClusterState | None = None
        count = config.clusters
        colours = (tuple(colour) for colour in palette(count).tolist())
        labels = tuple(Label(index, f"cluster {index}", colour) for index, colour in enumerate(colours))
        self._labels = LabelTable("clusters", labels, unlabelled(count))

    @property
    def labels(self) -> LabelTable:
        """See `Source`."""
        return self._labels

    def __call__(self, tokens: Tensor) -> Segments:
        """See `Source`. Similarities are no probabilities: there is no confidence."""
        similarity, self._state = self._head(tokens, self._state)
        return Segments(similarity)

    def remember(self) -> Remembered | None:
        """See `Source`."""
        return None if self._state is None else take_apart(self._state)

    def recall(self, parts: Remembered, info: EngineInfo) -> None:
        """See `Source`."""
        state: ClusterState = put_together(ClusterState, parts, info.device)
        got, expected = tuple(state.centroids.shape), (len(self._labels.labels), info.dim)
        if got != expected:
            raise SnapshotError(f"snapshot: got {got} clusters and width, expected {expected}; set `clusters` alike")
        self._state = state

    def forget(self) -> None:
        """See `Source`."""
        self._state = None


class Objects:
    """Label propagation: objects that someone marks are followed."""

    def __init__(self, config: PropagationConfig, history: int) -> None:
        """Follow nothing yet.

        Args:
            config: how far is looked.
            history: last frames that are kept, so that a prompt finds the frame that it was made on.
        """
        self._head = LabelPropagation(config)
        self._state: PropagationState | None = None
        self._names: dict[int, str] = {}
        self._seen: deque[Seen] = deque(maxlen=history)

    @property
    def labels(self) -> LabelTable:
        """See `Source`."""
        ids = () if self._state is None else self._state.ids
        colours = palette(propagation.LARGEST_ID + 1).tolist()
        objects = (Label(each, self._names.get(each, f"object {each}"), tuple(colours[each])) for each in ids)
        return LabelTable("propagation", (Label(0, "background", (0, 0, 0)), *objects), 255)

    @property
    def following(self) -> bool:
        """Whether something is followed."""
        return self._state is not None

    def forget_frames(self) -> None:
        """Keep none of the frames for prompts: what comes next has nothing to do with them."""
        self._seen.clear()

    def see(self, seen: Seen) -> None:
        """Keep a frame for prompts."""
        self._seen.append(seen)

    def __call__(self, tokens: Tensor) -> Segments | None:
        """See `Source`."""
        if self._state is None:
            return None
        scores, self._state = self._head(tokens, self._state)
        return Segments(scores, propagation.confidence(scores))

    def mark(self, prompt: Prompt) -> str:
        """Take a prompt in, on the frame that it was made on, and follow what it marks to the newest one.

        Returns:
            What was done, in words.

        Raises:
            ValueError: it marks nothing that can be followed, or its frame is not kept any more.
        """
        if prompt.clear:
            self.forget()
            return "follows nothing any more"
        if prompt.remove is not None:
            if self._state is None:
                raise ValueError(f"remove: got object {prompt.remove}, but nothing is followed")
            self._state = self._head.remove(self._state, prompt.remove)
            self._names.pop(prompt.remove, None)
            return f"object {prompt.remove} is followed no more"
        index = prompt.frame(self._seen)
        seen = self._seen[index]
        masks = prompt.masks(seen)
        state = self._head.add(self._state, seen.tokens, masks)
        for later in list(self._seen)[index + 1 :]:
            _, state = self._head(later.tokens, state)
        self._state = state
        for each in masks:
            self._names.pop(each, None)
        self._names |= dict.fromkeys(masks, prompt.name) if prompt.name else {}
        back = len(self._seen) - 1 - index
        return f"follows {', '.join(f'object {each}' for each in masks)} from {back} frames back"

    def remember(self) -> Remembered | None:
        """See `Source`."""
        if self._state is None:
            return None
        parts = take_apart(self._state)
        return Remembered(parts.tensors, {**parts.values, "names": [[i, name] for i, name in self._names.items()]})

    def recall(self, parts: Remembered, info: EngineInfo) -> None:
        """See `Source`."""
        values = dict(parts.values)
        names = {int(each): str(name) for each, name in values.pop("names", [])}
        state: PropagationState = put_together(PropagationState, Remembered(parts.tensors, values), info.device)
        got, expected = tuple(state.queue_features.shape[1:]), (*info.grid, info.dim)
        if got != expected:
            raise SnapshotError(f"snapshot: got objects on features {got}, expected {expected}")
        self._state, self._names = state, names

    def forget(self) -> None:
        """See `Source`."""
        self._state = None
        self._names = {}


class Classes:
    """A trained readout."""

    def __init__(self, head: Readout) -> None:
        self._head = head
        labels = head.labels
        self._labels = LabelTable(
            "readout",
            tuple(Label(k, n, c) for k, (n, c) in enumerate(zip(labels.names, labels.colours, strict=True))),
            unlabelled(len(labels.names)),
        )

    @property
    def labels(self) -> LabelTable:
        """See `Source`."""
        return self._labels

    def __call__(self, tokens: Tensor) -> Segments:
        """See `Source`."""
        logits = self._head(tokens)
        return Segments(logits, readout.confidence(logits))

    def remember(self) -> None:
        """See `Source`: it follows nothing."""

    def recall(self, parts: Remembered, info: EngineInfo) -> None:
        """See `Source`."""
        put_together(_Nothing, parts, info.device)

    def forget(self) -> None:
        """See `Source`."""


@dataclass(frozen=True)
class _Nothing:
    """The state of a source that follows nothing."""


def unlabelled(labels: int) -> int:
    """The value of pixels without a label, where there are so many labels."""
    return 255 if labels <= 254 else 65535


def values_of(table: LabelTable, columns: Tensor) -> Tensor:
    """Values of pixels, from the columns of the scores that won them.

    Args:
        table: the source's.
        columns: integers [H, W].

    Returns:
        uint8 [H, W], or int32 above 254 labels.
    """
    wide = table.unlabelled > 255
    kind = torch.int32 if wide else torch.uint8
    ids = [label.id for label in table.labels]
    if ids == list(range(len(ids))):
        return columns.to(kind)
    values = torch.zeros_like(columns, dtype=kind)
    # One by one, because a table of the ids would have to go up to the device first.
    for column, value in enumerate(ids):
        values.masked_fill_(columns == column, value)
    return values


def sources(
    clusters: ClusterConfig, objects: PropagationConfig, history: int, head: Readout | None
) -> Mapping[str, Source]:
    """The sources of one camera, by name; `readout` is there where there is one."""
    found: dict[str, Source] = {"clusters": Clusters(clusters), "propagation": Objects(objects, history)}
    if head is not None:
        found["readout"] = Classes(head)
    return found
