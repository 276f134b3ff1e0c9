"""The same training whatever the layout, and whatever interrupts it."""

import functools
import importlib.util
import math
import os
import signal
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch

from rvm_training import configuration
from rvm_training.pretraining.curve import read_metrics
from rvm_training.pretraining.fit import check_resumable, fit
from rvm_training.pretraining.module import TrainingStopped
from rvm_training.pretraining.run_folder import STATE, complete, latest

WAIT_S = 120


def losses(folder) -> dict[int, float]:
    return read_metrics(folder)["train/loss"]


def assert_same_curve(got: dict[int, float], expected: dict[int, float], relative: float) -> None:
    assert got.keys() == expected.keys()
    for step, loss in expected.items():
        assert math.isclose(got[step], loss, rel_tol=relative), f"step {step}: got {got[step]}, expected {loss}"


def finish(process) -> str:
    output, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, output
    return output


@dataclass(frozen=True)
class Reference:
    """An undisturbed run in one process."""

    metrics: dict[str, dict[int, float]]
    weights: dict[str, torch.Tensor]

    @property
    def losses(self) -> dict[int, float]:
        return self.metrics["train/loss"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the processes that tests start: the number of threads changes the rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference(tiny_config, tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("reference"))
    result = fit(config)
    assert (result.step, result.preempted) == (6, None)
    metrics = read_metrics(config.folder)
    assert list(metrics["train/loss"]) == [1, 2, 3, 4, 5, 6]
    return Reference(metrics, weights(config.folder))


def weights(folder) -> dict[str, torch.Tensor]:
    state = torch.load(latest(folder / "checkpoints") / STATE, weights_only=True)
    return state["state_dict"]


def assert_same_weights(folder, expected: dict[str, torch.Tensor]) -> None:
    got = weights(folder)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def test_gradient_accumulation_equals_the_big_batch(tiny_run, reference):
    config = tiny_run("name=accumulated", "machine.micro_batch=2")
    fit(config)
    assert_same_curve(losses(config.folder), reference.losses, 1e-5)


@pytest.mark.parametrize("checkpointing", ["step", "block"])
def test_recomputing_activations_changes_nothing(tiny_run, reference, checkpointing):
    config = tiny_run(f"name={checkpointing}", f"machine.checkpointing={checkpointing}")
    fit(config)
    assert_same_curve(losses(config.folder), reference.losses, 1e-6)
    assert weights(config.folder).keys() == reference.weights.keys()


def test_workers_change_nothing(tiny_words, tiny_run, reference, start_training):
    # In a fresh process: workers are forks, and a fork of one in which other tests loaded OpenVINO crashes.
    words = ["name=workers", "machine.workers=2"]
    finish(start_training([*tiny_words, *words]))
    folder = tiny_run(*words).folder
    assert losses(folder) == reference.losses
    assert_same_weights(folder, reference.weights)


def test_compiled_blocks_change_nothing(tiny_run, reference, monkeypatch):
    # Captured, and differentiated ahead of time, but not made into C++: that is torch's own, and takes half a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    config = tiny_run("machine.compile=true", "machine.checkpointing=block", "machine.stop_at_step=2")
    torch._dynamo.utils.counters.clear()
    fit(config)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "something was compiled"
    expected = {step: loss for step, loss in reference.losses.items() if step <= 2}
    assert_same_curve(losses(config.folder), expected, 1e-5)


def test_bfloat16_trains_alike_on_a_cpu(tiny_run, reference):
    result = fit(tiny_run("machine.precision=bfloat16"))
    half = losses(result.folder)
    assert_same_curve(half, reference.losses, 0.02)
    assert half != reference.losses


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        ["machine.strategy=ddp"],
        ["machine.strategy=fsdp"],
        ["machine.strategy=fsdp", "machine.checkpointing=step", "machine.micro_batch=2"],
    ],
    ids=["ddp", "fsdp", "fsdp, recomputing, accumulating"],
)
def test_two_processes_equal_one(tiny_words, tiny_run, reference, start_training, layout):
    finish(start_training([*tiny_words, "name=two", "machine.devices=2", *layout]))
    folder = tiny_run("name=two").folder
    assert_same_curve(losses(folder), reference.losses, 1e-5)
    metrics = read_metrics(folder)
    for name in ("val/mse", "val/ssim", "grad_norm", "train/state_rms"):
        assert_same_curve(metrics[name], reference.metrics[name], 1e-4)


