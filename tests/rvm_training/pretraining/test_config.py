"""A run's configuration refuses what cannot be trained; its defaults are the paper's."""

import pytest

from rvm_training import configuration
from rvm_training.pretraining.config import TrainConfig


def load(*words):
    return configuration.load(TrainConfig, None, words)


def test_defaults_are_the_papers_recipe():
    config = load()
    assert (config.model.preset, config.model.size) == ("rvm_small16_256", (256, 256))
    frames = config.data.frames
    assert (frames.sources, frames.targets, frames.delta_min, frames.delta_max, frames.delta_origin) == (
        4,
        4,
        4,
        48,
        "last",
    )
    assert config.objective.mask_ratio == 0.95
    optimizer = config.optimizer
    assert (optimizer.batch, optimizer.steps, optimizer.lr, optimizer.weight_decay) == (2048, 1_000_000, 1.5e-4, 0.05)
    assert (optimizer.betas, optimizer.warmup_steps, optimizer.clip_norm) == ((0.9, 0.95), 10_000, 1.0)


def test_a_network_from_scratch_gets_its_position_code_for_the_training_size():
    sizes = load("model.size=[128, 96]").model.scratch()
    assert sizes.base_grid == (8, 6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.preset=null"], "got nothing, expected exactly one of preset, sizes, init"),
        (["model.init=x.npz"], r"got \['preset', 'init'\], expected exactly one"),
        (["model.preset=rvm_tiny"], "got 'rvm_tiny', expected one of"),
        (["model.size=[100, 100]"], "expected height and width to be multiples"),
        (["objective.mask_ratio=1.5"], "expected 0..1"),
        (["objective.perceptual=1"], "expected both or neither"),
        (["objective.temporal_consistency=-1"], "expected 0 or more"),
        (["optimizer.warmup_steps=11", "optimizer.steps=10"], "warm-up no longer than the whole"),
        (["optimizer.ema=1.0"], "expected a decay between 0 and 1"),
        (["machine.micro_batch=0"], "machine: micro_batch: got 0, expected at least 1"),
        (["machine.strategy=horovod"], "machine.strategy: got 'horovod'"),
        (["machine.stop_at_step=-1"], "machine: stop_at_step: got -1, expected at least 1"),
        (["log.every=0"], "log: every: got 0, expected at least 1"),
        (["log.keep_every=0"], "log: keep_every: got 0, expected at least 1"),
        (["optimizer.lr=0"], "got lr 0.0 and clip_norm 1.0, expected both above 0"),
        (["optimizer.lr=.nan"], "got lr nan"),
        (["optimizer.clip_norm=0"], "or no clip_norm"),
        (["data.max_bad_share=2"], "data: max_bad_share: got 2.0, expected 0..1"),
        (["seed=-1"], "seed: got -1, expected 0 or more"),
    ],
)
def test_what_cannot_be_trained_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        load(*words)
