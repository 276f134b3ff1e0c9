"""The engine that a user asks for; the default is built once, kept, and shared by all processes."""

import dataclasses
import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from rvm_model import RVM, save_checkpoint
from rvm_model.engines import EngineError, choose_engine, parity
from rvm_model.engines import choose as module
from rvm_model.engines.manifest import MANIFEST

SIZE = (32, 48)


@pytest.fixture
def checkpoint(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(tiny_model, path)
    return str(path)


def engines(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache" / "engines").iterdir() if path.is_dir())


def choose(checkpoint, choice="", size=SIZE):
    said = []
    engine = choose_engine(choice, model=checkpoint, size=size, device="cpu", tell=said.append)
    return engine, said


def build_in_another_process(checkpoint, start, said):
    start.wait()
    said.put(choose(checkpoint)[1])


def test_the_default_on_a_cpu_is_openvino_built_once_and_kept(checkpoint, tmp_path, monkeypatch):
    engine, said = choose(checkpoint)
    assert (engine.info.kind, engine.info.precision, engine.info.cameras) == ("openvino", "fp32", None)
    (folder,) = engines(tmp_path)
    assert f"building openvino for 32x48 from {checkpoint}, once" in said[0]
    assert folder in said[0]
    assert "of the float32 network over 8 steps" in said[1]
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("it was built again"))
    monkeypatch.setattr(module, "load_weights", lambda _: pytest.fail("the weights were read"))
    again, said = choose(checkpoint)
    assert said == []
    frames = torch.randint(0, 256, (5, *SIZE, 3), dtype=torch.uint8)
    assert torch.equal(engine.step(frames, engine.init_state(5))[0], again.step(frames, again.init_state(5))[0])


def test_other_weights_sizes_and_kinds_are_other_engines(checkpoint, tmp_path, tiny_config):
    choose(checkpoint)
    choose(checkpoint, size=(48, 32))
    choose(checkpoint, "onnx")
    assert [name.rsplit("-", 1)[0] for name in engines(tmp_path)] == ["onnx-32x48", "openvino-32x48", "openvino-48x32"]
    before = engines(tmp_path)
    save_checkpoint(RVM(tiny_config), Path(checkpoint))
    choose(checkpoint)
    assert len(engines(tmp_path)) == len(before) + 1


def test_two_processes_at_once_build_one_engine(checkpoint, tmp_path):
    context = multiprocessing.get_context("spawn")
    start, said = context.Event(), context.Queue()
    processes = [context.Process(target=build_in_another_process, args=(checkpoint, start, said)) for _ in range(2)]
    for process in processes:
        process.start()
    start.set()
    lines = [said.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    waiting = "waiting for another process"  # Said by the other one, where it has to for long.
    built = [[line for line in each if waiting not in line] for each in lines]
    assert sorted(len(each) for each in built) == [0, 2], "one builds, the other waits and loads"
    assert len(engines(tmp_path)) == 1


def test_a_damaged_engine_in_the_cache_is_put_aside_and_built_anew(checkpoint, tmp_path):
    choose(checkpoint)
    (name,) = engines(tmp_path)
    folder = tmp_path / "cache" / "engines" / name
    (folder / "step.bin").write_bytes(b"cut short")
    engine, said = choose(checkpoint)
    assert "was changed or cut short" in said[0]
    assert f"put aside as {name}.refused" in said[0]
    assert engines(tmp_path) == [name, f"{name}.refused"]
    assert engine.info.kind == "openvino"
    (folder / MANIFEST).unlink()
    assert "no manifest.yaml" in choose(checkpoint)[1][0]


def test_a_wrong_device_leaves_the_caches_engine_alone(checkpoint, tmp_path, monkeypatch):
    choose(checkpoint, "onnx")
    before = engines(tmp_path)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    for _ in range(2):
        with pytest.raises(EngineError, match="has no CUDAExecutionProvider"):
            choose_engine("onnx", model=checkpoint, size=SIZE, device="cuda", tell=lambda _: None)
    assert engines(tmp_path) == before
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("it was built again"))
    choose(checkpoint, "onnx")


def test_a_build_that_fails_leaves_nothing_and_can_be_tried_again(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.TOLERANCE, "fp32", 1e-12)
    with pytest.raises(ValueError, match="expected at most 1e-12"):
        choose(checkpoint)
    assert engines(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setenv("RVM_CACHE", str(tmp_path / "cache"))
    assert choose(checkpoint)[0].info.kind == "openvino"


def test_without_a_faster_runtime_torch_runs_and_it_is_told(checkpoint, monkeypatch):
    monkeypatch.setattr(module, "_installed", lambda kind: kind == "onnx")
    assert choose(checkpoint)[0].info.kind == "onnx"
    monkeypatch.setattr(module, "_installed", lambda kind: False)
    engine, said = choose(checkpoint)
    assert engine.info.kind == "torch"
    assert "none of openvino, onnxruntime is installed, so torch runs the network, which is slower" in said[0]


@pytest.mark.parametrize("missing", ["openvino", "onnx"])
def test_what_an_engine_needs_and_is_not_installed_is_told(checkpoint, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "openvino":  # as if it had never been imported
        monkeypatch.delitem(sys.modules, "rvm_model.engines.openvino_engine", raising=False)
    with pytest.raises(EngineError, match=f"needs the package {missing}.*pip install {missing}"):
        choose(checkpoint, "openvino")


def test_what_a_killed_build_left_is_swept_by_the_next_one(checkpoint, tmp_path):
    choose(checkpoint)
    (name,) = engines(tmp_path)
    folder = tmp_path / "cache" / "engines" / name
    folder.rename(folder.with_name(f".{name}.k1lled"))
    folder.with_name(".another.k1lled").mkdir()
    choose(checkpoint)
    assert engines(tmp_path) == [".another.k1lled", name]


def test_weights_that_change_while_they_are_read_are_not_kept_under_the_old_name(checkpoint, tmp_path, monkeypatch):
    read = module.load_weights

    def replaced(name):
        network, weights = read(name)
        return network, dataclasses.replace(weights, identity="sha256:other")

    monkeypatch.setattr(module, "load_weights", replaced)
    with pytest.raises(EngineError, match="changed from sha256:.* to sha256:other while they were read"):
        choose(checkpoint)
    assert engines(tmp_path) == []


def test_a_package_that_is_missing_is_seen(monkeypatch):
    assert module._installed("openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not module._installed("openvino")


def test_torch_and_exported_folders_are_taken_by_name(checkpoint, tmp_path):
    assert choose(checkpoint, "torch")[0].info.kind == "torch"
    choose(checkpoint, "onnx")
    (folder,) = engines(tmp_path)
    assert choose("not read", str(tmp_path / "cache" / "engines" / folder))[0].info.kind == "onnx"
    with pytest.raises(FileNotFoundError, match="no folder at"):
        choose(checkpoint, "no/such/engine")


def test_a_size_that_does_not_fit_the_patch_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="40"):
        choose(checkpoint, size=(40, 48))
    assert engines(tmp_path) == []


def test_who_waits_for_another_process_says_so(checkpoint, tmp_path, monkeypatch):
    choose(checkpoint)
    (lock,) = (tmp_path / "cache" / "engines").glob("*.lock")
    said = []
    with ThreadPoolExecutor() as executor:
        with FileLock(lock):
            engine = executor.submit(
                choose_engine, "", model=checkpoint, size=(32, 48), device="cpu", threads=1, tell=said.append
            )
            deadline = time.monotonic() + 30
            while not said:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert not engine.done()
        assert engine.result(timeout=30).info.kind == "openvino"
    assert "waiting for another process" in said[0]
    assert str(lock) in said[0]


@pytest.mark.parametrize("choice", ["torch", "onnx"])
@pytest.mark.parametrize("made_for", [{"trained_grid": (2, 5)}, {"trained_grid": (2, 4), "run_grid": (2, 5)}])
def test_without_a_size_it_is_the_one_that_the_weights_are_made_for(
    tiny_config, tmp_path, monkeypatch, choice, made_for
):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path / "cache"))
    save_checkpoint(RVM(dataclasses.replace(tiny_config, **made_for)), tmp_path / "went_on.safetensors")
    engine, _ = choose(str(tmp_path / "went_on.safetensors"), choice, size=None)
    assert engine.info.grid == (2, 5)


def test_frames_beyond_the_places_that_weights_know_are_told(tiny_config, tmp_path):
    path, patch = tmp_path / "axes.safetensors", tiny_config.patch_size
    save_checkpoint(RVM(dataclasses.replace(tiny_config, position="axes", position_range=(3, 5))), path)
    assert choose(str(path), "torch", size=(3 * patch, 5 * patch))[1] == []
    _, said = choose(str(path), "torch", size=(4 * patch, 5 * patch))
    assert f"frames of {4 * patch}x{5 * patch} are larger than the {3 * patch}x{5 * patch}" in said[0]
