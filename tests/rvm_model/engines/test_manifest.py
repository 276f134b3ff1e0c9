"""A manifest comes back as it was written; what does not fit is told with what to do."""

import dataclasses

import pytest
import yaml

from rvm_model.engines.manifest import MANIFEST, EngineError, EngineManifest, Gpu, Parity, check_files
from rvm_model.hashing import file_digest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "step.onnx").write_bytes(b"graph")
    return tmp_path


@pytest.fixture
def manifest(folder) -> EngineManifest:
    return EngineManifest(
        kind="onnx", model="m.safetensors", weights="sha256:0", trained=True, height=32, width=48, patch_size=16,
        dim=24, cameras=2, precision="fp32", rest="fp32", in_float=[], opset=20,
        files={"step.onnx": file_digest(folder / "step.onnx").hex()}, built_with={"onnx": "1.2"},
        parity=Parity(2, 1e-6, 1e-6, 1.5, 2e-6, [5e-7, 1e-6], 1e-4),
    )  # fmt: skip


@pytest.mark.parametrize("gpu", [None, Gpu("NVIDIA X", "9.0")])
def test_what_is_written_comes_back(folder, manifest, gpu):
    manifest = dataclasses.replace(manifest, gpu=gpu)
    manifest.write(folder)
    assert EngineManifest.read(folder) == manifest
    check_files(folder, manifest)


def changed(folder, manifest, change) -> None:
    manifest.write(folder)
    values = yaml.safe_load((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(schema=2), "got schema 2, expected 1; the engine is of another version of rvm"),
        (lambda v: v.pop("schema"), "got schema None"),
        (lambda v: v.pop("height"), r"missing \['height'\], unknown \[\]"),
        (lambda v: v.update(extra=1), r"missing \[\], unknown \['extra'\]"),
        (lambda v: v.update(height="32"), "height: got '32', expected int"),
        (lambda v: v.update(height=True), "height: got True, expected int"),
        (lambda v: v.update(trained=1), "trained: got 1, expected bool"),
        (lambda v: v.update(kind="exe"), "kind: got 'exe', expected one of onnx, openvino, tensorrt"),
        (lambda v: v.update(files=["step.onnx"]), "files: got"),
        (lambda v: v.update(parity=3), "parity: got 3, expected keys and values"),
        (lambda v: v["parity"].update(worst="small"), "parity: worst: got 'small', expected float"),
        (lambda v: v.update(gpu={"name": "X"}), r"gpu: missing \['compute_capability'\]"),
        (lambda v: v["parity"].update(by_step=1.0), "parity: by_step: got 1.0, expected a list"),
        (lambda v: v["parity"].update(by_step=[1.0, "a"]), "parity: by_step: got 'a', expected float"),
        (lambda v: v.update(files={}), r"got files \[\], expected step.onnx among them"),
        (lambda v: v.update(precision="fp8", rest="bf16"), "got fp8 with bf16 for onnx, expected one of: fp32 with"),
        (lambda v: v.update(kind="openvino", files={"step.xml": ""}, precision="fp16"), "got fp16 with fp32 for openv"),
    ],
)
def test_a_malformed_manifest_is_told(folder, manifest, change, message):
    changed(folder, manifest, change)
    with pytest.raises(EngineError, match=message):
        EngineManifest.read(folder)


@pytest.mark.parametrize("text", ["- 1", "{", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_manifest_is_told_and_never_run(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(EngineError, match=r"manifest\.yaml"):
        EngineManifest.read(folder)


def test_a_folder_without_a_manifest_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder that `rvm export` wrote"):
        EngineManifest.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.write_bytes(b"grapf"), "the file was changed or cut short"),
        (lambda f: f.write_bytes(b"grap"), "the file was changed or cut short"),
        (lambda f: f.unlink(), r"\['step.onnx'\] missing"),
        (lambda f: f.with_name("virus.so").write_bytes(b""), r"\['virus.so'\] not in the manifest"),
        (lambda f: (f.unlink(), f.mkdir()), r"got folders \['step.onnx'\], expected files"),
    ],
    ids=["tampered", "truncated", "missing", "extra", "folder"],
)
def test_files_must_be_exactly_those_of_the_manifest(folder, manifest, change, message):
    manifest.write(folder)
    change(folder / "step.onnx")
    with pytest.raises(EngineError, match=message):
        check_files(folder, manifest)
