"""The bundled model has learned, and its recurrence is worth something: at a size that a test can afford."""

from dataclasses import replace

import numpy as np

from rvm_model.weights import load_weights
from rvm_training.evaluation.footage import scenes
from rvm_training.evaluation.models.choose import Choice, load_model
from rvm_training.evaluation.noise_square import LINEAR, NoiseSquare, evaluate_noise_square
from rvm_training.evaluation.propagation import DAVIS, propagate_masks, score_objects, summary
from rvm_training.evaluation.reconstruction import ReconstructionSettings, evaluate_reconstruction
from rvm_training.synthetic.demo_clip import DemoClipConfig, render

MODEL = "rvm_nano"
SIZE = (64, 64)


def test_its_state_knows_of_a_square_that_no_single_frame_shows():
    settings = NoiseSquare(SIZE, clips=4, frames=16, settle=8, taught=8)
    model = load_model(Choice(MODEL), SIZE)
    assert evaluate_noise_square(model, settings).metrics[LINEAR] > 0.6
    assert evaluate_noise_square(model.frame_by_frame("still"), settings).metrics[LINEAR] < 0.15


def test_it_reconstructs_later_frames_of_scenes_it_never_saw_better_than_the_last_one_stands_for_them():
    settings = ReconstructionSettings(SIZE, deltas=(4, 8, 16), mask_ratios=(0.9,))
    clips = scenes(6, settings.frames, SIZE)
    curves = evaluate_reconstruction(*load_weights(MODEL), MODEL, clips, data="synthetic", settings=settings).curves
    made, copied = curves["PSNR 90%"], curves["PSNR copy"]
    assert all(ours > copy for ours, copy in zip(made, copied, strict=True)), (made, copied)
    assert made[-1] > copied[-1] + 2


def test_objects_marked_once_are_followed_by_its_features():
    size = (120, 160)
    # The demo's clip in a quarter of its frames: what moves far from one to the next.
    frames, gt = map(np.stack, zip(*render(DemoClipConfig(20, *size)), strict=True))
    protocol = replace(DAVIS, size=size)

    def overlap(name: str) -> float:
        pred = propagate_masks(load_model(Choice(name), size), frames, gt[0], protocol)
        return summary(score_objects("demo", gt, pred))["J-Mean"]

    assert overlap(MODEL) > max(0.3, 2 * overlap("pixels:8"))
