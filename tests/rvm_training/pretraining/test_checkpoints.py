"""Checkpoints are whole or absent, thinned out by the rule, and become weights that load anywhere."""

import pytest
import torch

from rvm_model.checkpoint import load_checkpoint
from rvm_training.__main__ import main
from rvm_training.pretraining.checkpoints import to_remove
from rvm_training.pretraining.consolidate import consolidate
from rvm_training.pretraining.fit import fit
from rvm_training.pretraining.run_folder import STATE, complete, latest, step_of


def make(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_only_complete_checkpoints_are_found_in_order(tmp_path):
    make(tmp_path, "step_00000100", "step_00000020", "step_00000200.partial", "other")
    assert [step_of(path) for path in complete(tmp_path)] == [20, 100]
    assert latest(tmp_path).name == "step_00000100"
    assert latest(tmp_path / "nothing") is None


def test_a_folder_of_another_name_has_no_step(tmp_path):
    with pytest.raises(ValueError, match="expected a folder named like step_00001000"):
        step_of(tmp_path / "last")


def test_the_last_ones_and_multiples_stay(tmp_path):
    make(tmp_path, *(f"step_{step:08d}" for step in range(10, 80, 10)))
    found = complete(tmp_path)
    assert [step_of(path) for path in to_remove(found, 2, None)] == [10, 20, 30, 40, 50]
    assert [step_of(path) for path in to_remove(found, 2, 20)] == [10, 30, 50]
    assert to_remove(found[:2], 2, None) == []


def test_a_run_keeps_what_the_rule_says_and_clears_what_was_unfinished(tiny_run):
    config = tiny_run("log.checkpoint_every=1", "log.keep_last=2", "log.keep_every=3")
    make(config.folder / "checkpoints", "step_00000003.partial")
    fit(config)
    assert sorted(path.name for path in (config.folder / "checkpoints").iterdir()) == [
        "step_00000003", "step_00000005", "step_00000006",
    ]  # fmt: skip


@pytest.mark.parametrize(("which", "prefix"), [(None, "average."), ("average", "average."), ("current", "network.")])
def test_a_checkpoint_becomes_the_weights_that_were_trained(tiny_run, which, prefix):
    config = tiny_run("machine.stop_at_step=2")
    fit(config)
    network = consolidate(config.folder, which)
    stored = torch.load(latest(config.folder / "checkpoints") / STATE, weights_only=True)["state_dict"]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, stored[prefix + name])
    assert network.config == config.model.scratch()


def test_an_average_that_was_not_kept_is_told(tiny_run):
    config = tiny_run("machine.stop_at_step=2", "optimizer.ema=null")
    fit(config)
    with pytest.raises(ValueError, match="the run kept no average"):
        consolidate(config.folder, "average")
    consolidate(config.folder)


def test_a_folder_without_checkpoints_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a checkpoint"):
        consolidate(tmp_path)


@pytest.mark.slow
def test_shards_become_the_same_file_as_one_process_writes(tiny_words, tiny_run, start_training, tmp_path):
    process = start_training(
        [*tiny_words, "name=sharded", "machine.devices=2", "machine.strategy=fsdp", "machine.stop_at_step=2"]
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    config = tiny_run("name=whole", "machine.stop_at_step=2")
    fit(config)
    for which in ("average", "current"):
        sharded, whole = (consolidate(tmp_path / name, which) for name in ("sharded", "whole"))
        for (name, got), expected in zip(sharded.state_dict().items(), whole.state_dict().values(), strict=True):
            # The biases of keys have no gradient but for rounding, which Adam scales up.
            assert torch.allclose(got, expected, atol=1e-5) or name.endswith("key.bias"), name


def test_a_run_that_is_done_leaves_its_weights_to_start_another_from(tiny_words, tmp_path, capsys):
    assert main(["train", *tiny_words, "name=first"]) == 0
    assert "first: 6 of 6 steps, weights.safetensors" in capsys.readouterr().out
    weights = tmp_path / "first" / "weights.safetensors"
    assert main(["train", *tiny_words, "name=half", "machine.stop_at_step=2"]) == 0
    assert "half: 2 of 6 steps, curve.png" in capsys.readouterr().out
    assert not (tmp_path / "half" / "weights.safetensors").exists()  # Nobody shall take it for what it is not.
    kept, left = consolidate(tmp_path / "first"), load_checkpoint(weights)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), left.parameters(), strict=True))
    second = ["name=second", "model.sizes=null", f"model.init={weights}", "optimizer.steps=2"]
    assert main(["train", *(word for word in tiny_words if not word.startswith("model.sizes")), *second]) == 0


def test_the_command_lists_and_consolidates(tiny_run, tmp_path, capsys):
    config = tiny_run("machine.stop_at_step=2")
    fit(config)
    assert main(["checkpoint", "list", str(config.folder)]) == 0
    assert capsys.readouterr().out.strip().endswith("step_00000002")
    out = tmp_path / "w.safetensors"
    assert main(["checkpoint", "consolidate", str(config.folder), str(out), "--no-decoder", "--dtype", "float16"]) == 0
    assert "step 2" in capsys.readouterr().out
    loaded = load_checkpoint(out)
    assert loaded.config.decoder is None
    frames = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    expected = consolidate(config.folder).eval()
    with torch.no_grad():
        assert torch.allclose(loaded.step(frames)[0], expected.step(frames)[0], atol=2e-2)
