"""What cameras remember, as a file."""

import errno
import os

import pytest
import torch

from rvm_model.snapshot import CameraSnapshot, Remembered, SnapshotError, load_snapshot, save_snapshot

ENGINES = {"front": "sha256:1", "rear": "sha256:2"}


def cameras() -> dict[str, CameraSnapshot]:
    heads = {"clusters": Remembered({"centroids": torch.randn(3, 4)}, {"placed": True})}
    return {
        "front": CameraSnapshot(torch.randn(1, 5, 4), 17, "sha256:1", heads),
        "rear": CameraSnapshot(torch.randn(1, 5, 4), 3, "sha256:2"),
    }


@pytest.fixture
def saved(tmp_path):
    path, content = tmp_path / "state.safetensors", cameras()
    save_snapshot(path, content)
    return path, content


def test_what_is_read_is_what_was_written(saved):
    path, content = saved
    got = load_snapshot(path, ENGINES)
    assert got.keys() == content.keys()
    for name, camera in content.items():
        assert torch.equal(got[name].state, camera.state)
        assert (got[name].age, got[name].engine) == (camera.age, camera.engine)
    head = got["front"].heads["clusters"]
    assert torch.equal(head.tensors["centroids"], content["front"].heads["clusters"].tensors["centroids"])
    assert head.values == {"placed": True}
    assert got["rear"].heads == {}
    assert os.listdir(path.parent) == [path.name], "nothing is left beside it"


def test_cameras_of_the_node_may_be_missing_in_it(saved):
    assert load_snapshot(saved[0], {**ENGINES, "third": "sha256:3"}).keys() == {"front", "rear"}


@pytest.mark.parametrize(
    ("engines", "reason"),
    [
        ({"front": "sha256:1", "rear": "sha256:9"}, "camera rear by engine sha256:2, expected one by sha256:9"),
        ({"front": "sha256:1"}, r"got cameras \['rear'\], expected some of \['front'\]"),
    ],
)
def test_a_foreign_snapshot_is_refused(saved, engines, reason):
    with pytest.raises(SnapshotError, match=reason):
        load_snapshot(saved[0], engines)


def test_a_snapshot_that_was_tampered_with_or_cut_is_refused(saved):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SnapshotError, match="contents were changed"):
        load_snapshot(path, ENGINES)
    for old, new in ((b'"age": 17', b'"age": 99'), (b'"placed": true', b'"placed":false')):
        escaped = old.replace(b'"', b'\\"'), new.replace(b'"', b'\\"')
        assert escaped[0] in content
        path.write_bytes(content.replace(*escaped))
        with pytest.raises(SnapshotError, match="contents were changed"):
            load_snapshot(path, ENGINES)
    for length in (0, 5, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(SnapshotError, match="cannot be read as a snapshot"):
            load_snapshot(path, ENGINES)
    path.write_bytes(b"PK\3\4 no snapshot at all" * 100)
    with pytest.raises(SnapshotError, match="cannot be read as a snapshot"):
        load_snapshot(path, ENGINES)


def test_another_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(SnapshotError, match="is no snapshot of schema 1"):
        load_snapshot(tmp_path / "weights.safetensors", ENGINES)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="save one first"):
        load_snapshot(tmp_path / "none", ENGINES)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_snapshot_and_nothing_else(saved, monkeypatch, step):
    path, content = saved

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        save_snapshot(path, cameras())
    monkeypatch.undo()
    assert torch.equal(load_snapshot(path, ENGINES)["front"].state, content["front"].state)
    assert os.listdir(path.parent) == [path.name]
