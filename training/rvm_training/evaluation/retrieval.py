"""Clips found by a clip: retrieval among labelled clips, and the place of an action within a longer video.

Nothing is trained. A clip is the mean of its features over the patches, in each of a few parts of its time, so that the
order of things counts; the mean over all clips is taken away, and vectors are compared by their cosine.

Shape legend: T frames, h w patches, D width, S clips, V = parts D numbers of a clip, M windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.result import Result

RECALLS = (1, 5, 10)
"""Nearest clips among which one of the same class is looked for."""
Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RetrievalSettings:
    """What is compared."""

    size: tuple[int, int] = (224, 224)
    """Rows and columns of the frames."""
    frames: int = 16
    """Frames of a clip, spread over all of it."""
    parts: int = 4
    """Parts of a clip's time whose features are averaged each."""
    joined: int = 5
    """Clips of a video in which one is looked for."""
    seed: int = 0
    """Of the clips that are joined."""

    def __post_init__(self) -> None:
        """Refuse what has nothing to compare."""
        if not 1 <= self.parts <= self.frames or self.joined < 2:
            raise ValueError(
                f"retrieval: got {self.parts} parts of {self.frames} frames and {self.joined} joined clips, expected "
                "at most as many parts as frames, and two clips or more"
            )


def clip_vector(features: Tensor, parts: int) -> Tensor:
    """Means [parts D] of features [T, h, w, D] over the patches and each part of the time."""
    means_TD = features.float().mean((1, 2))
    return torch.cat([part.mean(0) for part in means_TD.tensor_split(parts)])


def retrieval_metrics(vectors: Tensor, labels: Sequence[int]) -> dict[str, float]:
    """Every clip as a query for the others.

    Args:
        vectors: [S, V].
        labels: class of each clip.

    Returns:
        `Recall@K`, the share of queries with one of their class among the K nearest; `mAP`, the mean over queries of
        the average precision over all of their class; `chance`, the mean share of clips of the query's class. Clips
        that are alone in their class are no queries; NaN where none is left.

    Raises:
        ValueError: not as many labels as vectors.
    """
    if len(vectors) != len(labels):
        raise ValueError(f"retrieval: got {len(vectors)} clips and {len(labels)} labels, expected as many of each")
    classes = torch.as_tensor(labels)
    unit_SV = functional.normalize(vectors - vectors.mean(0), dim=1)
    nearness_SS = (unit_SV @ unit_SV.T).fill_diagonal_(-torch.inf)
    order_SS = nearness_SS.argsort(dim=1, descending=True, stable=True)[:, :-1]  # The last is the query itself.
    right_SS = classes[order_SS] == classes[:, None]
    queries = right_SS.any(1)
    right_QS = right_SS[queries].double()
    if not len(right_QS):
        return dict.fromkeys([*(f"Recall@{k}" for k in RECALLS), "mAP", "chance"], float("nan"))
    precision_QS = right_QS.cumsum(1) / torch.arange(1, right_QS.shape[1] + 1)
    average_Q = (precision_QS * right_QS).sum(1) / right_QS.sum(1)
    return {
        **{f"Recall@{k}": float(right_QS[:, :k].amax(1).mean()) for k in RECALLS},
        "mAP": float(average_Q.mean()),
        "chance": float(right_QS.mean()),
    }


def located(query: Tensor, features: Tensor, length: int, parts: int) -> int:
    """Where a clip is found within a longer video.

    Args:
        query: the clip's vector [V].
        features: of the video, [T, h, w, D].
        length: frames of a window.
        parts: as of the query.

    Returns:
        First frame of the window that is most like the query.
    """
    windows_MV = torch.stack(
        [clip_vector(features[first : first + length], parts) for first in range(len(features) - length + 1)]
    )
    # The video's own mean is what all windows share.
    centred_MV = windows_MV - windows_MV.mean(0)
    return int(functional.cosine_similarity(centred_MV, (query - windows_MV.mean(0))[None]).argmax())


def evaluate_retrieval(
    model: VideoModel,
    clips: Sequence[tuple[Callable[[], Frames], int]],
    *,
    data: str,
    settings: RetrievalSettings = RetrievalSettings(),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """Find clips by clips, and an action within a longer video.

    Args:
        model: for frames of the settings' size.
        clips: (reader of frames [T, H, W, 3] of the settings, class) of labelled clips.
        data: name of the data in the result.
        settings: what is compared.
        progress: passes the clips through.

    Returns:
        See `retrieval_metrics`; and of videos that are joined of clips, one of them of the query's class: `tIoU`, the
        mean overlap in time of the window found with the true one, and `located`, the share with at least a half.

    Raises:
        ValueError: fewer than two classes with two clips each.
        OSError: a clip cannot be read.
    """
    by_class: dict[int, list[int]] = {}
    for index, (_, label) in enumerate(clips):
        by_class.setdefault(label, []).append(index)
    if sum(len(members) > 1 for members in by_class.values()) < 2:
        raise ValueError(f"{data}: got {len(clips)} clips, expected two classes or more with two clips or more each")
    vectors = torch.stack([clip_vector(model.features(read()), settings.parts).cpu() for read, _ in progress(clips)])
    metrics = retrieval_metrics(vectors, [label for _, label in clips])
    overlaps = [
        _overlap(model, clips, by_class, query, vectors[query], settings)
        for query in progress([members[0] for members in by_class.values() if len(members) > 1])
    ]
    metrics |= {"tIoU": float(np.mean(overlaps)), "located": float(np.mean(np.array(overlaps) >= 0.5))}
    return Result("retrieval", model.info, data, {**asdict(settings), "clips": len(clips)}, metrics)


def _overlap(
    model: VideoModel,
    clips: Sequence[tuple[Callable[[], Frames], int]],
    by_class: Mapping[int, Sequence[int]],
    query: int,
    vector: Tensor,
    settings: RetrievalSettings,
) -> float:
    """Overlap in time of what is found of a query with where it is."""
    rng = np.random.default_rng([settings.seed, query])
    label, length = clips[query][1], settings.frames
    target = int(rng.choice([index for index in by_class[label] if index != query]))
    others = [index for index, (_, other) in enumerate(clips) if other != label]
    place = int(rng.integers(settings.joined))
    chosen = rng.choice(others, settings.joined, replace=len(others) < settings.joined).tolist()
    chosen[place] = target
    video = np.concatenate([clips[index][0]() for index in chosen])
    first = located(vector, model.features(video).cpu(), length, settings.parts)
    common = max(0, length - abs(first - place * length))
    return common / (2 * length - common)
