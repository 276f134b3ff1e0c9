"""Samples are a pure function of seed and index; steps deal them out alike to any number of processes."""

import itertools

import numpy as np
import pytest
import torch

from rvm_training.data.crop import CropConfig
from rvm_training.data.dataset import TRAIN_STREAM, VALIDATION_STREAM, ClipDataset, StepSampler, collate
from rvm_training.data.frames import FrameSampling
from rvm_training.data.manifest import Clip, Manifest
from rvm_training.data.mixture import Mixture
from rvm_training.data.sources import SceneSource, VideoSource
from rvm_training.synthetic.generate import SceneConfig

SAMPLING = FrameSampling(sources=2, targets=3, delta_max=12)


def dataset(source=None, *, seed=0, stream=TRAIN_STREAM, crop=(32, 32), mask_group=4, resize_to=(32, 32)):
    source = source or SceneSource(SceneConfig(), SAMPLING, (32, 32))
    return ClipDataset(
        source, seed=seed, stream=stream, sampling=SAMPLING, patches=16, crop=crop, resize_to=resize_to,
        mask_group=mask_group,
    )  # fmt: skip


def test_a_sample_depends_on_seed_stream_and_index_alone():
    first, again = dataset(crop=CropConfig()), dataset(crop=CropConfig())
    for _ in (again[5], again[0]):
        pass  # What was drawn before does not matter.
    assert torch.equal(first[3].frames, again[3].frames)
    assert torch.equal(first[3].deltas, again[3].deltas)
    others = dataset(seed=1, crop=CropConfig()), dataset(stream=VALIDATION_STREAM, crop=CropConfig())
    for other in (others[0][3], others[1][3], first[4]):
        assert not torch.equal(first[3].frames, other.frames)
        assert not torch.equal(first[3].permutation, other.permutation)


def test_rendered_clips_reach_the_largest_delta():
    source = SceneSource(SceneConfig(), FrameSampling(delta_max=48, frame_stride=2), (16, 16))
    deltas = [delta for seed in range(60) for delta in source.draw(np.random.default_rng(seed)).deltas]
    assert max(deltas) == 48
    assert min(deltas) == 4


def test_a_sample_has_sources_then_targets_of_the_wanted_size():
    sample = dataset()[0]
    assert sample.frames.shape == (5, 32, 32, 3)
    assert sample.frames.dtype == torch.uint8
    assert sample.deltas.shape == (3,)
    assert sample.deltas.min() >= 4
    assert sample.deltas.max() <= 12


def test_a_mask_is_shared_within_its_group_only():
    data = dataset(mask_group=4)
    masks = [data[i].permutation for i in range(8)]
    assert all(torch.equal(masks[0], mask) for mask in masks[:4])
    assert torch.equal(masks[0][0], masks[0][2])
    assert not torch.equal(masks[0], masks[4])
    assert masks[0][0].sort().values.tolist() == list(range(16))


def test_without_a_group_each_sample_and_target_has_its_own_mask():
    data = dataset(mask_group=None)
    rows = {tuple(row.tolist()) for i in range(3) for row in data[i].permutation}
    assert len(rows) == 9


def test_videos_come_with_the_right_frames(tmp_path, video, numbers):
    video(frames=80, gop=10)
    manifest = Manifest.of([Clip("video.mp4", 20, 60, 25.0)], tmp_path)
    source = VideoSource(manifest, Mixture(manifest, None), SAMPLING, "pyav")
    sample = dataset(source)[7]
    shown = numbers(sample.frames.numpy())
    assert shown[1] == shown[0] + 1
    assert [target - shown[1] for target in shown[2:]] == sample.deltas.tolist()
    assert min(shown) >= 20


def test_a_bad_video_is_a_sample_without_frames_and_never_another_clip(tmp_path, video):
    video("good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"x")
    manifest = Manifest.of([Clip("good.mp4", 0, 80, 25.0), Clip("bad.mp4", 0, 80, 25.0)], tmp_path)
    data = dataset(VideoSource(manifest, Mixture(manifest, None), SAMPLING, "pyav"))
    samples = [data[i] for i in range(12)]
    bad = [sample for sample in samples if sample.frames is None]
    assert 0 < len(bad) < 12
    assert all("bad.mp4: cannot be decoded" in sample.problem for sample in bad)
    batch = collate(samples, SAMPLING, (32, 32))
    assert batch.valid.tolist() == [float(sample.frames is not None) for sample in samples]
    assert len(batch.problems) == len(bad)
    frames = batch.resized((32, 32))
    assert frames.shape == (12, 5, 32, 32, 3)
    assert not frames[batch.valid == 0].any()


def test_resizing_later_gives_the_same_pixels_as_resizing_in_the_worker():
    source = SceneSource(SceneConfig(), SAMPLING, (48, 64))
    now, later = (dataset(source, crop=CropConfig(), resize_to=size) for size in ((32, 32), None))
    batch = collate([later[i] for i in range(3)], SAMPLING, (32, 32))
    assert torch.equal(batch.resized((32, 32)), torch.stack([now[i].frames for i in range(3)]))


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 1)])
def test_every_layout_deals_out_the_same_global_batches(world_size, accumulate):
    batch = 8
    micro = batch // world_size // accumulate
    samplers = [
        StepSampler(first_step=3, micro_batch=micro, accumulate=accumulate, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    dealt = [list(itertools.islice(sampler, 2 * accumulate)) for sampler in samplers]
    for step in range(2):
        indices = [i for mine in dealt for part in mine[step * accumulate : (step + 1) * accumulate] for i in part]
        assert sorted(indices) == list(range((3 + step) * batch, (4 + step) * batch))


def test_a_batch_moves_as_a_whole():
    batch = collate([dataset()[i] for i in range(2)], SAMPLING, (32, 32)).to(torch.device("meta"))
    tensors = [*batch.frames, batch.deltas, batch.permutation, batch.valid]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_scenes_are_drawn_anew_for_each_sample():
    data = dataset()
    means = {round(float(data[i].frames.float().mean()), 3) for i in range(6)}
    assert len(means) == 6
    assert np.ptp(list(means)) > 5
