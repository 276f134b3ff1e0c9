"""Short clips of one thing that happens, in a folder laid out as Something-Something v2.

The first frame says nothing of the class: only how the object moves does.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rvm_training.offline.encoding import write_video
from rvm_training.synthetic.clips_config import ClipsConfig
from rvm_training.synthetic.motion import Camera, Pose, Track
from rvm_training.synthetic.scene import Layer, Scene
from rvm_training.synthetic.shapes import shape
from rvm_training.synthetic.textures import texture


@dataclass(frozen=True)
class Motion:
    """How an object moves over a clip."""

    x: float = 0.0
    """Way to the right, as a share of the image's side."""
    y: float = 0.0
    """Way down."""
    growth: float = 0.0
    """Change of the logarithm of its size."""
    turn: float = 0.0
    """Radians clockwise."""


ACTIONS: dict[str, Motion] = {
    "Holding [something]": Motion(),
    "Moving [something] left": Motion(x=-0.45),
    "Moving [something] right": Motion(x=0.45),
    "Moving [something] up": Motion(y=-0.45),
    "Moving [something] down": Motion(y=0.45),
    "Moving [something] closer": Motion(growth=0.9),
    "Moving [something] away": Motion(growth=-0.9),
    "Turning [something]": Motion(turn=math.pi),
}
"""Template of a class, as the dataset writes them, to what happens."""


def write_actions(root: Path, config: ClipsConfig = ClipsConfig()) -> None:
    """Write videos/, labels.json, train.json and validation.json.

    Args:
        root: folder, made where it is missing.
        config: how much.

    Raises:
        ValueError: fewer clips of a split than classes.
        OSError: it cannot be written.
    """
    if min(config.train, config.val) < len(ACTIONS):
        raise ValueError(
            f"actions: got {config.train} and {config.val} clips, expected at least {len(ACTIONS)}, one of each class"
        )
    names = [template.replace("[", "").replace("]", "") for template in ACTIONS]
    labels = root / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    for split, file in (("train", "train.json"), ("val", "validation.json")):
        items = []
        for index, number in enumerate(config.numbers(split)):
            template = list(ACTIONS)[index % len(ACTIONS)]
            scene = action_scene(ACTIONS[template], config, number, held_out=split == "val")
            frames = np.stack([scene.frame(t) for t in range(config.frames)])
            write_video(root / "videos" / f"{number}.mp4", frames, fps=12)
            items.append({"id": str(number), "template": template, "label": names[index % len(ACTIONS)]})
        (labels / file).write_text(json.dumps(items), encoding="utf-8")
    (labels / "labels.json").write_text(json.dumps({name: str(i) for i, name in enumerate(names)}), encoding="utf-8")


def action_scene(motion: Motion, config: ClipsConfig, number: int, *, held_out: bool) -> Scene:
    """One clip: an object that does this before a background that stands still."""
    rng = np.random.default_rng([config.seed, number, 9])
    side, last = config.side, config.frames - 1
    middle = (side - 1) / 2
    # Dark and plain, so that features that were never trained can tell the object from it.
    ground = np.full((side, side, 3), rng.integers(0, 64, 3), np.uint8)
    background = Layer(ground, Pose(Track(middle), Track(middle)))
    size = int(side * rng.uniform(0.3, 0.45))

    def track(way: float) -> Track:
        # The start says nothing of the class, and so the first frame does not.
        return Track(float(middle + side * rng.uniform(-0.2, 0.2)), side * way / last)

    pose = Pose(
        track(motion.x),
        track(motion.y),
        log_scale=Track(float(rng.uniform(-0.3, 0.3)), motion.growth / last),
        angle=Track(float(rng.uniform(-math.pi, math.pi)), motion.turn / last),
    )
    bright = 128 + texture(rng, size, photograph_share=0.5, held_out=held_out) // 2
    thing = Layer(bright, pose, alpha=shape(rng, size), depth=math.inf)
    return Scene(side, side, (background, thing), Camera(Pose(Track(0.0), Track(0.0)), (middle, middle)))
