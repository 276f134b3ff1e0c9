"""An exported engine is the network, or it is not written; what does not fit is refused before it is loaded."""

import dataclasses
import functools
import importlib
import stat
import sys

import pytest
import torch
import yaml

from rvm_model.engines import EngineError, EngineManifest, load_engine, onnx_graph
from rvm_model.engines.compile import ParityError
from rvm_model.engines.manifest import MANIFEST
from rvm_model.engines.openvino_engine import has_bf16
from rvm_model.hashing import file_digest
from rvm_training.__main__ import main
from rvm_training.export.build import export

KINDS = ["onnx", "openvino"]
SIZE = (32, 48)


@pytest.fixture(params=KINDS)
def folder(request, checkpoint, tmp_path):
    """An engine for up to 3 cameras."""
    out = tmp_path / "engine"
    export(str(checkpoint), out, engine=request.param, size=SIZE, cameras=3, steps=4, show=False)
    return out


def test_engines_run_like_the_network_for_any_batch(folder, model):
    engine = load_engine(folder)
    for cameras in (1, 3, 2):
        frames = torch.randint(0, 256, (cameras, 12, *SIZE, 3), dtype=torch.uint8)
        state = engine.init_state(cameras)
        with torch.inference_mode():
            expected, _ = model.forward_clip(frames)
        for t in range(12):
            before = state.clone()
            features, new_state = engine.step(frames[:, t], state)
            assert torch.equal(state, before), "the given state is left as it was"
            assert float((features - expected[:, t]).norm() / expected[:, t].norm()) < 1e-5
            state = new_state


def test_engines_of_several_sizes_run_side_by_side(checkpoint, model, tmp_path):
    engines, states = {}, {}
    for kind, size in (("openvino", SIZE), ("openvino", (64, 32)), ("onnx", (48, 80))):
        export(str(checkpoint), tmp_path / f"{size[0]}", engine=kind, size=size, steps=2, show=False)
        engines[size] = load_engine(tmp_path / f"{size[0]}")
        states[size] = engines[size].init_state(1)
    clips = {size: torch.randint(0, 256, (1, 6, *size, 3), dtype=torch.uint8) for size in engines}
    with torch.inference_mode():
        expected = {size: model.forward_clip(clip)[0] for size, clip in clips.items()}
    for t in range(6):
        for size, engine in engines.items():
            features, states[size] = engine.step(clips[size][:, t], states[size])
            assert float((features - expected[size][:, t]).norm() / expected[size][:, t].norm()) < 1e-5


def test_without_a_number_of_cameras_any_batch_is_taken(checkpoint, tmp_path):
    manifest, _ = export(str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, steps=2, show=False)
    assert manifest.cameras is None
    engine = load_engine(tmp_path / "e")
    engine.step(torch.zeros(8, *SIZE, 3, dtype=torch.uint8), engine.init_state(8))


def test_the_manifest_tells_what_was_built(folder, checkpoint):
    manifest = EngineManifest.read(folder)
    assert manifest.model == str(checkpoint)
    assert manifest.weights.startswith("sha256:")
    assert manifest.trained
    assert (manifest.height, manifest.width, manifest.dim, manifest.cameras) == (*SIZE, 24, 3)
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *manifest.files}
    assert manifest.parity.steps == len(manifest.parity.by_step) == 4
    assert max(manifest.parity.by_step) == manifest.parity.worst
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}[manifest.kind]
    assert manifest.built_with[runtime] == importlib.import_module(runtime).__version__
    assert 0 < manifest.parity.worst < manifest.parity.tolerance == 1e-4
    info = load_engine(folder).info
    assert (info.kind, info.weights, info.trained, info.cameras) == (manifest.kind, manifest.weights, True, 3)
    assert info.grid == (2, 3)


def test_too_many_cameras_and_another_size_are_refused(folder):
    engine = load_engine(folder)
    with pytest.raises(ValueError, match="got a batch of 4, expected at most 3"):
        engine.step(torch.zeros(4, *SIZE, 3, dtype=torch.uint8), engine.init_state(4))
    with pytest.raises(ValueError, match=r"expected uint8 \[B, 32, 48, 3\]"):
        engine.step(torch.zeros(1, 48, 32, 3, dtype=torch.uint8), engine.init_state(1))


