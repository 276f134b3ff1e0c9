"""How long an object is followed (paper, figure 4): J&F over the first 16, 32, ... frames, against that over 16.

Propagation never looks ahead, so that one pass over a video gives all horizons. All are scored on the same videos,
those that are as long as the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import fmean

from rvm_training.evaluation.datasets import MaskVideo
from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.propagation import (
    DAVIS,
    STAYS,
    ObjectScore,
    Progress,
    Protocol,
    masks_by_features,
    resized,
    score_objects,
    stays,
    summary,
)
from rvm_training.evaluation.result import Result
from rvm_training.pretraining.objectives import moved_mean

HORIZONS = (16, 32, 48, 64, 80)
"""Frames of the paper's figure."""


def long_enough(videos: Iterable[MaskVideo], horizons: Sequence[int]) -> list[MaskVideo]:
    """The videos with as many frames as the longest horizon.

    Raises:
        ValueError: horizons that are no rising numbers of 3 or more, or no video is that long.
    """
    if not horizons or horizons[0] < 3 or list(horizons) != sorted(set(horizons)):
        raise ValueError(f"horizons: got {list(horizons)}, expected rising numbers of frames, each 3 or more")
    videos = list(videos)
    kept = [video for video in videos if len(video.images) >= horizons[-1]]
    if not kept:
        longest = max((len(video.images) for video in videos), default=0)
        raise ValueError(
            f"horizons: got {len(videos)} videos of at most {longest} frames, expected one of {horizons[-1]} or more; "
            "give shorter horizons"
        )
    return kept


def evaluate_horizon(
    model: VideoModel,
    videos: Iterable[MaskVideo],
    *,
    data: str,
    horizons: Sequence[int] = HORIZONS,
    protocol: Protocol = DAVIS,
    progress: Progress = iter,
) -> Result:
    """J&F over the first frames of videos.

    Args:
        model: for frames of the protocol's size.
        videos: sequences; those that are too short are left out.
        data: name of the data in the result.
        horizons: numbers of frames, rising.
        protocol: settings.
        progress: passes the videos through.

    Returns:
        The curves over `frames`: `J&F`, `relative` (divided by the first), that of masks that stay, and of the
        horizons' last frames, mean over the videos, whether a state drifts: `RMS of features` (root mean square), and
        `mean moved by age` (`moved_mean`, against the features after as many frames as the first horizon has).

    Raises:
        DatasetError: a video cannot be read.
        ValueError: see `long_enough`.
    """
    kept = long_enough(videos, horizons)
    scores: dict[int, list[ObjectScore]] = {frames: [] for frames in horizons}
    of_first: dict[int, list[ObjectScore]] = {frames: [] for frames in horizons}
    sizes: dict[int, list[float]] = {frames: [] for frames in horizons}
    moved: dict[int, list[float]] = {frames: [] for frames in horizons}
    for video in progress(kept):
        frames, gt = video.read()
        shown = resized(frames[: horizons[-1]], protocol.size)
        features = model.features(shown)
        pred = masks_by_features(features, gt[0], protocol)
        for count in horizons:
            scores[count] += score_objects(video.name, gt[:count], pred[:count])
            of_first[count] += stays(video.name, gt[:count])
            sizes[count].append(float(features[count - 1].float().square().mean().sqrt()))
            young = model.features(shown[count - horizons[0] : count])[-1]
            moved[count].append(float(moved_mean(*(each.flatten(0, 1)[None] for each in (young, features[count - 1])))))
    if not all(scores.values()):
        raise ValueError(f"{data}: got no object in the first mask of any video, expected one to follow")
    curve = [summary(scores[count])["J&F-Mean"] for count in horizons]
    relative = [value / curve[0] if curve[0] else float("nan") for value in curve]
    metrics = {f"J&F@{count}": value for count, value in zip(horizons, curve, strict=True)}
    metrics[f"relative@{horizons[-1]}"] = relative[-1]
    drift = {
        "RMS of features": [fmean(sizes[count]) for count in horizons],
        "mean moved by age": [fmean(moved[count]) for count in horizons],
    }
    for name, values in drift.items():
        metrics |= {f"{name}@{count}": values[at] for at, count in ((0, horizons[0]), (-1, horizons[-1]))}
    settings = {**asdict(protocol), "videos": len(kept), "horizons": list(horizons)}
    curves: dict[str, Sequence[float]] = {
        "frames": list(horizons),
        "J&F": curve,
        "relative": relative,
        STAYS: [summary(of_first[count])["J&F-Mean"] for count in horizons],
        **drift,
    }
    return Result("horizon", model.info, data, settings, metrics, curves=curves)
