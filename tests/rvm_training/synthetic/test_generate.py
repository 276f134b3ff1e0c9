"""Random scenes are varied, reproducible, and hold what the configuration asks for."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from rvm_training.synthetic.generate import SceneConfig, random_scene
from rvm_training.synthetic.shapes import OUTLINES, shape
from rvm_training.synthetic.textures import (
    HELD_OUT_PHOTOGRAPHS,
    PATTERNS,
    TRAIN_PHOTOGRAPHS,
    _checks,
    _marble,
    _stripes,
    photographs,
    texture,
    white_noise,
)


def scenes(count: int = 40, **config):
    return [random_scene(np.random.default_rng([9, i]), 64, 64, SceneConfig(**config)) for i in range(count)]


def test_the_same_generator_gives_the_same_scene():
    first, second = (random_scene(np.random.default_rng(5), 64, 80) for _ in range(2))
    assert np.array_equal(first.frame(9.0), second.frame(9.0))
    assert first.frame(9.0).shape == (64, 80, 3)


def test_numbers_of_objects_keep_to_the_range_and_reach_its_ends():
    counts = {len(scene.layers) - 1 for scene in scenes(objects=(2, 4), noise_square_share=0.0)}
    assert counts == {2, 3, 4}


def test_shares_of_noise_squares_deformation_and_blur_are_kept():
    drawn = scenes(200, noise_square_share=0.25, objects=(2, 2), deform_share=0.5, still_share=0.0, blur_share=0.4)
    ordinary = [scene for scene in drawn if len(scene.layers) == 3]
    assert abs(1 - len(ordinary) / 200 - 0.25) < 0.1
    objects = [layer for scene in ordinary for layer in scene.layers[1:]]
    assert abs(np.mean([layer.ripple is not None for layer in objects]) - 0.5) < 0.12
    assert abs(np.mean([scene.optics.shutter > 0 for scene in ordinary]) - 0.4) < 0.12


def test_a_share_of_scenes_hides_its_objects():
    drawn = scenes(200, noise_square_share=0.1, hidden_share=0.3)
    of_noise = [scene for scene in drawn if not scene.layers[0].smooth]
    squares = [scene for scene in of_noise if math.isinf(scene.layers[0].depth)]
    assert abs(len(squares) / 200 - 0.1) < 0.07
    assert abs(len(of_noise) / 200 - 0.4) < 0.1


def test_only_motion_shows_hidden_objects():
    contrast, change = [], []
    for scene in scenes(60, noise_square_share=0.0, hidden_share=1.0, objects=(1, 1), still_share=0.0):
        inside = scene.mask(0) == 1
        if scene.camera.matrix(5, 1.0).tolist() != scene.camera.matrix(0, 1.0).tolist() or inside.sum() < 100:
            continue
        grey = [scene.frame(t).mean(axis=2) for t in (0, 5)]
        contrast.append(np.log(grey[0][inside].std() / grey[0][~inside].std()))
        moved = np.abs(grey[1] - grey[0])
        change.append(moved[inside].mean() / moved[~inside].mean())
    assert len(change) > 10
    # No bias towards more or less contrast; single windows of coarse noise vary.
    assert abs(np.mean(contrast)) < 0.1
    assert np.median(change) > 3


def test_objects_move_and_hide_each_other():
    moved, hidden = 0, 0
    for scene in scenes(20, noise_square_share=0.0, objects=(3, 3)):
        moved += not np.array_equal(scene.mask(0), scene.mask(10))
        first_alone = dataclasses.replace(scene, layers=scene.layers[:2])
        hidden += any((scene.mask(t) == 1).sum() < (first_alone.mask(t) == 1).sum() for t in range(0, 48, 4))
    assert moved >= 19
    assert hidden >= 12


def test_scenes_look_alike_at_any_size():
    small, large = (
        random_scene(np.random.default_rng(2), size, size, SceneConfig(noise_square_share=0)) for size in (64, 128)
    )
    share = [np.mean(scene.mask(0) > 0) for scene in (small, large)]
    assert abs(share[0] - share[1]) < 0.1


@pytest.mark.parametrize("pattern", [_stripes, _checks, _marble], ids=lambda pattern: pattern.__name__)
def test_patterns_of_waves_look_alike_at_any_size(pattern):
    small, large = (pattern(np.random.default_rng(3), size) for size in (128, 256))
    halved = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.9


def test_without_any_motion_everything_stands():
    motions = ("speed", "sway", "swell", "turn", "camera_speed", "shake", "zoom", "roll", "deform_share")
    for scene in scenes(10, noise_square_share=0.0, **dict.fromkeys(motions, 0.0)):
        assert np.array_equal(scene.mask(0), scene.mask(17))


def test_still_objects_do_not_deform():
    still_camera = dict.fromkeys(("camera_speed", "shake", "zoom", "roll"), 0.0)
    for scene in scenes(10, noise_square_share=0.0, still_share=1.0, deform_share=1.0, **still_camera):
        assert np.array_equal(scene.mask(0), scene.mask(17))


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_patterns_fill_their_square_within_the_unit_range(pattern):
    for seed in range(5):
        image = pattern(np.random.default_rng(seed), 48)
        assert image.shape == (48, 48)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        assert image.std() > 0.01


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_textures_are_varied(share):
    images = [texture(np.random.default_rng([1, i]), 40, photograph_share=share) for i in range(20)]
    assert all(image.shape == (40, 40, 3) and image.dtype == np.uint8 for image in images)
    assert len({image.tobytes() for image in images}) == 20


def test_held_out_photographs_are_others_than_those_of_training():
    assert not set(TRAIN_PHOTOGRAPHS) & set(HELD_OUT_PHOTOGRAPHS)
    assert len(photographs()) == len(TRAIN_PHOTOGRAPHS)
    assert len(photographs(held_out=True)) == len(HELD_OUT_PHOTOGRAPHS)
    assert all(image.ndim == 3 and min(image.shape[:2]) <= 512 for image in photographs())


def test_shapes_have_an_empty_border_and_a_filled_middle():
    for seed in range(30):
        alpha = shape(np.random.default_rng(seed), 40)
        assert not np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]]).any()
        assert 0.1 < alpha.mean() < 0.95
        assert alpha.max() == 1
    assert len(OUTLINES) >= 6


def test_white_noise_is_grey_uniform_and_independent():
    noise = white_noise(np.random.default_rng(0), 63, 64)
    assert noise.shape == (63, 64, 3)
    assert np.array_equal(noise[..., 0], noise[..., 2])
    grey = noise[..., 0].astype(float)
    assert abs(grey.mean() - 127.5) < 5
    assert abs(grey.std() - 73.9) < 3
    assert abs(np.corrcoef(grey[:, 1:].ravel(), grey[:, :-1].ravel())[0, 1]) < 0.06


@pytest.mark.parametrize(
    "options",
    [{"objects": (3, 2)}, {"objects": (0, 300)}, {"object_size": (0, 1)}, {"deform_share": 1.5}, {"speed": -1}],
)
def test_senseless_settings_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        SceneConfig(**options)
