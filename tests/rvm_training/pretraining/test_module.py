"""The module's loss and gradient are the authors'; bad clips count nothing; divergence stops the run."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from rvm_model import RVM
from rvm_model.checkpoint import save_checkpoint
from rvm_model.keymap import entries
from rvm_training import configuration
from rvm_training.data.dataset import Batch
from rvm_training.data.manifest import Clip, Manifest
from rvm_training.pretraining.config import TrainConfig
from rvm_training.pretraining.consolidate import consolidate
from rvm_training.pretraining.curve import read_metrics
from rvm_training.pretraining.fit import attention, fit
from rvm_training.pretraining.module import Pretraining, TrainingStopped
from rvm_training.pretraining.network import make_network


def module_with(network: RVM, config: TrainConfig) -> Pretraining:
    module = Pretraining(config)
    module.network, module.average = network, None
    return module


def random_batch(seed: int = 0, clips: int = 4, size: int = 32, patches: int = 16) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        frames=[torch.from_numpy(rng.integers(0, 256, (4, size, size, 3), np.uint8)) for _ in range(clips)],
        deltas=torch.from_numpy(rng.integers(4, 9, (clips, 2))),
        permutation=torch.from_numpy(rng.permutation(patches)).expand(clips, 2, -1),
        valid=torch.ones(clips),
        problems=(),
    )


@pytest.mark.parametrize("name", ["reconstruct", "reconstruct_indep"])
def test_training_loss_and_gradient_equal_the_authors_code(golden, name):
    case = golden(name)
    network, arrays, meta = case.model, case.arrays, case.meta
    sources, targets = (torch.from_numpy(arrays[f"{kind}_frames"]) for kind in ("source", "target"))
    sizes = {"size": list(sources.shape[2:4]), "preset": "rvm_small16_256"}
    config = configuration.build(
        TrainConfig,
        {
            "model": sizes,
            "data": {"frames": {"sources": sources.shape[1], "targets": targets.shape[1]}},
            "objective": {"mask_ratio": float(meta["cfg"]["masking_ratio"])},
        },
    )
    batch = Batch(
        frames=list(torch.cat([sources, targets], dim=1).unbind(0)),
        deltas=torch.from_numpy(arrays["target_deltas"]),
        permutation=torch.from_numpy(arrays["inds"]),
        valid=torch.ones(len(sources)),
        problems=(),
    )
    loss = module_with(network, config).training_step(batch, 0)
    loss.backward()
    assert abs(loss.item() - float(arrays["loss"])) < 1e-5
    parameters = dict(network.named_parameters())
    norms = dict(zip(arrays["grad_names"].tolist(), arrays["grad_l2"].tolist(), strict=True))
    assert len(norms) == len(parameters)
    for entry in entries(network.config):
        got = parameters[entry.torch_name].grad.norm().item()
        # The biases of keys have no gradient but for rounding.
        assert got == pytest.approx(norms[entry.flax_name], rel=1e-4, abs=1e-7), entry.flax_name


def test_a_bad_clip_counts_nothing_and_the_batch_stays_its_size(tiny_run):
    config = tiny_run()
    module = module_with(make_network(config.model, 0), config)
    batch = random_batch()
    alone = [module.training_step(dataclasses.replace(batch, valid=torch.eye(4)[i]), 0).item() for i in range(4)]
    assert module.training_step(batch, 0).item() == pytest.approx(sum(alone), rel=1e-5)
    masked = dataclasses.replace(batch, valid=torch.tensor([1.0, 0.0, 1.0, 1.0]))
    assert module.training_step(masked, 0).item() == pytest.approx(sum(alone) - alone[1], rel=1e-5)
    module.network.zero_grad()
    module.training_step(dataclasses.replace(batch, valid=torch.zeros(4)), 0).backward()
    assert all(not parameter.grad.any() for parameter in module.network.parameters() if parameter.grad is not None)


EXTRAS = {
    "normalised patches": ["objective.normalize_patches=true"],
    "temporal consistency": ["objective.temporal_consistency=0.5"],
    "features that do not say where they are": ["objective.place=0.05", "objective.crowding=0.05"],
    "own masks": ["objective.shared_mask=false"],
    "one source (SiamMAE)": ["data.frames.sources=1"],
    "eight sources": ["data.frames.sources=8", "data.frames.delta_max=4"],
    "self-attention aggregator": ["model.aggregator=self_attention"],
    "one to four sources, the last state decoded": [
        "data.frames.sources=4",
        "data.frames.fewest_sources=1",
        "model.decoder_sees=last",
    ],
    "frames anywhere in larger ones": ["model.sizes.position=axes", "model.position_range=[8, 8]"],
    "states older than the sources": ["data.frames.replay=1", "objective.drift=0.05"],
    "deltas from the first source": ["data.frames.delta_origin=first"],
}


@pytest.mark.parametrize("words", EXTRAS.values(), ids=EXTRAS.keys())
def test_every_objective_and_ablation_trains(tiny_run, words):
    config = tiny_run("machine.stop_at_step=4", "log.checkpoint_every=4", "log.validate_every=4", *words)
    fit(config)
    metrics = read_metrics(config.folder)
    assert metrics["train/loss"][4] < metrics["train/loss"][1]
    if "shared_mask" not in words[0] and not words[0].startswith(
        ("objective", "data.frames.delta_origin", "data.frames.replay")
    ):
        assert metrics["train/loss"] == metrics["train/mse"]


@pytest.mark.parametrize(
    ("words", "fused"),
    [
        (["machine.precision=bfloat16"], False),
        (["machine.precision=bfloat16", "model.size=[96, 96]"], True),
        (["machine.precision=float32"], True),
    ],
)
def test_attention_is_plain_products_on_a_cpu_where_frames_have_few_patches_in_half_precision(tiny_run, words, fused):
    with attention(tiny_run(*words)):
        assert torch.backends.cuda.flash_sdp_enabled() == fused


def test_numbers_of_sources_take_turns_and_the_last_ones_stay(tiny_run, monkeypatch):
    seen = []
    original = RVM.reconstruct

    def noted(network, sources, targets, deltas, **options):
        seen.append((sources.shape[1], torch.equal(sources[:, -1], last)))
        return original(network, sources, targets, deltas, **options)

    batch = random_batch()
    last = batch.resized((32, 32))[:, 1]
    config = tiny_run("data.frames.fewest_sources=1", "model.decoder_sees=last")
    module = module_with(make_network(config.model, 0), config)
    monkeypatch.setattr(RVM, "reconstruct", noted)
    for step in range(3):
        monkeypatch.setattr(Pretraining, "global_step", step)
        module.training_step(batch, 0)
    module.validation_step(batch, 0)
    assert seen == [(1, True), (2, True), (1, True), (2, True)]


def test_the_loss_is_the_sum_of_what_is_asked_for(tiny_run):
    batch = random_batch()
    config = tiny_run("objective.temporal_consistency=0.5")
    network = make_network(config.model, 0)
    with torch.no_grad():
        plain = module_with(network, tiny_run()).training_step(batch, 0)
        extra = module_with(network, config).training_step(batch, 0)
        features = network.forward_clip(batch.resized((32, 32))[:, :2])[0]
    cosine = torch.nn.functional.cosine_similarity(features[:, 0], features[:, 1], dim=-1)
    assert extra.item() - plain.item() == pytest.approx(0.5 * (1 - cosine).mean().item(), rel=1e-4)


def test_objectives_of_a_whole_batch_leave_out_clips_without_frames(tiny_run):
    config = tiny_run("objective.place=0.5", "objective.crowding=0.5")
    module, batch = module_with(make_network(config.model, 0), config), random_batch()
    out = module._reconstruct(module.network, batch, batch.resized((32, 32)), 2)
    targets = batch.resized((32, 32))[:, 2:].float() / 255
    some = torch.tensor([1.0, 0.0, 1.0, 1.0])
    spoilt = dataclasses.replace(out, features=out.features.clone())
    spoilt.features[1] = 100
    with torch.no_grad():
        clean, other = (module._losses(each, targets, some)[0] for each in (out, spoilt))
    assert torch.equal(clean, other)


def test_normalised_patches_are_compared_with_normalised_targets_and_shown_as_pixels(tiny_run):
    config = tiny_run("objective.normalize_patches=true")
    module = module_with(make_network(config.model, 0), config)
    batch = random_batch()
    with torch.no_grad():
        loss = module.training_step(batch, 0).item()
        out = module.network.reconstruct(
            batch.resized((32, 32))[:, :2], batch.resized((32, 32))[:, 2:], batch.deltas, mask_ratio=0.75,
            permutation=batch.permutation,
        )  # fmt: skip
    targets = batch.resized((32, 32))[:, 2:].float() / 255
    patches = targets.reshape(4, 2, 4, 8, 4, 8, 3).transpose(3, 4).reshape(-1, 192)
    made = out.frames.reshape(4, 2, 4, 8, 4, 8, 3).transpose(3, 4).reshape(-1, 192)
    std = (patches.var(dim=1, keepdim=True) + 1e-6).sqrt()
    mean = patches.mean(dim=1, keepdim=True)
    assert loss == pytest.approx(((patches - mean) / std - made).square().mean().item(), rel=1e-4)
    mse = module.train_meter.take(lambda total: total)["mse"]
    assert mse == pytest.approx((made * std + mean - patches).square().mean().item(), rel=1e-4)


def test_a_perceptual_loss_takes_its_frozen_judge_from_a_file(tiny_run, tmp_path):
    judge = make_network(tiny_run().model, 5)
    save_checkpoint(judge, tmp_path / "judge.safetensors")
    config = tiny_run(
        "objective.perceptual=1.0", f"objective.perceptual_model={tmp_path / 'judge.safetensors'}",
        "machine.stop_at_step=2", "log.validate_every=2",
    )  # fmt: skip
    fit(config)
    metrics = read_metrics(config.folder)
    assert metrics["train/loss"][1] > metrics["train/mse"][1]


def test_every_other_turn_through_the_numbers_of_sources_begins_with_an_older_state(tiny_run, monkeypatch):
    config = tiny_run("data.frames.fewest_sources=1", "data.frames.replay=2", "objective.drift=0.5")
    module = module_with(make_network(config.model, 0), config)
    seen = []
    original = RVM.reconstruct

    def noted(network, sources, *arrays, state, **options):
        seen.append((sources.shape[1], state is not None))
        return original(network, sources, *arrays, state=state, **options)

    monkeypatch.setattr(RVM, "reconstruct", noted)
    losses = []
    for step in range(5):
        monkeypatch.setattr(Pretraining, "global_step", step)
        losses.append(module.training_step(random_batch(), 0).item())
    module.validation_step(random_batch(), 0)
    assert seen == [(1, False), (2, False), (1, True), (2, True), (1, False), (2, False)]
    assert losses[0] == losses[4]
    assert losses[2] != losses[0]


def test_a_batch_without_frames_has_no_drift_and_does_not_spoil_the_gradient(tiny_run, monkeypatch):
    config = tiny_run("data.frames.replay=1", "objective.drift=0.5")
    module = module_with(make_network(config.model, 0), config)
    monkeypatch.setattr(Pretraining, "global_step", 1)
    module.training_step(dataclasses.replace(random_batch(), valid=torch.zeros(4)), 0).backward()
    assert all(not parameter.grad.any() for parameter in module.network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective.drift=0.1"], "objective.drift: got 0.1 without data.frames.replay"),
        (["data.frames.replay=1", "model.aggregator=self_attention"], "replay: got 1 with the aggregator self_att"),
        (["data.frames.replay=-1"], "replay: got -1"),
        (["data.frames.replay=1", "machine.strategy=fsdp"], "replay: got 1 with machine.strategy=fsdp, expected ddp"),
    ],
)
def test_older_states_that_there_are_none_of_are_refused(tiny_run, words, message):
    with pytest.raises(ValueError, match=message):
        tiny_run(*words)


@pytest.mark.parametrize("fresh", [True, False])
def test_frames_lie_anywhere_within_the_range_of_places(tiny_run, tmp_path, monkeypatch, fresh):
    seen = []
    original = RVM.reconstruct

    def noted(network, *arrays, origin, **options):
        seen.append(origin)
        return original(network, *arrays, origin=origin, **options)

    axes = tiny_run("model.sizes.position=axes", "model.position_range=[5, 7]")
    save_checkpoint(make_network(axes.model, 0), tmp_path / "start.safetensors")
    # Asked for, or known to the weights that training starts from.
    config = axes if fresh else tiny_run("model.sizes=null", f"model.init={tmp_path / 'start.safetensors'}")
    module = module_with(make_network(config.model, 0), config)
    monkeypatch.setattr(RVM, "reconstruct", noted)
    for step in range(40):
        monkeypatch.setattr(Pretraining, "global_step", step)
        module.training_step(random_batch(), 0)
    assert {top for top, _ in seen} == {0, 1}  # Frames have four rows and columns of patches.
    assert {left for _, left in seen} == {0, 1, 2, 3}
    first = seen[0]
    monkeypatch.setattr(Pretraining, "global_step", 0)
    module.training_step(random_batch(), 0)
    assert seen[-1] == first, "a run that goes on is the same run"
    module.validation_step(random_batch(), 0)
    assert seen[-1] == (0, 0)


def test_the_average_of_the_first_steps_is_not_that_of_the_random_start(tiny_run):
    config = tiny_run("machine.stop_at_step=2", "optimizer.ema=0.999")
    fit(config)
    start, average, current = (
        torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        for network in (
            make_network(config.model, config.seed),
            consolidate(config.folder, "average"),
            consolidate(config.folder, "current"),
        )
    )
    assert (average - current).norm() < 0.5 * (average - start).norm()


def test_a_mask_that_hides_everything_by_rounding_is_refused(tiny_run):
    with pytest.raises(ValueError, match=r"0\.95 leaves none of 16 patches visible"):
        fit(tiny_run("objective.mask_ratio=0.95"))


def test_a_gradient_that_is_no_number_stops_and_spoils_no_checkpoint(tiny_run, monkeypatch):
    config = tiny_run("log.every=1")
    original = Pretraining.training_step

    def poisoned(self, batch, batch_idx):
        return original(self, batch, batch_idx) * (float("nan") if self.trainer.global_step == 2 else 1.0)

    monkeypatch.setattr(Pretraining, "training_step", poisoned)
    with pytest.raises(TrainingStopped, match=r"the gradient's norm is nan at step 3: .*optimizer\.lr"):
        fit(config)
    assert [path.name for path in (config.folder / "checkpoints").iterdir()] == ["step_00000002"]


def test_a_state_that_diverges_stops_the_run(tiny_run):
    with pytest.raises(
        TrainingStopped, match=r"the recurrent state's root mean square is .* above log\.max_state_rms 0\.01"
    ):
        fit(tiny_run("log.max_state_rms=0.01"))


@pytest.fixture
def manifest_words(tmp_path, video):
    """A run on two good videos and a bad one."""
    for name in ("a.mp4", "b.mp4"):
        video(name, frames=60, gop=10)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    rows = [Clip(name, 0, 60, 25.0, split=split) for name in ("a.mp4", "b.mp4") for split in ("train", "val")]
    path = tmp_path / "m.csv"

    def words(bad_weight: float) -> list[str]:
        Manifest.of([*rows, Clip("bad.mp4", 0, 60, 25.0, "videos", bad_weight)], tmp_path).write(path)
        return [f"data.manifest={path}"]

    return words


@pytest.mark.slow
def test_bad_videos_are_listed_and_training_goes_on(tiny_words, tiny_run, manifest_words, start_training):
    words = ["name=some", "machine.workers=1", "data.max_bad_share=0.9", *manifest_words(1.0)]
    config = tiny_run(*words)
    # In a fresh process: workers are forks, and a fork of one in which other tests loaded OpenVINO crashes.
    process = start_training([*tiny_words, *words])
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    with (config.folder / "quarantine_0.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all("bad.mp4: cannot be decoded" in row["problem"] for row in rows)
    metrics = read_metrics(config.folder)
    assert metrics["bad_share"][6] == pytest.approx(len(rows) / 48)
    assert all(np.isfinite(list(metrics["train/loss"].values())))


def test_too_many_bad_videos_stop_the_run(tiny_run, manifest_words):
    config = tiny_run("name=many", "optimizer.batch=64", "optimizer.steps=10", *manifest_words(8.0))
    with pytest.raises(
        TrainingStopped, match=r"of 256 clips could not be decoded, more than the share 0\.02 .*quarantine"
    ):
        fit(config)


def test_videos_resized_on_the_device_train_alike(tiny_run, manifest_words):
    curves = []
    for where in ("worker", "device"):
        config = tiny_run(f"name={where}", f"data.resize_on={where}", "machine.stop_at_step=2", *manifest_words(0.0))
        fit(config)
        curves.append(read_metrics(config.folder)["train/loss"])
    assert curves[0] == curves[1]


def test_initial_weights_do_not_depend_on_the_device_that_lightning_chose(tiny_run):
    config = tiny_run().model
    expected = make_network(config, 3).state_dict()
    with torch.device("meta"):
        got = make_network(config, 3).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
