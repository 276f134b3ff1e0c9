"""What is made of one camera's features: the arrays that are published, with the statistics that they follow.

Shape legend: H W the camera's image, h w patch rows and columns, D feature width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rvm_model.engines import EngineInfo
from rvm_model.heads.clusters import ClusterConfig, labels_at
from rvm_model.heads.palette import overlay
from rvm_model.heads.pca import PCAConfig, PCAState, StreamingPCA
from rvm_model.heads.pictures import enlarge
from rvm_model.heads.propagation import PropagationConfig
from rvm_model.heads.readout import Readout
from rvm_model.messages.judge import OTHER_CAMERA
from rvm_model.preprocess import as_tensor, resize
from rvm_model.prompt import Prompt, Seen
from rvm_model.segmentation import SOURCES, LabelTable, Objects, Segments, Source, sources, values_of
from rvm_model.snapshot import Remembered, SnapshotError, put_together, take_apart


@dataclass(frozen=True)
class Wanted:
    """Which outputs of a camera somebody listens to; the others are not computed."""

    features: bool = False
    cls_token: bool = False
    pca: bool = False
    segmentation: bool = False
    overlay: bool = False
    confidence: bool = False

    @property
    def tensors(self) -> bool:
        """Whether something of the features themselves is wanted."""
        return self.features or self.cls_token

    @property
    def pictures(self) -> bool:
        """Whether something that is drawn at the image's size is wanted."""
        return self.pca or self.segments

    @property
    def segments(self) -> bool:
        """Whether something of the segmentation is wanted."""
        return self.segmentation or self.overlay or self.confidence


@dataclass(frozen=True)
class Outputs:
    """Outputs of one frame as arrays on the host; None where it was not wanted."""

    features: npt.NDArray[np.float32] | None = None
    """[h, w, D]."""
    cls_token: npt.NDArray[np.float32] | None = None
    """[1, 1, D]."""
    pca: npt.NDArray[np.uint8] | None = None
    """RGB [H, W, 3]; smaller where `picture_height` says so."""
    segmentation: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | None = None
    """Labels [H, W] at the input's size; uint16 above 254 clusters."""
    overlay: npt.NDArray[np.uint8] | None = None
    """The input with the labels' colours over it, RGB of the size of `pca`."""
    confidence: npt.NDArray[np.uint8] | None = None
    """How sure the label of each pixel is, 0..255 for 0..1 [H, W]; None also where the source does not know."""
    labels: LabelTable | None = None
    """What the values of this segmentation mean; None where there is none."""


