"""Pictures, masks, flow and tracks of a scene agree with each other."""

import dataclasses

import cv2
import numpy as np
import pytest

from rvm_training.synthetic.generate import SceneConfig, random_scene
from rvm_training.synthetic.motion import Camera, Pose, Ripple, Track, Wave
from rvm_training.synthetic.noise_square import NoiseSquareConfig, noise_square_scene
from rvm_training.synthetic.scene import Layer, Optics, Scene
from rvm_training.synthetic.shapes import square

PLAIN = Optics()
STILL = Camera(Pose(Track(0.0), Track(0.0)), (31.5, 31.5))


def scene_of(seed: int, size: int = 96, **config) -> Scene:
    options = {"noise_square_share": 0.0, "blur_share": 0.0, **config}
    scene = random_scene(np.random.default_rng([4, seed]), size, size, SceneConfig(**options))
    return dataclasses.replace(scene, optics=PLAIN)


def block(x: Track, y: Track, level: int = 255, side: int = 9, **options) -> Layer:
    return Layer(np.full((side, side, 3), level, np.uint8), Pose(x, y), alpha=square(side), **options)


def background(level: int = 0) -> Layer:
    return Layer(np.full((80, 80, 3), level, np.uint8), Pose(Track(31.5), Track(31.5)))


def test_an_object_is_drawn_where_its_pose_says():
    scene = Scene(64, 64, (background(), block(Track(20.0, 2.0), Track(30.0, -1.0))), STILL)
    for t in (0, 3, 7):
        expected = np.zeros((64, 64), np.uint8)
        x, y = 20 + 2 * t, 30 - t
        expected[y - 4 : y + 5, x - 4 : x + 5] = 1
        assert np.array_equal(scene.mask(t), expected)
        assert np.array_equal(scene.frame(t)[..., 0] > 127, expected.astype(bool))


def test_later_layers_hide_earlier_ones():
    scene = Scene(64, 64, (background(), block(Track(20.0), Track(20.0)), block(Track(24.0), Track(20.0), 100)), STILL)
    assert scene.mask(0)[20, 22] == 2
    assert scene.frame(0)[20, 22].tolist() == [100, 100, 100]
    assert scene.mask(0)[20, 17] == 1


def test_objects_that_leave_the_image_leave_the_mask():
    scene = Scene(64, 64, (background(), block(Track(32.0, 10.0), Track(32.0))), STILL)
    assert scene.mask(0).any()
    assert not scene.mask(8).any()


def test_what_is_near_moves_more_under_the_camera_than_what_is_far():
    camera = Camera(Pose(Track(0.0, 2.0), Track(0.0)), (31.5, 31.5))
    near, far = block(Track(40.0), Track(20.0), depth=1.0), block(Track(40.0), Track(45.0), depth=4.0)
    scene = Scene(64, 64, (background(), near, far), camera)
    moved = [float(np.nonzero(scene.mask(8) == label)[1].mean()) for label in (1, 2)]
    assert moved == [40 - 16, 40 - 4]


@pytest.mark.parametrize("seed", range(12))
def test_flow_brings_the_next_picture_back_to_this_one(seed):
    scene = scene_of(seed)
    t0, t1 = 3.0, 4.0
    flow, labels = scene.flow(t0, t1), scene.mask(t0)
    y, x = np.mgrid[:96, :96].astype(np.float32)
    target = np.stack([x + flow[..., 0], y + flow[..., 1]], axis=-1)
    back = cv2.remap(scene.frame(t1), target[..., 0], target[..., 1], cv2.INTER_LINEAR)
    arrived = cv2.remap(scene.mask(t1), target[..., 0], target[..., 1], cv2.INTER_NEAREST)
    inside = (target >= 1).all(-1) & (target <= 94).all(-1)
    # Away from outlines, where two surfaces share a pixel.
    clear = cv2.erode((arrived == labels).astype(np.uint8), np.ones((5, 5))) * inside
    same = [cv2.erode((labels == label).astype(np.uint8), np.ones((5, 5))) for label in np.unique(labels)]
    seen = (clear > 0) & (np.max(same, axis=0) > 0)
    assert seen.mean() > 0.3
    error = np.abs(back.astype(float) - scene.frame(t0))[seen].mean()
    unmoved = np.abs(scene.frame(t1).astype(float) - scene.frame(t0))[seen].mean()
    assert error < 6
    assert error < 0.5 * unmoved or unmoved < 3, "of what moved at all"


@pytest.mark.parametrize("seed", range(6))
def test_tracks_follow_the_flow_frame_by_frame(seed):
    scene = scene_of(seed)
    points = np.random.default_rng(seed).uniform(8, 88, (30, 2)).round()
    positions, visible = scene.tracks(points, 2.0, np.arange(2.0, 8.0))
    assert positions.shape == (30, 6, 2)
    assert np.abs(positions[:, 0] - points).max() < 1e-2
    assert visible[:, 0].all()
    flow = scene.flow(2.0, 3.0)
    x, y = points.astype(int).T
    assert np.abs(positions[:, 1] - points - flow[y, x]).max() < 1e-3