def test_a_tampered_engine_is_refused_before_it_is_loaded(folder, monkeypatch):
    name = next(iter(EngineManifest.read(folder).files))
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    monkeypatch.setattr("rvm_model.engines.load.run_engine", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(EngineError, match="was changed or cut short"):
        load_engine(folder)


def test_files_that_the_runtime_cannot_load_are_told(folder):
    manifest = EngineManifest.read(folder)
    for name in manifest.files:
        (folder / name).write_bytes(b"no graph")
    files = {name: file_digest(folder / name).hex() for name in manifest.files}
    dataclasses.replace(manifest, files=files).write(folder)
    with pytest.raises(EngineError, match=r"cannot load it (.|\n)*export the engine again"):
        load_engine(folder)


@pytest.mark.parametrize("change", [{"height": 64}, {"dim": 48}, {"patch_size": 8}])
def test_an_engine_of_another_shape_than_its_manifest_tells_is_refused(folder, change):
    dataclasses.replace(EngineManifest.read(folder), **change).write(folder)
    with pytest.raises(EngineError, match="it is not the step that the manifest tells"):
        load_engine(folder)


def test_a_manifest_with_sizes_that_make_no_sense_is_refused(folder):
    dataclasses.replace(EngineManifest.read(folder), patch_size=0).write(folder)
    with pytest.raises(EngineError, match="expected positive numbers and whole patches"):
        load_engine(folder)


def test_a_runtime_that_is_not_installed_is_told(folder, monkeypatch):
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[EngineManifest.read(folder).kind]
    for module in [name for name in sys.modules if name.startswith("rvm_model.engines.o")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match=f"needs the package {package}.*pip install {package}"):
        load_engine(folder)


@pytest.mark.parametrize(
    ("kind", "device", "message"),
    [
        ("onnx", "cuda:0", "has no CUDAExecutionProvider.*install onnxruntime-gpu, or use device cpu"),
        ("onnx", "xpu", "onnx runs on cpu or cuda, got xpu; export for openvino"),
        ("openvino", "cuda:0", "openvino runs on cpu or xpu, got cuda:0"),
        ("openvino", "xpu", "OpenVINO sees CPU here, expected GPU for xpu; install Intel's GPU driver"),
    ],
)
def test_a_device_that_is_not_there_is_refused(checkpoint, tmp_path, kind, device, message, monkeypatch):
    if device == "xpu":
        monkeypatch.setattr("openvino.Core.available_devices", ["CPU"])
    if kind == "onnx":
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    export(str(checkpoint), tmp_path / "e", engine=kind, size=SIZE, steps=2, show=False)
    with pytest.raises(EngineError, match=message):
        load_engine(tmp_path / "e", device=device)


@pytest.mark.parametrize("kind", KINDS)
def test_eight_bits_are_calibrated_on_the_users_videos(checkpoint, model, tmp_path, video, kind):
    path = video(frames=70)
    manifest, drift = export(
        str(checkpoint), tmp_path / "e", engine=kind, size=SIZE, cameras=2, precision="int8", calibration=[path],
        video=path, steps=8, show=False, tolerance=0.1,
    )  # fmt: skip
    assert manifest.precision == "int8"
    assert 1e-5 < manifest.parity.worst == max(drift.relative) < 0.1
    engine = load_engine(tmp_path / "e")
    assert engine.info.precision == "int8"
    assert (engine.info.rest == "bf16") == (kind == "openvino" and has_bf16())
    frames = torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8)
    features, _ = engine.step(frames, engine.init_state(2))
    assert features.isfinite().all()


def test_bf16_is_used_only_where_the_cpu_has_it_and_never_unasked(checkpoint, tmp_path, monkeypatch):
    words = {"engine": "openvino", "size": SIZE, "steps": 2, "show": False, "tolerance": 0.1}
    for rest in ("fp32", "bf16"):
        manifest, _ = export(str(checkpoint), tmp_path / rest, precision="int8", rest=rest, **words)
        assert manifest.rest == rest
    assert load_engine(tmp_path / "fp32").info.arithmetic == "int8 and fp32"
    monkeypatch.setattr("rvm_model.engines.openvino_engine.has_bf16", lambda: False)
    assert load_engine(tmp_path / "bf16").info.arithmetic == "int8 and fp32"
    with pytest.raises(ValueError, match="got fp32 with bf16 for openvino, expected one of: fp32 with fp32, bf16"):
        export(str(checkpoint), tmp_path / "e", rest="bf16", **words)


def test_calibration_without_eight_bits_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="got calibration videos for fp32, expected them with int8 and fp8"):
        export(str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, calibration=[tmp_path / "v.mp4"], show=False)