@dataclass(frozen=True)
class HeadsConfig:
    """How the heads read the features."""

    pca: PCAConfig = field(default_factory=PCAConfig)
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    objects: PropagationConfig = field(default_factory=PropagationConfig)
    segmentation: str = SOURCES[0]
    """Where the labels come from, one of SOURCES."""
    prompt_history: int = 10
    """Frames that are kept with the source `propagation`, so that a prompt finds the one that it was made on."""
    overlay_alpha: float = 0.5
    """Share of the label's colour in the overlay, 0..1."""
    picture_height: int = 0
    """Most rows of the PCA picture and the overlay, which are for people; 0 gives them the input's size."""

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.segmentation not in SOURCES:
            raise ValueError(f"segmentation: got {self.segmentation!r}, expected one of {', '.join(SOURCES)}")
        if not 0.0 <= self.overlay_alpha <= 1.0:
            raise ValueError(f"overlay_alpha: got {self.overlay_alpha}, expected 0..1")
        for name, least in (("picture_height", 0), ("prompt_history", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least {least}")


def tensors(info: EngineInfo, features: Tensor, wanted: Wanted) -> Outputs:
    """The features themselves, where wanted; nothing of a camera is followed for them.

    Args:
        info: the engine that they are from.
        features: [1 + N, D] on any device.
        wanted: what to fetch.
    """
    return Outputs(
        features=_host(features[1:].unflatten(0, info.grid)) if wanted.features else None,
        cls_token=_host(features[:1, None]) if wanted.cls_token else None,
    )


class CameraHeads:
    """The heads of one camera. For one thread at a time, but for `configure`."""

    def __init__(self, info: EngineInfo, config: HeadsConfig, head: Readout | None = None) -> None:
        """Start without a past.

        Args:
            info: the engine that the features come from.
            config: how they are read.
            head: what the source `readout` is.

        Raises:
            ValueError: the readout is missing where it is the source, or it reads other features.
        """
        if head is not None:
            head.check_engine(info)
        self.info = info
        self._pca = StreamingPCA(config.pca)
        self._pca_state: PCAState | None = None
        self._anew: deque[str] = deque()
        self._sources = sources(config.clusters, config.objects, config.prompt_history, head)
        self.config = config
        self.configure(config)

    def configure(self, config: HeadsConfig) -> None:
        """Go on with other settings: of the source, alpha and size of the pictures. Any thread.

        Raises:
            ValueError: there is no such source.
        """
        if config.segmentation not in self._sources:
            raise ValueError(
                f"segmentation: got {config.segmentation!r}, expected one of {', '.join(self._sources)}; a readout "
                "needs its file in the parameter readout"
            )
        self.config = config

    @property
    def labels(self) -> LabelTable:
        """What the segmentation's values mean now."""
        return self._source.labels

    @property
    def needs_every_frame(self) -> bool:
        """Whether frames are kept for prompts, also when nothing is drawn."""
        return self.config.segmentation == "propagation"

    @torch.inference_mode()
    def draw(self, frame: npt.NDArray[np.uint8], features: Tensor, wanted: Wanted, stamp_ns: int = 0) -> Outputs:
        """Draw the pictures that are wanted of one frame.

        Args:
            frame: the camera's image, uint8 RGB [H, W, 3].
            features: [1 + N, D] from the engine; must stay as they are.
            wanted: what to compute.
            stamp_ns: acquisition time, by which prompts find the frame.
        """
        self._catch_up()
        config, source = self.config, self._source
        height, width = frame.shape[:2]
        shown = _shown(height, width, config.picture_height)
        tokens = features[1:].unflatten(0, self.info.grid)
        if isinstance(source, Objects):
            source.see(Seen(stamp_ns, tokens, (height, width), (self.info.height, self.info.width)))
        pca = labels = colours = confidence = table = None
        if wanted.pca:
            rgb, self._pca_state = self._pca(tokens, self._pca_state)
            pca = _host(enlarge(rgb.cpu(), *shown))
        # Objects that someone marked are followed whether somebody looks or not, or they would be lost.
        if wanted.segments or (isinstance(source, Objects) and source.following):
            segments, table = source(tokens), source.labels
            if wanted.segmentation:
                labels = _label_image(segments, table, height, width)
            if wanted.overlay:
                colours = _overlaid(frame, segments, table, shown, config.overlay_alpha)
            if wanted.confidence:
                confidence = _confidence_image(segments, height, width)
        return Outputs(pca=pca, segmentation=labels, overlay=colours, confidence=confidence, labels=table)

    def mark(self, prompt: Prompt) -> str:
        """Take a prompt in; returns what was done.

        Raises:
            ValueError: it marks nothing that can be followed, or nothing is followed that was marked.
        """
        self._catch_up()
        source = self._source
        if not isinstance(source, Objects):
            raise ValueError(
                f"prompt: got one while the segmentation comes from {self.config.segmentation}; set the parameter "
                "segmentation to propagation first"
            )
        with torch.inference_mode():
            return source.mark(prompt)

    def start_anew(self, reason: str) -> None:
        """The camera's state starts anew before its next frame. Any thread.

        What is followed stays, for it is the same scene, but for the frames that are kept for prompts; after
        `frame_id changed` it is another camera, and nothing stays.
        """
        self._anew.append(reason)

    def _catch_up(self) -> None:
        while self._anew:
            if self._anew.popleft() == OTHER_CAMERA:
                self.forget()
            for source in self._sources.values():
                if isinstance(source, Objects):
                    source.forget_frames()

    def remember(self) -> dict[str, Remembered]:
        """What is followed, by head, for a snapshot."""
        followed = {name: source.remember() for name, source in self._sources.items()}
        followed["pca"] = None if self._pca_state is None else take_apart(self._pca_state)
        return {head: parts for head, parts in followed.items() if parts is not None}

    def recall(self, heads: Mapping[str, Remembered]) -> None:
        """Go on from what `remember` gave; what is followed now is dropped.

        Raises:
            SnapshotError: it is not what these heads follow; nothing is changed then.
        """
        if unknown := heads.keys() - {"pca", *self._sources}:
            raise SnapshotError(f"snapshot: got heads {sorted(unknown)}, expected pca and {', '.join(self._sources)}")
        self._catch_up()
        before = self.remember()
        try:
            self._recall(heads)
        except SnapshotError:
            self._recall(before)
            raise

    def _recall(self, heads: Mapping[str, Remembered]) -> None:
        self.forget()
        for head, parts in heads.items():
            if head == "pca":
                state = put_together(PCAState, parts, self.info.device)
                if state.directions.shape[0] != self.info.dim:
                    raise SnapshotError(
                        f"snapshot: got features of width {state.directions.shape[0]}, expected {self.info.dim}"
                    )
                self._pca_state = state
            else:
                self._sources[head].recall(parts, self.info)

    def forget(self) -> None:
        """Drop what was followed so far."""
        self._pca_state = None
        for source in self._sources.values():
            source.forget()

    @property
    def _source(self) -> Source:
        return self._sources[self.config.segmentation]


def _shown(height: int, width: int, most: int) -> tuple[int, int]:
    """Size of a picture for people."""
    if not most or height <= most:
        return height, width
    return most, max(1, round(width * most / height))


def _label_image(
    segments: Segments | None, table: LabelTable, height: int, width: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if segments is None:
        values = torch.full((height, width), table.unlabelled, dtype=torch.int32)
    else:
        values = values_of(table, labels_at(segments.scores, height, width))
    array = values.cpu().numpy()
    return array.astype(np.uint8, copy=False) if table.unlabelled == 255 else array.astype(np.uint16)


def _overlaid(
    frame: npt.NDArray[np.uint8], segments: Segments | None, table: LabelTable, size: tuple[int, int], alpha: float
) -> npt.NDArray[np.uint8]:
    """The labels' colours over the image; background and what has no label stay as they are."""
    image = resize(as_tensor(frame), *size)
    if segments is None:
        return _host(image)
    columns = labels_at(segments.scores, *size)
    image = image.to(columns.device)
    colours = torch.tensor([label.colour for label in table.labels], dtype=torch.uint8).to(columns.device)
    blended = overlay(image, columns, alpha, colours)
    if table.source == "propagation":
        blended = torch.where((columns == 0)[..., None], image, blended)
    return _host(blended)


def _confidence_image(segments: Segments | None, height: int, width: int) -> npt.NDArray[np.uint8] | None:
    if segments is None:
        return np.zeros((height, width), np.uint8)
    if segments.confidence is None:
        return None
    levels = (segments.confidence * 255).round().clamp(0, 255).to(torch.uint8).cpu()
    return np.ascontiguousarray(enlarge(levels[..., None], height, width)[..., 0].numpy())


def _host(tensor: Tensor) -> npt.NDArray[Any]:
    return np.ascontiguousarray(tensor.cpu().numpy())