@pytest.mark.parametrize("stop", [2, 4])
def test_a_run_that_was_stopped_goes_on_exactly(tiny_run, reference, stop):
    config = tiny_run("name=stopped", f"machine.stop_at_step={stop}")
    assert fit(config).step == stop
    assert fit(tiny_run("name=stopped")).step == 6
    assert losses(config.folder) == reference.losses
    assert_same_weights(config.folder, reference.weights)


@pytest.mark.parametrize(("before", "after"), [(8, 4), (4, 8), (4, 2)])
def test_the_number_of_micro_batches_may_change_on_the_way(tiny_run, reference, before, after):
    fit(tiny_run("name=stopped", "machine.stop_at_step=1", f"machine.micro_batch={before}"))
    config = tiny_run("name=stopped", f"machine.micro_batch={after}")
    fit(config)
    assert_same_curve(losses(config.folder), reference.losses, 1e-5)
    for name in ("grad_norm", "val/mse"):
        assert_same_curve(read_metrics(config.folder)[name], reference.metrics[name], 1e-4)


@pytest.mark.slow
def test_a_run_killed_between_checkpoints_goes_on_exactly(tiny_words, tiny_run, reference, start_training):
    config = tiny_run("name=killed")
    process = start_training([*tiny_words, "name=killed"])
    # Step 5 is done and its checkpoint is not due: the last one is of step 4.
    wait_for(lambda: 5 in read_metrics(config.folder).get("train/loss", {}), process)
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)
    assert fit(config).step == 6
    assert losses(config.folder) == reference.losses
    assert_same_weights(config.folder, reference.weights)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_preempted_run_saves_and_says_so_and_goes_on(tiny_words, tiny_run, start_training, number):
    words = ["optimizer.steps=100000", "log.checkpoint_every=100000", "log.validate_every=2", "machine.workers=1"]
    config = tiny_run("name=preempted", *words)
    process = start_training([*tiny_words, "name=preempted", *words])
    wait_for(lambda: 3 in read_metrics(config.folder).get("train/loss", {}), process)
    os.killpg(process.pid, number)  # As a terminal and SLURM do: to the data workers too.
    output, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 75, output
    assert f"stopped by {number.name} after step" in output
    step = max(losses(config.folder))
    assert [path.name for path in complete(config.folder / "checkpoints")] == [f"step_{step:08d}"]
    # Without workers, for they are forks: see above.
    words = [*words, "machine.workers=0", f"machine.stop_at_step={step + 1}"]
    assert fit(tiny_run("name=preempted", *words)).step == step + 1


@pytest.mark.slow
def test_the_number_of_processes_may_change_on_the_way(tiny_words, tiny_run, reference, start_training):
    name = "name=resized"
    assert fit(tiny_run(name, "machine.stop_at_step=4")).step == 4
    finish(start_training([*tiny_words, name, "machine.devices=2"]))
    assert_same_curve(losses(tiny_run(name).folder), reference.losses, 1e-5)


