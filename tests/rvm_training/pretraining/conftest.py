"""Runs that take seconds: a tiny network on rendered scenes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rvm_training import configuration
from rvm_training.pretraining.config import TrainConfig

ROOT = Path(__file__).resolve().parents[3]

TINY: dict[str, Any] = {
    "model": {
        "preset": None,
        "sizes": {
            "dim": 16, "encoder_depth": 1, "encoder_heads": 2, "encoder_mlp_dim": 32, "core_depth": 1, "core_heads": 2,
            "core_mlp_dim": 32, "patch_size": 8, "decoder": {"depth": 1, "dim": 16, "heads": 2, "mlp_dim": 32},
        },
        "size": [32, 32],
    },
    "data": {"frames": {"sources": 2, "targets": 2, "delta_max": 8}, "crop": {"area": [0.5, 1.0]}},
    "objective": {"mask_ratio": 0.75},
    "optimizer": {"batch": 8, "steps": 6, "lr": 1e-2, "warmup_steps": 2, "ema": 0.5},
    "machine": {"accelerator": "cpu", "micro_batch": 8, "workers": 0},
    "log": {"every": 1, "validate_every": 3, "validation_clips": 8, "checkpoint_every": 2, "tensorboard": False},
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_config():
    """Maker of the tiny run's configuration in a folder, with further `key=value` words."""
    return lambda out, *words: configuration.load(TrainConfig, None, [f"out={out}", *_words(TINY, ""), *words])


@pytest.fixture
def tiny_words(tmp_path) -> list[str]:
    """`key=value` words of the tiny run, in the test's folder."""
    return [f"out={tmp_path}", *_words(TINY, "")]


@pytest.fixture
def tiny_run(tiny_config, tmp_path):
    """Maker of the tiny run's configuration in the test's folder, with further words."""
    return lambda *words: tiny_config(tmp_path, *words)


@pytest.fixture
def start_training():
    """Starter of `rvm train` as a user starts it, with an optional launcher before it; killed when the test ends."""
    started = []

    def start(words: list[str], launcher: tuple[str, ...] = ()) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'training'}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *launcher, "-m", "rvm_training", "train", *words]
        started.append(
            # A process group of its own, as a shell gives it.
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _words(values: dict[str, Any], prefix: str) -> list[str]:
    words = []
    for name, value in values.items():
        if isinstance(value, dict) and name != "decoder":
            words += _words(value, f"{prefix}{name}.")
        else:
            words.append(f"{prefix}{name}={'null' if value is None else value}")
    return words
