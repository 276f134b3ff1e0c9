"""Random scenes: objects of many shapes and textures that move, turn, deform and hide each other under a moving camera.

A scene is a pure function of its generator's state. Rates are those of a video: motion is per frame, and a clip is as
long as one likes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rvm_training.synthetic.motion import Camera, Pose, Ripple, Track, random_wave
from rvm_training.synthetic.noise_square import NoiseSquareConfig, noise_square_scene
from rvm_training.synthetic.scene import Layer, Optics, Scene
from rvm_training.synthetic.shapes import shape
from rvm_training.synthetic.textures import U8, Surface, one_noise, texture

SHARES = ("photograph_share", "deform_share", "still_share", "noise_square_share", "hidden_share", "blur_share")
"""Fields of a `SceneConfig` between 0 and 1."""


@dataclass(frozen=True)
class SceneConfig:
    """What random scenes hold. Lengths are shares of the image's shorter side: a scene looks alike at any size."""

    objects: tuple[int, int] = (1, 5)
    """Fewest and most objects."""
    object_size: tuple[float, float] = (0.15, 0.55)
    """Side of an object's square."""
    speed: float = 0.02
    """Largest steady speed of an object per frame."""
    sway: float = 0.08
    """Largest amplitude of an object's swaying about its steady motion."""
    swell: float = 0.35
    """Largest amplitude of the logarithm of an object's size."""
    turn: float = 0.06
    """Largest rotation of an object per frame, in radians."""
    camera_speed: float = 0.012
    """Largest steady speed of the camera per frame."""
    zoom: float = 0.3
    """Largest amplitude of the logarithm of the camera's zoom."""
    roll: float = 0.15
    """Largest amplitude of the camera's roll, in radians."""
    shake: float = 0.01
    """Amplitude of the camera's shake."""
    photograph_share: float = 0.5
    """Share of surfaces that are photographs; the rest is procedural."""
    deform_share: float = 0.3
    """Share of objects that deform."""
    still_share: float = 0.15
    """Share of objects that stand still in the world and do not deform: only the camera moves them."""
    noise_square_share: float = 0.1
    """Share of clips that are nothing but a noise square on noise, which a single frame does not show."""
    hidden_share: float = 0.0
    """Share of clips whose objects and background are covered by one kind of noise, of any grain: of many shapes and
    under any motion, only that motion shows them."""
    blur_share: float = 0.2
    """Share of clips with motion blur, and likewise with defocus."""
    held_out: bool = False
    """Take the photographs that training never sees."""

    def __post_init__(self) -> None:
        """Refuse ranges that are empty and shares outside [0, 1]."""
        if not 0 <= self.objects[0] <= self.objects[1] <= 254:
            raise ValueError(f"objects: got {self.objects}, expected 0 <= fewest <= most <= 254")
        if not 0 < self.object_size[0] <= self.object_size[1]:
            raise ValueError(f"object_size: got {self.object_size}, expected 0 < smallest <= largest")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0..1")
        if self.noise_square_share + self.hidden_share > 1:
            raise ValueError(
                f"noise_square_share and hidden_share: got {self.noise_square_share} and {self.hidden_share}, expected "
                "shares of the same clips, at most 1 together"
            )
        for name in ("speed", "sway", "swell", "turn", "camera_speed", "shake", "zoom", "roll"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more")


def random_scene(rng: np.random.Generator, height: int, width: int, config: SceneConfig = SceneConfig()) -> Scene:
    """Draw a scene of height x width pixels."""
    kind = rng.random()
    if kind < config.noise_square_share:
        return noise_square_scene(rng, NoiseSquareConfig(height=height, width=width))
    side = min(height, width)
    noise = None
    if kind < config.noise_square_share + config.hidden_share:
        config = _nothing_to_see(rng, config)
        noise = one_noise(rng, side)
    layers = [_background(rng, height, width, config, noise)]
    # Far to near, so that what is in front also moves more under the camera.
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    for depth in np.sort(rng.uniform(1.0, 3.0, count))[::-1]:
        layers.append(_object(rng, height, width, float(depth), config, noise))
    if noise is not None:
        layers = [_without_traces(layer) for layer in layers]
    return Scene(
        height, width, tuple(layers), _camera(rng, height, width, config), _optics(rng, config, side),
        seed=int(rng.integers(2**32)),
    )  # fmt: skip


def _nothing_to_see(rng: np.random.Generator, config: SceneConfig) -> SceneConfig:
    # What changes the noise itself would show an object in a single frame: another scale, and blur. In half of the
    # clips the camera stands still, so that what moves at all is an object.
    config = replace(config, swell=0.0, zoom=0.0, blur_share=0.0)
    return config if rng.random() < 0.5 else replace(config, camera_speed=0.0, roll=0.0, shake=0.0)


def _without_traces(layer: Layer) -> Layer:
    # Interpolation and soft edges would smooth the noise of what moves.
    alpha = None if layer.alpha is None else (layer.alpha > 0.5).astype(np.float32)
    return replace(layer, alpha=alpha, smooth=False)


def _background(rng: np.random.Generator, height: int, width: int, config: SceneConfig, noise: Surface | None) -> Layer:
    size = int(max(height, width) * rng.uniform(1.2, 1.8))
    image = _surface(rng, size, max(config.photograph_share, 0.6), config, noise)
    pose = Pose(Track((width - 1) / 2), Track((height - 1) / 2), angle=Track(float(rng.uniform(-0.3, 0.3))))
    return Layer(image, pose, depth=float(rng.uniform(3.0, 6.0)))


def _surface(
    rng: np.random.Generator, size: int, photograph_share: float, config: SceneConfig, noise: Surface | None
) -> U8:
    if noise is not None:
        return noise(size)
    return texture(rng, size, photograph_share=photograph_share, held_out=config.held_out)


def _object(
    rng: np.random.Generator, height: int, width: int, depth: float, config: SceneConfig, noise: Surface | None
) -> Layer:
    side = min(height, width)
    size = max(8, int(side * rng.uniform(*config.object_size)))
    still = rng.random() < config.still_share

    def coordinate(extent: int) -> Track:
        # Reflected a little outside the image: objects leave and come back.
        low, high = -0.15 * extent, 1.15 * extent
        start = float(rng.uniform(0, extent))
        if still:
            return Track(start)
        velocity = float(rng.uniform(-1, 1) * config.speed * side)
        return Track(start, velocity, low, high, random_wave(rng, config.sway * side, (20, 80)))

    ripple = None
    if not still and rng.random() < config.deform_share:
        wavelength = float(size * rng.uniform(0.7, 1.5))
        ripple = Ripple(
            amplitude=wavelength * float(rng.uniform(0.02, 0.08)),
            wavelength=wavelength,
            frequency=float(2 * np.pi / rng.uniform(10, 40)),
            phase=float(rng.uniform(0, 2 * np.pi)),
        )
    turn = 0.0 if still else float(rng.uniform(-1, 1) * config.turn)
    return Layer(
        texture=_surface(rng, size, config.photograph_share, config, noise),
        alpha=shape(rng, size),
        pose=Pose(
            coordinate(width),
            coordinate(height),
            log_scale=Track(0.0, wave=random_wave(rng, 0.0 if still else config.swell, (25, 100))),
            angle=Track(float(rng.uniform(-np.pi, np.pi)), turn),
        ),
        depth=depth,
        ripple=ripple,
    )


def _camera(rng: np.random.Generator, height: int, width: int, config: SceneConfig) -> Camera:
    side = min(height, width)

    def coordinate() -> Track:
        velocity = float(rng.uniform(-1, 1) * config.camera_speed * side)
        shake = random_wave(rng, config.shake * side, (3, 12), terms=2)
        return Track(0.0, velocity, -0.5 * side, 0.5 * side, shake)

    pose = Pose(
        coordinate(),
        coordinate(),
        log_scale=Track(0.0, wave=random_wave(rng, config.zoom, (30, 120))),
        angle=Track(0.0, wave=random_wave(rng, config.roll, (30, 120))),
    )
    return Camera(pose, ((width - 1) / 2, (height - 1) / 2))


def _optics(rng: np.random.Generator, config: SceneConfig, side: int) -> Optics:
    return Optics(
        gain=random_wave(rng, 0.25, (15, 80)),
        shade=float(rng.uniform(0, 0.6)) if rng.random() < 0.3 else 0.0,
        shade_turn=float(rng.uniform(-0.05, 0.05)),
        defocus=float(rng.uniform(0.4, 1.0)) * side / 128 if rng.random() < config.blur_share else 0.0,
        shutter=float(rng.uniform(0.3, 0.9)) if rng.random() < config.blur_share else 0.0,
        noise=float(rng.uniform(0, 4)),
    )