@pytest.mark.slow
def test_torchrun_inside_a_slurm_job_says_how_many_processes_there_are(
    tiny_words, tiny_run, start_training, monkeypatch
):
    for name, value in {"NTASKS": "1", "NTASKS_PER_NODE": "1", "NNODES": "1", "JOB_NAME": "rvm", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    finish(start_training([*tiny_words, "machine.devices=2", "machine.stop_at_step=1"], torchrun))
    assert list(losses(tiny_run().folder)) == [1]


def test_validation_clips_are_the_same_for_any_micro_batch(tiny_run):
    wanted = {}
    for micro_batch in (8, 4, 1):
        config = tiny_run(
            f"name=by{micro_batch}", f"machine.micro_batch={micro_batch}", "log.validation_clips=5",
            "machine.stop_at_step=1", "log.validate_every=1",
        )  # fmt: skip
        fit(config)
        wanted[micro_batch] = read_metrics(config.folder)["val/mse_copy_last"][1]
    assert wanted[8] == pytest.approx(wanted[1], rel=1e-6)
    assert wanted[4] == pytest.approx(wanted[1], rel=1e-6)


def test_a_checkpoint_that_cannot_be_written_stops_the_run_and_says_what_to_do(tiny_run, reference, monkeypatch):
    config = tiny_run()
    replace = Path.replace

    def full(path, target):
        if path.name == "step_00000004.partial":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(TrainingStopped, match="step_00000004.partial could not be written .*No space left"):
            fit(config)
    assert fit(config).step == 6
    assert losses(config.folder) == reference.losses


@pytest.mark.slow
def test_sharded_runs_go_on_with_another_number_of_processes(tiny_words, tiny_run, reference, start_training):
    words = [*tiny_words, "name=sharded", "machine.strategy=fsdp"]
    finish(start_training([*words, "machine.devices=2", "machine.stop_at_step=4"]))
    finish(start_training([*words, "machine.devices=1"]))
    assert_same_curve(losses(tiny_run("name=sharded").folder), reference.losses, 1e-5)


def wait_for(condition, process) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_resumed_run_must_have_the_settings_that_it_had(tiny_run, tmp_path):
    before = tiny_run()
    check_resumable(before, tiny_run("machine.micro_batch=1", "log.every=3", "data.max_bad_share=0.5"), tmp_path)
    with pytest.raises(ValueError, match=r"optimizer\.lr was 0\.01, is 0\.001; .*|objective\.mask_ratio was 0\.75"):
        check_resumable(before, tiny_run("optimizer.lr=1e-3", "objective.mask_ratio=0.9"), tmp_path)


def test_objectives_over_a_micro_batch_keep_its_size(tiny_run, tmp_path):
    for objective in ("crowding", "place", "drift"):
        of = functools.partial(tiny_run, f"objective.{objective}=0.1", "data.frames.replay=1")
        check_resumable(of("machine.micro_batch=2"), of("machine.devices=4"), tmp_path)
        for change in ("machine.micro_batch=4", "machine.devices=2", "machine.nodes=2"):
            with pytest.raises(ValueError, match=r"clips of a micro-batch .* was 8, is 4"):
                check_resumable(of(), of(change), tmp_path)
            with pytest.raises(ValueError, match=r"clips of a micro-batch .* was 4, is 8"):
                check_resumable(of(change), of(), tmp_path)
    with pytest.raises(ValueError, match=r"objective.place: got micro-batches of 1 clip, expected at least 2"):
        fit(tiny_run("objective.place=0.1", "machine.micro_batch=1"))


@pytest.mark.parametrize(("before", "now"), [("auto", "fsdp"), ("fsdp", "ddp")])
def test_a_resumed_run_must_be_sharded_as_it_was(tiny_run, tmp_path, before, now):
    check_resumable(tiny_run(), tiny_run("machine.strategy=ddp"), tmp_path)
    with pytest.raises(ValueError, match=f"machine.strategy {before}, got {now}: .* `rvm checkpoint consolidate`"):
        check_resumable(tiny_run(f"machine.strategy={before}"), tiny_run(f"machine.strategy={now}"), tmp_path)


def test_a_run_can_be_started_again_only_as_itself(tiny_run):
    fit(tiny_run("machine.stop_at_step=2"))
    with pytest.raises(ValueError, match=r"step_00000002 belongs to a run with other settings: seed was 0, is 1"):
        fit(tiny_run("seed=1"))


def test_the_runs_folder_holds_configuration_curve_and_pictures(tiny_run):
    config = tiny_run("log.tensorboard=true", "machine.stop_at_step=3")
    fit(config)
    names = {path.relative_to(config.folder).as_posix() for path in config.folder.rglob("*")}
    assert {"config.yaml", "curve.png", "pictures/step_00000003.png", "metrics/version_0/metrics.csv"} <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    kept = configuration.load(type(config), config.folder / "config.yaml")
    assert kept == replace(config, machine=replace(config.machine, devices=1))


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="the error is for machines without it")
def test_without_wandb_a_run_that_asks_for_it_does_not_start(tiny_run):
    with pytest.raises(ValueError, match="pip install wandb"):
        fit(tiny_run("log.wandb_project=mine"))
