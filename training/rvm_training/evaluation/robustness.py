"""How much of J&F is left when the pictures get worse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np

from rvm_training.evaluation.corruptions import NAMES, STRENGTHS, corrupted, kept_frames
from rvm_training.evaluation.datasets import MaskVideo
from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.propagation import (
    DAVIS,
    ObjectScore,
    Progress,
    Protocol,
    propagate_masks,
    score_objects,
    summary,
)
from rvm_training.evaluation.result import Result


def evaluate_robustness(
    model: VideoModel,
    videos: Iterable[MaskVideo],
    *,
    data: str,
    names: Sequence[str] = NAMES,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    protocol: Protocol = DAVIS,
    progress: Progress = iter,
) -> Result:
    """Follow the objects of the first mask through worse and worse pictures.

    Args:
        model: for frames of the protocol's size.
        videos: sequences of DAVIS's layout.
        data: name of the data in the result.
        names: corruptions.
        strengths: of each, rising from 0, the pictures as they are.
        seed: of what is random in them.
        protocol: settings of the propagation.
        progress: passes the videos through.

    Returns:
        The curves of J&F by corruption over `strength`; as figures the mean of each over the strengths above 0, and
        `mean`, all together.

    Raises:
        DatasetError: a video cannot be read.
        ValueError: strengths that do not rise from 0, an unknown corruption, or no object anywhere.
    """
    if len(strengths) < 2 or strengths[0] != 0 or list(strengths) != sorted(set(strengths)):
        raise ValueError(f"strengths: got {list(strengths)}, expected 0 and rising numbers after it")
    scores: dict[tuple[str, float], list[ObjectScore]] = {(name, each): [] for name in names for each in strengths}
    for index, video in enumerate(progress(videos)):
        frames, gt = video.read()
        clean = list(score_objects(video.name, gt, propagate_masks(model, frames, gt[0], protocol)))
        for name, strength in scores:
            if strength == 0:
                scores[name, strength] += clean
                continue
            # Another bad day for every video.
            kept = kept_frames(len(frames), strength, seed + index) if name == "dropped frames" else slice(None)
            worse = corrupted(name, frames[kept], strength, seed + index)
            scores[name, strength] += score_objects(
                video.name, gt[kept], propagate_masks(model, worse, gt[0], protocol)
            )
    if not all(scores.values()):
        raise ValueError(f"{data}: got no object in the first mask of any video, expected one to follow")
    curves: dict[str, Sequence[float]] = {
        name: [summary(scores[name, each])["J&F-Mean"] for each in strengths] for name in names
    }
    metrics = {name: float(np.mean(curve[1:])) for name, curve in curves.items()}
    metrics = {"clean": curves[names[0]][0], **metrics, "mean": float(np.mean(list(metrics.values())))}
    settings = {**asdict(protocol), "seed": seed}
    return Result("robustness", model.info, data, settings, metrics, curves={"strength": list(strengths), **curves})
