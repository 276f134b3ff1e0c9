"""Checkpoints: the key map is a bijection, round trips are exact, and damaged files are refused by name."""

import dataclasses
import io
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from rvm_model import RVM, CheckpointError, load_checkpoint, save_checkpoint
from rvm_model.checkpoint import flax_arrays, read_config
from rvm_model.keymap import entries, infer_config


@pytest.fixture
def npz(tiny_model, tmp_path):
    """Function writing the tiny model's arrays, changed by a callback, as a released file."""

    def write(change=lambda arrays: None):
        arrays = flax_arrays(tiny_model)
        change(arrays)
        path = tmp_path / "weights.npz"
        np.savez(path, **arrays)
        return path

    return write


def assert_same_weights(a: RVM, b: RVM) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


@pytest.mark.parametrize("with_decoder", [True, False])
def test_key_map_names_every_parameter_once_on_both_sides(tiny_config, with_decoder):
    config = tiny_config if with_decoder else dataclasses.replace(tiny_config, decoder=None)
    mapped = entries(config)
    assert len({entry.flax_name for entry in mapped}) == len(mapped)
    assert sorted(entry.torch_name for entry in mapped) == sorted(RVM(config).state_dict())


def test_every_layout_survives_the_round_trip(tiny_model):
    rng = np.random.default_rng(0)
    for entry in entries(tiny_model.config):
        array = rng.random(entry.flax_shape, np.float32)
        as_torch = entry.to_torch(array)
        assert as_torch.shape == tuple(tiny_model.state_dict()[entry.torch_name].shape), entry.flax_name
        np.testing.assert_array_equal(entry.to_flax(as_torch), array)


def test_sizes_and_heads_are_read_off_the_arrays(tiny_model, npz):
    loaded = load_checkpoint(npz(), base_grid=(3, 5))
    assert loaded.config == tiny_model.config
    assert not loaded.training
    assert_same_weights(loaded, tiny_model)


def test_a_checkpoint_without_a_decoder_loads_and_cannot_reconstruct(tiny_model, npz):
    def drop_decoder(arrays):
        for name in [n for n in arrays if n.startswith(("decoder", "delta_", "detok")) or n == "mask_token"]:
            del arrays[name]

    loaded = load_checkpoint(npz(drop_decoder), base_grid=(3, 5))
    assert loaded.decoder is None
    frames = torch.randint(0, 256, (1, 48, 80, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded.step(frames)[0], tiny_model.step(frames)[0])


def test_safetensors_round_trip_keeps_weights_and_configuration(tiny_model, tmp_path):
    save_checkpoint(tiny_model, tmp_path / "model.safetensors", metadata={"note": "hello"})
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == tiny_model.config
    assert_same_weights(loaded, tiny_model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_half_precision_file_loads_as_float32(tiny_model, tmp_path):
    save_checkpoint(tiny_model, tmp_path / "half.safetensors", dtype=torch.float16)
    loaded = load_checkpoint(tmp_path / "half.safetensors")
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tiny_model.state_dict()[name].half().float()), name


def test_loaded_weights_survive_the_file_being_truncated(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(tiny_model, path)
    loaded = load_checkpoint(path)
    path.write_bytes(b"")
    assert_same_weights(loaded, tiny_model)


def test_base_grid_of_a_safetensors_can_be_overridden(tiny_model, tmp_path):
    save_checkpoint(tiny_model, tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path / "model.safetensors", base_grid=(7, 9)).config.base_grid == (7, 9)


KERNEL = "encoder/layers_1/mlp/dense_in/kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop(KERNEL), f"missing {KERNEL}"),
        (lambda a: a.pop("delta_embedder/bias"), "missing delta_embedder/bias"),
        (
            lambda a: a.update({"encoder/extra/kernel": np.zeros(3, np.float32)}),
            "unexpected encoder/extra/kernel",
        ),
        (
            lambda a: a.update({KERNEL: np.zeros((24, 41), np.float32)}),
            f"{KERNEL} has shape (24, 41), expected (24, 40)",
        ),
        (lambda a: a.update({"cls_token": np.zeros((1, 24), np.int64)}), "cls_token has dtype int64"),
        (
            lambda a: a.pop("tokenizer/patch_embedding/Conv_0/kernel"),
            "Conv_0/kernel is missing or not [1, patch, patch, 3, D]",
        ),
        (
            lambda a: a.update({"tokenizer/patch_embedding/Conv_0/kernel": np.zeros((2, 16, 16, 3, 24), np.float32)}),
            "Conv_0/kernel has shape (2, 16, 16, 3, 24), expected (1, 16, 16, 3, 24)",
        ),
    ],
)
def test_a_missing_extra_or_misshapen_array_is_named(npz, change, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_checkpoint(npz(change))


def test_whichever_array_is_misshapen_is_the_one_that_is_named(tiny_config):
    shapes = {entry.flax_name: entry.flax_shape for entry in entries(tiny_config)}
    for name, shape in shapes.items():
        for axis in range(len(shape)):
            wrong = (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
            config = infer_config({**shapes, name: wrong}, tiny_config.base_grid)
            expected = {entry.flax_name: entry.flax_shape for entry in entries(config)}
            different = {n for n in expected if expected[n] != {**shapes, name: wrong}[n]}
            assert different == {name}, (name, axis)


@pytest.mark.parametrize("extra", ["decoder_foo/kernel", "decoder/xa_blocks_0/x", "notes"])
def test_an_extra_array_is_named_also_where_there_is_no_decoder(tiny_model, tmp_path, extra):
    config = dataclasses.replace(tiny_model.config, decoder=None)
    arrays = flax_arrays(RVM(config))
    np.savez(tmp_path / "w.npz", **arrays, **{extra: np.zeros(3, np.float32)})
    with pytest.raises(CheckpointError, match=f"unexpected {extra}"):
        load_checkpoint(tmp_path / "w.npz")


def test_something_else_in_the_archive_is_named(npz):
    path = npz()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "hello")
    with pytest.raises(CheckpointError, match="README.txt is no array"):
        load_checkpoint(path)


def test_a_saved_file_may_be_read_by_whom_other_new_files_may(tiny_model, tmp_path):
    save_checkpoint(tiny_model, tmp_path / "m.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_saving_where_nothing_can_be_written_is_an_os_error_and_leaves_nothing(tiny_model, tmp_path):
    with pytest.raises(OSError, match="cannot be written"):
        save_checkpoint(tiny_model, tmp_path / "missing" / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_array_is_never_unpickled(npz):
    path = npz(lambda a: a.update({"cls_token": np.array([{"a": 1}], dtype=object)}))
    with pytest.raises(CheckpointError, match="cannot be read as .npz"):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_npz_is_refused(npz, keep):
    path = npz()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="cannot be read as .npz"):
        load_checkpoint(path)


def test_a_single_array_file_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "array.npz").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="not an .npz archive but a single array"):
        load_checkpoint(tmp_path / "array.npz")


