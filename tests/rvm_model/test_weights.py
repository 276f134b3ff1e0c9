"""Specifications of weights."""

import dataclasses

import pytest
import torch

from rvm_model import RVM, preset, save_checkpoint
from rvm_model.weights import (
    BUNDLED,
    RELEASED,
    cache_dir,
    file_sha256,
    load_weights,
    weights_config,
    weights_info,
    weights_path,
)


def test_untrained_weights_follow_their_seed_and_leave_the_global_generator_alone(monkeypatch, tiny_config):
    monkeypatch.setitem(__import__("rvm_model.config").config.PRESETS, "tiny", tiny_config)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, info = load_weights("untrained:tiny")
    assert torch.equal(torch.rand(3), expected)
    b, _ = load_weights("untrained:tiny:0")
    c, other = load_weights("untrained:tiny:1")
    assert torch.equal(a.cls_token, b.cls_token)
    assert not torch.equal(a.cls_token, c.cls_token)
    assert (info.trained, info.identity, other.identity) == (False, "untrained:tiny:0", "untrained:tiny:1")


def test_a_file_is_known_by_its_hash(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(tiny_model, path)
    model, info = load_weights(str(path))
    assert torch.equal(model.cls_token, tiny_model.cls_token)
    assert info.trained
    assert info.identity == f"sha256:{file_sha256(path)}"
    assert weights_info(str(path)) == info
    save_checkpoint(tiny_model, path, trained=False)
    assert not load_weights(str(path))[1].trained


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_released_model_that_is_not_here_says_how_to_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="rvm weights download large"):
        load_weights("rvm_large16_256")


def test_a_downloaded_release_is_found_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path))
    (tmp_path / RELEASED["rvm_small16_256"]).write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="cannot be read as .npz"):
        load_weights("rvm_small16_256")


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RVM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "rvm"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("untrained:nothing", "expected one of rvm_nano, rvm_small16_256"),
        ("untrained:rvm_small16_256:x", "got seed 'x'"),
    ],
)
def test_a_wrong_untrained_specification_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        load_weights(name)


def test_a_name_that_is_no_file_says_what_is_expected():
    with pytest.raises(FileNotFoundError, match="expected a path to .npz or .safetensors"):
        load_weights("rvm_tiny")


def test_the_bundled_model_is_small_trained_and_what_its_preset_says():
    network, info = load_weights("rvm_nano")
    path = weights_path("rvm_nano")
    assert info.trained
    assert info.identity == f"sha256:{file_sha256(path)}"
    assert path.stat().st_size < 16e6
    assert network.config == preset("rvm_nano") == weights_config("rvm_nano")
    assert f"`{info.identity}`" in path.with_suffix(".md").read_text(encoding="utf-8"), "the card is of other weights"


def test_a_bundled_model_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(BUNDLED, "rvm_nano", tmp_path / "rvm_nano.safetensors")
    with pytest.raises(FileNotFoundError, match="rvm_nano is not at .* install the package again, or give other"):
        load_weights("rvm_nano")


def test_the_size_to_run_at_is_told_without_loading_the_network(tiny_config, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(RVM(dataclasses.replace(tiny_config, patch_size=8, base_grid=(9, 12))), path)
    assert weights_config(str(path)).image_size == (72, 96)
    went_on = dataclasses.replace(tiny_config, patch_size=8, base_grid=(9, 12), trained_grid=(12, 16))
    save_checkpoint(RVM(went_on), path)
    assert weights_config(str(path)).image_size == (96, 128)
    save_checkpoint(RVM(dataclasses.replace(went_on, run_grid=(30, 40))), path)
    assert (weights_config(str(path)).image_size, weights_config(str(path)).training_size) == ((240, 320), (96, 128))
    assert weights_config("untrained:rvm_large16_256").image_size == (256, 256)