def test_a_point_is_invisible_while_something_passes_over_it():
    scene = Scene(64, 64, (background(), block(Track(10.0, 4.0), Track(32.0))), STILL)
    _, visible = scene.tracks(np.array([[32.0, 32.0]]), 0.0, np.arange(12.0))
    assert visible[0].tolist() == [abs(10 + 4 * t - 32) > 4 for t in range(12)]


def test_a_point_is_invisible_outside_the_image():
    scene = Scene(64, 64, (background(), block(Track(50.0, 4.0), Track(32.0))), STILL)
    positions, visible = scene.tracks(np.array([[50.0, 32.0]]), 0.0, [0.0, 3.0, 4.0])
    assert positions[0, :, 0].tolist() == [50.0, 62.0, 66.0]
    assert visible[0].tolist() == [True, True, False]


def test_a_ripple_is_undone_to_a_thousandth_of_a_pixel():
    ripple = Ripple(amplitude=2.5, wavelength=40, frequency=0.3, phase=1.0)
    q = np.random.default_rng(0).uniform(-30, 30, (100, 2))
    assert np.abs(ripple.undo(q + ripple.displacement(q, 4.0), 4.0) - q).max() < 1e-3


def test_image_and_texture_positions_are_inverse_to_each_other():
    scene = scene_of(1, deform_share=1.0)
    points = np.random.default_rng(0).uniform(0, 96, (50, 2))
    for label in range(len(scene.layers)):
        there = scene.to_image(label, scene.to_texture(label, points, 5.0), 5.0)
        assert np.abs(there - points).max() < 1e-2


def test_a_frame_is_the_same_whatever_was_rendered_before():
    first, second = (random_scene(np.random.default_rng(3), 64, 64) for _ in range(2))
    for t in (0.0, 20.0):
        second.frame(t)
    assert np.array_equal(first.frame(5.0), second.frame(5.0))


def test_sensor_noise_differs_between_frames_and_has_its_strength():
    scene = Scene(64, 64, (background(128),), STILL, Optics(noise=5.0))
    first, second = scene.frame(0), scene.frame(1)
    assert abs(first.std() - 5) < 0.3
    assert not np.array_equal(first, second)


def test_exposure_scales_the_picture():
    scene = Scene(64, 64, (background(100),), STILL, Optics(gain=Wave((0.5,), (0.0,), (np.pi / 2,))))
    assert set(np.unique(scene.frame(0))) == {150}


def test_an_open_shutter_smears_what_moves_and_nothing_else():
    layers = (background(), block(Track(20.0, 6.0), Track(20.0)), block(Track(20.0), Track(45.0)))
    image = Scene(64, 64, layers, STILL, Optics(shutter=1.0)).frame(0)[..., 0]
    assert len(np.unique(image[20])) > 3
    assert len(np.unique(image[45])) == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_noise_square_is_invisible_in_a_frame_and_moves_between_frames(seed):
    scene = noise_square_scene(np.random.default_rng(seed), NoiseSquareConfig(height=128, width=128))
    frame, mask = scene.frame(0).astype(float)[..., 0], scene.mask(0).astype(bool)
    assert 0.08 < mask.mean() < 0.2
    # The same mean and spread inside and outside: uniform noise has 127.5 and 73.6.
    assert abs(frame[mask].mean() - frame[~mask].mean()) < 12
    assert abs(frame[mask].std() - frame[~mask].std()) < 8
    # Neighbours are as unlike inside as outside, whatever the position of the square: its grid is not out of step.
    for t in range(0, 12):
        grey, inside = scene.frame(t).astype(float)[..., 0], scene.mask(t).astype(bool)
        for axis in (0, 1):
            unlike = np.abs(np.diff(grey, axis=axis))
            both = inside[1:] & inside[:-1] if axis == 0 else inside[:, 1:] & inside[:, :-1]
            for first in (0, 1):
                columns = np.s_[first::2] if axis == 0 else np.s_[:, first::2]
                assert abs(unlike[columns][both[columns]].mean() - 85.3) < 8, "the mean difference of uniform values"
    # Still where both masks agree on background, changed where the square was or is.
    both = mask | scene.mask(3).astype(bool)
    changed = np.abs(scene.frame(3).astype(float)[..., 0] - frame) > 0
    assert not changed[~both].any()
    assert changed[both].mean() > 0.8
    steps = [np.argwhere(scene.mask(t)).mean(axis=0) for t in range(30)]
    assert np.abs(np.diff(steps, axis=0)).max() <= 5
    assert all(scene.mask(t).sum() == mask.sum() for t in range(30)), "it stays inside the image"


@pytest.mark.parametrize("options", [{"side": 0}, {"side": 1.0}, {"height": 8}])
def test_a_noise_square_that_does_not_fit_is_refused(options):
    with pytest.raises(ValueError, match="expected"):
        NoiseSquareConfig(**options)
