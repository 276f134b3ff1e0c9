"""The moving white-noise square (paper, figure 6): what only motion shows.

No single frame tells the square from what is around it, so features of single frames cannot, and recurrent features
must. Patches of a clip are clustered; the figure is the intersection over union of the square with the cluster that
fits it best, over the frames. That asks for the square to be what features differ in most. Whether they know of it at
all, another figure shows: a linear readout, fitted on other clips, says of each patch whether it is the square's.

Shape legend: T frames, h w patches, D width, M patches of many frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

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
    taught: int = 32
    """Other clips that the linear readout is fitted on."""

    def __post_init__(self) -> None:
        """Refuse what shows nothing."""
        if self.taught < 1:
            raise ValueError(f"taught: got {self.taught} clips for the linear readout, expected at least one")
        if self.clips < 1 or not 0 <= self.settle < self.frames:
            raise ValueError(
                f"noise square: got {self.clips} clips of {self.frames} frames, {self.settle} of them to settle; "
                "expected at least one clip, and frames left to look at"
            )


LINEAR = "IoU of a linear readout"


@dataclass(frozen=True)
class SquareClip:
    """A clip and where its square is."""

    frames: npt.NDArray[np.uint8]
    """RGB [T, H, W, 3]."""
    square: npt.NDArray[np.bool_]
    """[T, H, W]."""


def clips(settings: NoiseSquare, *, to_fit: bool = False) -> Iterator[SquareClip]:
    """The clips, the same for the same settings; or those that the linear readout is fitted on."""
    for index in range(settings.taught if to_fit else settings.clips):
        rng = np.random.default_rng([settings.seed, index, 7 if to_fit else 6])
        scene = noise_square_scene(rng, NoiseSquareConfig(*settings.size))
        times = range(settings.frames)
        yield SquareClip(np.stack([scene.frame(t) for t in times]), np.stack([scene.mask(t) for t in times]) == 1)


def found_square(features: Tensor, clip: SquareClip, settings: NoiseSquare) -> npt.NDArray[np.bool_]:
    """The cluster [T, H, W] that fits the square best over the clip."""
    labels = clip_clusters(features, settings.clusters, settings.size, seed=settings.seed)
    candidates = [labels == cluster for cluster in range(settings.clusters)]
    return max(candidates, key=lambda each: float(jaccard(clip.square, each)[settings.settle :].mean()))


Readout = Callable[[Tensor], Tensor]
"""From features [..., D] to logits [...]."""


def linear_readout(model: VideoModel, settings: NoiseSquare) -> Readout:
    """Logistic regression of whether most of a patch is the square, on every fourth frame of clips of its own."""
    rows, inside = [], []
    for clip in clips(settings, to_fit=True):
        features_ThwD = model.features(clip.frames)[settings.settle :: 4].float().cpu()
        height, width = features_ThwD.shape[1:3]
        shares = [
            cv2.resize(frame.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
            for frame in clip.square[settings.settle :: 4]
        ]
        rows.append(features_ThwD.flatten(0, 2))
        inside.append(torch.from_numpy(np.stack(shares) > 0.5).flatten())
    x_MD, y_M = torch.cat(rows), torch.cat(inside).float()
    mean_D, std_D = x_MD.mean(0), x_MD.std(0) + 1e-6
    x_MD = (x_MD - mean_D) / std_D
    with torch.enable_grad():
        weight_D = torch.zeros(x_MD.shape[1], requires_grad=True)
        bias = torch.zeros((), requires_grad=True)
        solver = torch.optim.LBFGS([weight_D, bias], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            value = functional.binary_cross_entropy_with_logits(x_MD @ weight_D + bias, y_M)
            value = value + RIDGE * weight_D.square().sum()
            value.backward()
            return value

        solver.step(loss)
    weight_D, bias = weight_D.detach(), bias.detach()
    return lambda features: (features.float().cpu() - mean_D) / std_D @ weight_D + bias


RIDGE = 1e-4
"""Of the regression, on features of unit variance."""


def read_square(features: Tensor, clip: SquareClip, readout: Readout) -> npt.NDArray[np.bool_]:
    """What the readout takes for the square [T, H, W]; logits are interpolated between patches."""
    logits_Thw = readout(features).numpy()
    height, width = clip.square.shape[1:]
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) > 0 for frame in logits_Thw])


def evaluate_noise_square(model: VideoModel, settings: NoiseSquare = NoiseSquare()) -> Result:
    """Look for the square in every clip.

    Args:
        model: for frames of the settings' size.
        settings: what is looked at.

    Returns:
        `IoU`: mean over clips and frames after the first `settle`; `chance`: what a cluster of everything has;
        `IoU of a linear readout`, 0 where it finds nothing; the curves of both over `frame`.
    """
    curves, read, parts, shares = [], [], [], []
    readout = linear_readout(model, settings)
    for index, clip in enumerate(clips(settings)):
        features = model.features(clip.frames)
        curves.append(jaccard(clip.square, found_square(features, clip, settings)))
        read.append(jaccard(clip.square, read_square(features, clip, readout)))
        shares.append(clip.square.mean())
        one, other = (float(each[-1][settings.settle :].mean()) for each in (curves, read))
        parts.append({"clip": index, "IoU": one, LINEAR: other})
    mean, mean_read = np.mean(curves, axis=0), np.mean(read, axis=0)
    metrics = {
        "IoU": float(mean[settings.settle :].mean()),
        "IoU first frame": float(mean[0]),
        "IoU last frame": float(mean[-1]),
        "chance": float(np.mean(shares)),
        LINEAR: float(mean_read[settings.settle :].mean()),
    }
    return Result(
        "noise-square", model.info, "synthetic", asdict(settings), metrics, parts,
        {"frame": list(range(settings.frames)), "IoU": mean.tolist(), LINEAR: mean_read.tolist()},
    )  # fmt: skip