def test_an_engine_that_is_too_far_off_is_not_written(checkpoint, tmp_path):
    with pytest.raises(
        ParityError, match=r"at step 1 and .* at the worst, expected at most 1e-12; nothing was written"
    ):
        export(str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, steps=2, tolerance=1e-12, show=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.safetensors"]


def test_eight_bits_that_are_too_far_off_for_want_of_videos_are_told_so(checkpoint, tmp_path, video):
    build = functools.partial(
        export, str(checkpoint), tmp_path / "engine", engine="onnx", size=SIZE, precision="int8", tolerance=1e-12,
        steps=2, show=False,
    )  # fmt: skip
    with pytest.raises(ParityError, match=r"nothing was written(.|\n)*rendered scenes alone: try --calibrate"):
        build()
    with pytest.raises(ParityError) as calibrated:
        build(calibration=[video(frames=70)])
    assert "--calibrate" not in str(calibrated.value)


def test_an_existing_folder_is_left_alone(checkpoint, tmp_path):
    (tmp_path / "e").mkdir()
    with pytest.raises(FileExistsError, match="remove it, or give another folder"):
        export(str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, show=False)


def test_the_commands_export_show_and_check(checkpoint, tmp_path, video, capsys):
    out = tmp_path / "e"
    words = ["--engine", "openvino", "--size", "32x48", "--cameras", "2", "--video", str(video(frames=70))]
    assert main(["export", "--model", str(checkpoint), "--out", str(out), *words]) == 0
    table = capsys.readouterr().out
    assert "    64 " in table
    assert "openvino fp32, 32x48, up to 2 cameras" in table
    assert main(["engine", "check", str(out)]) == 0
    text = capsys.readouterr().out
    assert "features      2x3x24" in text
    assert "runs here on cpu, files unchanged" in text
    values = yaml.safe_load((out / MANIFEST).read_text()) | {"schema": 9}
    (out / MANIFEST).write_text(yaml.safe_dump(values))
    assert main(["engine", "check", str(out)]) == 1
    assert "got schema 9, expected 1" in capsys.readouterr().err


def test_a_video_that_is_too_short_is_told(checkpoint, tmp_path, video):
    with pytest.raises(ValueError, match="got 20 frames, expected at least 65 for the comparison"):
        export(
            str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, cameras=2, video=video(frames=20), show=False
        )  # fmt: skip


def test_large_weights_lie_beside_the_graph_and_every_user_may_read_all(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "EXTERNAL_BYTES", 1000)
    export(str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, steps=2, show=False)
    assert set(EngineManifest.read(tmp_path / "e").files) == {"step.onnx", "step.weights"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "e").iterdir()} == {0o644}
    engine = load_engine(tmp_path / "e")
    engine.step(torch.zeros(1, *SIZE, 3, dtype=torch.uint8), engine.init_state(1))


def test_exporting_for_a_runtime_that_is_not_installed_is_told(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "rvm_model.engines.openvino_engine", raising=False)
    words = ["export", "--model", str(checkpoint), "--out", str(tmp_path / "e"), "--engine", "openvino"]
    for precision in ("fp32", "int8"):
        assert main([*words, "--precision", precision]) == 1
        assert "openvino needs the package openvino, which cannot be imported" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_bf16_is_refused_where_onnx_runtime_has_none(checkpoint, tmp_path):
    with pytest.raises(EngineError, match="no bf16 on a CPU; export for openvino, or in another precision"):
        export(str(checkpoint), tmp_path / "e", engine="onnx", size=SIZE, precision="bf16", steps=2, show=False)


def test_what_stayed_in_float_is_told(checkpoint, tmp_path, capsys):
    words = ["export", "--model", str(checkpoint), "--size", "32x48", "--precision", "int8", "--tolerance", "0.5"]
    assert main([*words, "--engine", "onnx", "--out", str(tmp_path / "e")]) == 0
    table = capsys.readouterr().out
    manifest = EngineManifest.read(tmp_path / "e")
    assert {f"blocks.{index}.{name}" for index in (0, 1) for name in ("out", "attention.out")} <= set(manifest.in_float)
    assert f"not in 8 bits: {', '.join(manifest.in_float)}" in table
    assert main(["engine", "show", str(tmp_path / "e")]) == 0
    assert f"not in 8 bits {', '.join(manifest.in_float)}" in capsys.readouterr().out


def test_options_of_a_plan_are_not_taken_for_other_engines(checkpoint, tmp_path, capsys):
    words = ["export", "--model", str(checkpoint), "--size", "32x48", "--out", str(tmp_path / "e"), "--refittable"]
    assert main([*words, "--engine", "onnx"]) == 1
    assert "got options of a TensorRT plan for onnx, which has none" in capsys.readouterr().err
