"""What of a frame's time is the engine, and what are resize and heads."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rvm_model.camera_heads import CameraHeads, HeadsConfig, Wanted, tensors
from rvm_model.engines import Engine
from rvm_model.perception import Perception
from rvm_training.benchmark.timing import Timing, interleaved, synchronizer

STEP = "engine step"
PARTS = {
    "head: features to the host": Wanted(features=True, cls_token=True),
    "head: pca": Wanted(pca=True),
    "head: segmentation": Wanted(segmentation=True),
    "head: segmentation and overlay": Wanted(segmentation=True, overlay=True),
}


def shares(engine: Engine, camera: tuple[int, int], rounds: int) -> dict[str, Timing]:
    """Time resize, step and heads of one camera's frame, in turn.

    Args:
        engine: what runs the step.
        camera: height and width of the camera's images.
        rounds: measured runs of each.

    Returns:
        Part to its time; `all` is resize and all heads together, without the step.
    """
    perception, heads = Perception(engine), CameraHeads(engine.info, HeadsConfig())
    image = np.random.default_rng(0).integers(0, 256, (*camera, 3), np.uint8)
    batch = perception.prepare({"a": image})
    features = perception.encode(["a"], batch)["a"].clone()
    everything = Wanted(features=True, cls_token=True, pca=True, segmentation=True, overlay=True)

    def prepare_and_render() -> None:
        perception.prepare({"a": image})
        _render(heads, image, features, everything)

    return interleaved(
        {
            STEP: lambda: perception.encode(["a"], batch),
            "resize": lambda: perception.prepare({"a": image}),
            **{name: partial(_render, heads, image, features, wanted) for name, wanted in PARTS.items()},
            "all": prepare_and_render,
        },
        rounds,
        synchronizer(engine.info.device),
        what="shares",
    )


def _render(heads: CameraHeads, image: npt.NDArray[np.uint8], features: Tensor, wanted: Wanted) -> None:
    """All that the node does with one frame's features."""
    if wanted.tensors:
        tensors(heads.info, features, wanted)
    if wanted.pictures:
        heads.draw(image, features, wanted)
