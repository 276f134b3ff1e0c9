"""The moving white-noise square (paper, figure 6): what only motion shows.

No single frame tells the square from what is around it, so features of single frames cannot, and recurrent features
must. Patches of a clip are clustered; the figure is the intersection over union of the square with the cluster that
fits it best, over the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from rvm_training.evaluation.clip_pictures import clip_clusters
from rvm_training.evaluation.metrics import jaccard
from rvm_training.evaluation.models import VideoModel
from rvm_training.evaluation.result import Result
from rvm_training.synthetic.noise_square import NoiseSquareConfig, noise_square_scene


@dataclass(frozen=True)
class NoiseSquare:
    """What is looked at."""

    size: tuple[int, int] = (256, 256)
    """Rows and columns of the frames."""
    clips: int = 8
    """Squares with other noise and motion."""
    frames: int = 32
    """Frames of a clip."""
    settle: int = 8
    """Frames at the start that the main figure leaves out: motion takes some to show."""
    clusters: int = 2
    """Of k-means; one should be the square."""
    seed: int = 0
    """Of the clips, other ones than training's."""

    def __post_init__(self) -> None:
        """Refuse what shows nothing."""
        if self.clips < 1 or not 0 <= self.settle < self.frames:
            raise ValueError(
                f"noise square: got {self.clips} clips of {self.frames} frames, {self.settle} of them to settle; "
                "expected at least one clip, and frames left to look at"
            )


@dataclass(frozen=True)
class SquareClip:
    """A clip and where its square is."""

    frames: npt.NDArray[np.uint8]
    """RGB [T, H, W, 3]."""
    square: npt.NDArray[np.bool_]
    """[T, H, W]."""


def clips(settings: NoiseSquare) -> Iterator[SquareClip]:
    """The clips, the same for the same settings."""
    for index in range(settings.clips):
        rng = np.random.default_rng([settings.seed, index, 6])
        scene = noise_square_scene(rng, NoiseSquareConfig(*settings.size))
        times = range(settings.frames)
        yield SquareClip(np.stack([scene.frame(t) for t in times]), np.stack([scene.mask(t) for t in times]) == 1)


def found_square(model: VideoModel, clip: SquareClip, settings: NoiseSquare) -> npt.NDArray[np.bool_]:
    """The cluster [T, H, W] that fits the square best over the clip."""
    labels = clip_clusters(model.features(clip.frames), settings.clusters, settings.size, seed=settings.seed)
    candidates = [labels == cluster for cluster in range(settings.clusters)]
    return max(candidates, key=lambda each: float(jaccard(clip.square, each)[settings.settle :].mean()))


def evaluate_noise_square(model: VideoModel, settings: NoiseSquare = NoiseSquare()) -> Result:
    """Look for the square in every clip.

    Args:
        model: for frames of the settings' size.
        settings: what is looked at.

    Returns:
        `IoU`: mean over clips and frames after the first `settle`; `chance`: what a cluster of everything has; the
        curve `IoU` over `frame`.
    """
    curves, parts, shares = [], [], []
    for index, clip in enumerate(clips(settings)):
        curve = jaccard(clip.square, found_square(model, clip, settings))
        curves.append(curve)
        shares.append(clip.square.mean())
        parts.append({"clip": index, "IoU": float(curve[settings.settle :].mean())})
    mean = np.mean(curves, axis=0)
    metrics = {
        "IoU": float(mean[settings.settle :].mean()),
        "IoU first frame": float(mean[0]),
        "IoU last frame": float(mean[-1]),
        "chance": float(np.mean(shares)),
    }
    return Result(
        "noise-square", model.info, "synthetic", asdict(settings), metrics, parts,
        {"frame": list(range(settings.frames)), "IoU": mean.tolist()},
    )  # fmt: skip
