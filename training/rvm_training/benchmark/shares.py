"""What of a frame's time is the engine, and what are resize and heads."""

from __future__ import annotations

from functools import partial

import numpy as np

from rvm_model.engines import Engine
from rvm_model.perception import Perception, PerceptionConfig, Wanted
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
    perception = Perception(engine, PerceptionConfig())
    image = np.random.default_rng(0).integers(0, 256, (*camera, 3), np.uint8)
    batch = perception.prepare({"a": image})
    features = perception.encode(["a"], batch)["a"].clone()
    everything = Wanted(features=True, cls_token=True, pca=True, segmentation=True, overlay=True)
    return interleaved(
        {
            STEP: lambda: perception.encode(["a"], batch),
            "resize": lambda: perception.prepare({"a": image}),
            **{name: partial(perception.render, "a", image, features, wanted) for name, wanted in PARTS.items()},
            "all": lambda: (perception.prepare({"a": image}), perception.render("a", image, features, everything)),
        },
        rounds,
        synchronizer(engine.info.device),
        what="shares",
    )
