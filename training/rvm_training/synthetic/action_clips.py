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


@dataclass(frozen=True)
class ActionConfig:
    """How much is made."""

    train: int = 256
    """Clips to learn from, over all classes."""
    val: int = 64
    """Clips held out, of photographs that the others do not show."""
    frames: int = 16
    """Frames of a clip."""
    side: int = 96
    """Rows and columns."""
    seed: int = 0
    """Of the clips."""

    def __post_init__(self) -> None:
        """Refuse what teaches nothing."""
        if min(self.train, self.val) < len(ACTIONS) or self.frames < 2 or self.side < 32 or self.side % 2:
            raise ValueError(
                f"actions: got {self.train} and {self.val} clips of {self.frames} frames with side {self.side}, "
                f"expected at least {len(ACTIONS)} clips of 2 frames, and an even side of at least 32"
            )


def write_actions(root: Path, config: ActionConfig = ActionConfig()) -> None:
    """Write videos/, labels.json, train.json and validation.json.

    Args:
        root: folder, made where it is missing.
        config: how much.

    Raises:
        OSError: it cannot be written.
    """
    names = [template.replace("[", "").replace("]", "") for template in ACTIONS]
    labels = root / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    number = 0
    for file, count in (("train.json", config.train), ("validation.json", config.val)):
        items = []
        for index in range(count):
            template = list(ACTIONS)[index % len(ACTIONS)]
            scene = action_scene(ACTIONS[template], config, number, held_out=file != "train.json")
            frames = np.stack([scene.frame(t) for t in range(config.frames)])
            write_video(root / "videos" / f"{number}.mp4", frames, fps=12)
            items.append({"id": str(number), "template": template, "label": names[index % len(ACTIONS)]})
            number += 1
        (labels / file).write_text(json.dumps(items), encoding="utf-8")
    (labels / "labels.json").write_text(json.dumps({name: str(i) for i, name in enumerate(names)}), encoding="utf-8")


def action_scene(motion: Motion, config: ActionConfig, number: int, *, held_out: bool) -> Scene:
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
