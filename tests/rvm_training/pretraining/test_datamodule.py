"""What the trainer gets to see of the data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rvm_training.data.manifest import Clip, Manifest
from rvm_training.pretraining.datamodule import ClipDataModule


def data_of(config) -> ClipDataModule:
    return ClipDataModule(config, patches=16, accumulate=1, micro_batch=8)


@pytest.mark.parametrize(("device", "waits_not"), [("cuda", True), ("cpu", False)])
def test_batches_go_to_a_gpu_without_waiting(tiny_run, device, waits_not):
    asked = []
    batch = SimpleNamespace(to=lambda device, non_blocking: asked.append((device.type, non_blocking)))
    data_of(tiny_run()).transfer_batch_to_device(batch, torch.device(device), 0)
    assert asked == [(device, waits_not)]


def test_validation_takes_the_sources_of_the_mixture_that_it_has(tiny_run, tmp_path, video, capsys):
    rows = [
        Clip(video(f"{name}.mp4", frames=frames).name, 0, frames, 25.0, source, split=split)
        for name, frames, source, split in (
            ("a", 40, "x", "train"), ("b", 40, "y", "train"), ("c", 40, "x", "val"), ("d", 4, "y", "val"),
        )
    ]  # fmt: skip
    Manifest.of(rows, tmp_path).write(tmp_path / "m.csv")
    data = data_of(tiny_run(f"data.manifest={tmp_path}/m.csv", "data.mixture={x: 0.5, y: 0.5}"))
    for training in (True, False):
        clip = data.clip_source(training=training).draw(np.random.default_rng(0))
        assert clip.frames.shape == (4, 48, 64, 3)
    assert "split val: 1 of 2 clips are shorter than" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"split train: got a mixture of \['x'\], expected the sources \['x', 'y'\]"):
        data_of(tiny_run(f"data.manifest={tmp_path}/m.csv", "data.mixture={x: 1}")).clip_source(training=True)