def test_a_truncated_or_foreign_safetensors_is_refused(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(tiny_model, path)
    tensors = load(path.read_bytes())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_checkpoint(path)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="got format None"):
        load_checkpoint(path)


def test_a_safetensors_with_a_missing_tensor_names_it(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(tiny_model, path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load(path.read_bytes())
    del tensors["core.state_norm.weight"]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"missing core\.state_norm\.weight"):
        load_checkpoint(path)
    metadata["config"] = metadata["config"].replace("patch_size", "patchsize")
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="patchsize"):
        load_checkpoint(path)


def test_missing_file_and_unknown_suffix_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        load_checkpoint(tmp_path / "nothing.npz")
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"'\.pt', expected \.npz"):
        load_checkpoint(tmp_path / "model.pt")


def test_reserved_metadata_keys_are_refused(tiny_model, tmp_path):
    with pytest.raises(ValueError, match=r"\['config'\] are reserved"):
        save_checkpoint(tiny_model, tmp_path / "m.safetensors", metadata={"config": "x"})


def test_sizes_are_inferred_for_other_widths_and_heads():
    from rvm_model import PRESETS

    config = PRESETS["rvm_base16_256"]
    shapes = {entry.flax_name: entry.flax_shape for entry in entries(config)}
    assert infer_config(shapes, config.base_grid) == config


def test_sizes_are_read_without_the_arrays(tiny_model, tmp_path, monkeypatch):
    np.savez(tmp_path / "released.npz", **flax_arrays(tiny_model))
    save_checkpoint(tiny_model, tmp_path / "ours.safetensors")
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("the arrays were read"))
    assert read_config(tmp_path / "released.npz") == dataclasses.replace(tiny_model.config, base_grid=(16, 16))
    assert read_config(tmp_path / "ours.safetensors") == tiny_model.config
    (tmp_path / "released.npz").write_bytes(b"PK, and no more")
    with pytest.raises(CheckpointError, match="expected a complete released file"):
        read_config(tmp_path / "released.npz")
