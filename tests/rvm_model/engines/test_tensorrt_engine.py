"""Building, checking and running TensorRT plans, on a FAKE of TensorRT: see tests/support/fake_tensorrt.py."""

import contextlib
import dataclasses
import sys

import fake_tensorrt
import pytest
import torch

from rvm_model import RVM
from rvm_model.engines import CameraStates, EngineError, EngineManifest, choose_engine, cuda, load_engine
from rvm_model.engines.compile import EngineConfig, ParityError, write_engine
from rvm_model.engines.manifest import Gpu
from rvm_model.engines.tensorrt_build import PlanConfig
from rvm_model.engines.tensorrt_engine import TensorRtEngine
from rvm_model.hashing import file_digest
from rvm_model.inference import InferenceStep
from rvm_model.weights import WeightsInfo

SIZE = (32, 48)
GPU = ("Fake GPU", "9.0")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with the fake of TensorRT, whose GPU memory is the CPU's."""
    monkeypatch.setenv("RVM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.module())
    monkeypatch.setattr(cuda, "require", lambda device, kind: None)
    monkeypatch.setattr(cuda, "use", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(cuda, "stream", lambda device: 7)
    monkeypatch.setattr(cuda, "gpu", lambda device: GPU)
    monkeypatch.setattr(cuda, "version", lambda: "12.8")
    return monkeypatch


@pytest.fixture
def build(machine, tiny_model, tmp_path):
    """Function that builds a plan for up to 3 cameras and returns its folder."""

    def make(plan=None, tell=lambda _: None, cameras=3, out="e", model=tiny_model, **checks):
        frames = torch.randint(0, 256, (2, 2, *SIZE, 3), dtype=torch.uint8)
        config = EngineConfig("tensorrt", cameras=cameras, plan=plan or PlanConfig())
        write_engine(
            tmp_path / out, config, InferenceStep(model, SIZE), model,
            WeightsInfo("tiny", f"untrained:{out}", False), frames, tell=tell, show=False, **checks,
        )  # fmt: skip
        return tmp_path / out

    return make


def clip(length, cameras=1):
    return torch.randint(0, 256, (length, cameras, *SIZE, 3), dtype=torch.uint8)


def test_a_plan_runs_like_the_network_for_any_batch_and_swaps_two_states_in_place(build, tiny_model):
    engine = load_engine(build())
    for cameras in (1, 3, 2):
        frames, state = clip(12, cameras), engine.init_state(cameras)
        with torch.inference_mode():
            expected, _ = tiny_model.forward_clip(frames.transpose(0, 1))
        places = []
        for t in range(12):
            before = state.clone()
            features, new_state = engine.step(frames[t], state)
            assert torch.equal(state, before), "the given state is left as it was"
            assert float((features - expected[:, t]).norm() / expected[:, t].norm()) < 1e-5
            state = new_state
            places.append(state.data_ptr())
        assert places[::2] == places[:1] * 6
        assert places[1::2] == places[1:2] * 6
        assert places[0] != places[1]


def test_a_state_from_elsewhere_is_copied_in(build, tiny_model):
    engine = load_engine(build())
    frames = clip(3)
    _, first = engine.step(frames[0], engine.init_state(1))
    kept = first.clone()
    engine.step(frames[1], first)
    again, _ = engine.step(frames[2], kept)
    with torch.inference_mode():
        expected, _ = tiny_model.forward_clip(torch.stack([frames[0], frames[2]], dim=1))
    torch.testing.assert_close(again, expected[:, 1], rtol=1e-4, atol=1e-5)


def test_cameras_that_come_and_go_keep_their_own_past(build, tiny_model):
    engine = load_engine(build())
    states, seen = CameraStates(engine), {name: [] for name in "abc"}
    for names in ("ab", "ab", "a", "c", "a", "ab", "abc", "b", "c", "abc", "ba"):
        frames = clip(1, len(names))[0]
        features = states.step(list(names), frames)
        for row, name in enumerate(names):
            seen[name].append(frames[row])
            with torch.inference_mode():
                expected, _ = tiny_model.forward_clip(torch.stack(seen[name])[None])
            torch.testing.assert_close(features[row], expected[0, -1], rtol=1e-4, atol=1e-4)
    states.reset("a")
    assert (states.age("a"), states.age("b")) == (0, len(seen["b"]))


def test_the_manifest_tells_gpu_and_versions_and_the_graph_is_strongly_typed(build):
    manifest = EngineManifest.read(build())
    assert manifest.gpu == Gpu(*GPU)
    assert manifest.built_with["tensorrt"] == fake_tensorrt.__version__
    assert manifest.built_with["cuda"] == "12.8"
    assert list(manifest.files) == ["step.plan"]


def test_progress_is_told_and_the_timing_cache_is_kept(build, tmp_path):
    said = []
    folder = build(tell=said.append)
    assert said[0] == "TensorRT: Building"
    assert "TensorRT: Timing, 50 %" in said
    (cache,) = (tmp_path / "cache" / "tensorrt").iterdir()
    assert cache.read_bytes() == b"+measured"
    assert b'"cache": ""' in (folder / "step.plan").read_bytes()
    folder.rename(tmp_path / "first")
    assert b'"cache": "+measured"' in (build() / "step.plan").read_bytes()
    assert cache.read_bytes() == b"+measured+measured"


def test_another_gpu_is_refused_unless_the_plan_is_for_all(build, machine, tmp_path):
    folder = build()
    machine.setattr(cuda, "gpu", lambda device: ("Another GPU", "8.9"))
    machine.setattr(TensorRtEngine, "__init__", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(EngineError, match=r"built on Fake GPU \(9.0\) for the same, got Another GPU \(8.9\)"):
        load_engine(folder)


def test_a_plan_for_all_gpus_runs_from_ampere_on(build, machine):
    folder = build(PlanConfig(hardware_compatible=True))
    assert b'"hardware": 1' in (folder / "step.plan").read_bytes()
    machine.setattr(cuda, "gpu", lambda device: ("Another GPU", "8.9"))
    assert load_engine(folder).info.kind == "tensorrt"
    machine.setattr(cuda, "gpu", lambda device: ("Old GPU", "7.5"))
    with pytest.raises(EngineError, match="for one of compute capability 8.0 or above, got Old GPU"):
        load_engine(folder)


@pytest.mark.parametrize("version", ["10.15.0.0", "11.4.0.106"])
def test_another_version_of_tensorrt_is_refused(build, machine, version):
    folder = build()
    machine.setitem(sys.modules, "tensorrt", fake_tensorrt.module(version))
    with pytest.raises(EngineError, match=f"needs TensorRT 10.16.1.11, got {version}; export it on this machine"):
        load_engine(folder)


def test_a_version_compatible_plan_runs_on_later_versions_and_on_the_lean_runtime(build, machine):
    folder = build(PlanConfig(version_compatible=True))
    for version in ("10.16.1.11", "11.4.0.106"):
        machine.setitem(sys.modules, "tensorrt", fake_tensorrt.module(version))
        assert load_engine(folder).info.version_compatible
    machine.setitem(sys.modules, "tensorrt", fake_tensorrt.module("10.2.0.0"))
    with pytest.raises(EngineError, match="needs TensorRT 10.16.1.11 or later, got 10.2.0.0"):
        load_engine(folder)
    machine.setitem(sys.modules, "tensorrt", None)
    machine.setitem(sys.modules, "tensorrt_lean", fake_tensorrt.module())
    assert load_engine(folder).info.kind == "tensorrt"


def test_other_weights_are_put_into_a_refittable_plan(build, tiny_config):
    base = build(PlanConfig(refittable=True, version_compatible=True))
    torch.manual_seed(5)
    said = []
    folder = build(PlanConfig(refit=base), said.append, out="fine_tuned", model=RVM(tiny_config).eval())
    assert said == [], "nothing was built"
    manifest = EngineManifest.read(folder)
    assert manifest.weights == "untrained:fine_tuned"
    assert manifest.gpu == Gpu(*GPU, version_compatible=True, refittable=True)
    assert manifest.parity.worst < 1e-4, "of the new weights"
    frames = clip(1, 2)[0]
    engines = [load_engine(path) for path in (base, folder)]
    old, new = (engine.step(frames, engine.init_state(2))[0] for engine in engines)
    assert float((old - new).norm() / old.norm()) > 0.1


def test_a_refitted_plan_can_be_refitted_again(build, tiny_config):
    models = [RVM(tiny_config).eval() for _ in range(2)]
    folder = build(PlanConfig(refittable=True))
    for index, model in enumerate(models):
        folder = build(PlanConfig(refit=folder), out=f"again_{index}", model=model)
    assert EngineManifest.read(folder).weights == "untrained:again_1"


@pytest.mark.parametrize(
    ("cls", "method", "message"),
    [
        ("Refitter", "refit_cuda_engine", r"does not take the weights \(it gives no reason\)"),
        ("Runtime", "deserialize_cuda_engine", r"refuses the plan \(it gives no reason\); export it anew"),
    ],
)
def test_a_refit_that_tensorrt_refuses_is_told(build, machine, tmp_path, cls, method, message):
    base = build(PlanConfig(refittable=True))
    machine.setattr(getattr(fake_tensorrt, cls), method, lambda *_: None)
    with pytest.raises(EngineError, match=message):
        build(PlanConfig(refit=base), out="new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("cls", "method", "message"),
    [
        ("ICudaEngine", "create_execution_context", r"makes no context for 2 cameras \(it gives no reason\)"),
        ("IExecutionContext", "set_input_shape", r"refuses the shape \(2, 32, 48, 3\) of frames"),
        ("IExecutionContext", "set_tensor_address", "refuses the address of frames"),
        ("IExecutionContext", "execute_async_v3", "refuses the step"),
    ],
)
def test_a_step_that_tensorrt_refuses_is_told(build, machine, cls, method, message):
    engine = load_engine(build())
    machine.setattr(getattr(fake_tensorrt, cls), method, lambda *_: None)
    with pytest.raises(EngineError, match=message):
        engine.step(clip(1, 2)[0], engine.init_state(2))


def test_too_little_memory_is_told_when_the_engine_is_loaded(build, machine):
    folder = build()

    def empty(size, **options):
        raise torch.OutOfMemoryError("tried to allocate")

    machine.setattr(torch, "empty", empty)
    with pytest.raises(EngineError, match=r"no memory for 0 MB that the plan works in for 3 cameras \(tried to all"):
        load_engine(folder)


def test_a_timing_cache_that_is_refused_is_told_and_replaced(build, machine, tmp_path):
    build(out="first")
    (cache,) = (tmp_path / "cache" / "tensorrt").iterdir()
    cache.write_bytes(b"damaged")
    create = fake_tensorrt.IBuilderConfig.create_timing_cache
    machine.setattr(
        fake_tensorrt.IBuilderConfig, "create_timing_cache", lambda self, data: None if data else create(self, data)
    )
    said = []
    build(tell=said.append)
    assert sum("cannot be used; kernels are timed anew" in line for line in said) == 1
    assert cache.read_bytes() == b"+measured"


def test_a_plan_that_is_off_cannot_name_its_layers_and_says_what_can(build, tmp_path):
    with pytest.raises(ParityError, match=r"expected at most 1e-12(.|\n)*Layers are compared for onnx and openvino"):
        build(tolerance=1e-12, debug_layers=True)
    assert not (tmp_path / "e").exists()


def test_a_manifest_without_tensorrts_version_is_refused(build):
    folder = build(PlanConfig(version_compatible=True))
    repaired(folder, built_with={})
    with pytest.raises(EngineError, match="the manifest names no version of TensorRT"):
        load_engine(folder)


def test_another_network_is_not_put_into_a_plan(build, tiny_config, tmp_path):
    base = build(PlanConfig(refittable=True))
    deeper = RVM(dataclasses.replace(tiny_config, encoder_depth=tiny_config.encoder_depth + 1)).eval()
    with pytest.raises(EngineError, match=r"does not take the weights \(another network\); export this engine anew"):
        build(PlanConfig(refit=base), out="new", model=deeper)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_refitted_is_told_and_left(build, tmp_path, machine):
    fixed = build()
    with pytest.raises(EngineError, match="its weights cannot be replaced; expected an engine exported with --refit"):
        build(PlanConfig(refit=fixed), out="new")
    base = build(PlanConfig(refittable=True), out="base")
    before = (base / "step.plan").read_bytes()
    with pytest.raises(EngineError, match=r"got an engine of .*'cameras': 3.*expected .*'cameras': 2.*export this one"):
        build(PlanConfig(refit=base), out="new", cameras=2)
    machine.setattr(fake_tensorrt.OnnxParserRefitter, "refit_from_file", lambda self, model: setattr(
        self, "_error", "node X has no weights"))  # fmt: skip
    with pytest.raises(EngineError, match=r"does not take the weights \(node X has no weights\)"):
        build(PlanConfig(refit=base), out="new")
    with pytest.raises(EngineError, match="with another compatibility, expected none: the plan keeps its own"):
        PlanConfig(refit=base, version_compatible=True)
    assert (base / "step.plan").read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_without_tensorrt_the_remedy_is_told(build, machine):
    folder = build()
    machine.setitem(sys.modules, "tensorrt", None)
    machine.setitem(sys.modules, "tensorrt_lean", None)
    with pytest.raises(EngineError, match=r"TensorRT cannot be imported.*docs/tensorrt.md"):
        load_engine(folder)


def repaired(folder, **changes):
    manifest = EngineManifest.read(folder)
    files = {name: file_digest(folder / name).hex() for name in manifest.files}
    dataclasses.replace(manifest, files=files, **changes).write(folder)


def test_a_plan_that_is_not_what_the_manifest_tells_is_refused(build):
    folder = build()
    repaired(folder, dim=48)
    with pytest.raises(EngineError, match="is not the step that the manifest tells"):
        load_engine(folder)
    repaired(folder, dim=24, cameras=4)
    with pytest.raises(EngineError, match="got a plan for 3 cameras, expected 4"):
        load_engine(folder)
    (folder / "step.plan").write_bytes(b"no plan")
    repaired(folder, cameras=3)
    with pytest.raises(EngineError, match=r"refuses the plan \(magic tag does not match\)"):
        load_engine(folder)


def test_a_graph_that_tensorrt_does_not_take_is_told_in_its_words(build, machine, tmp_path):
    machine.setattr(fake_tensorrt.OnnxParser, "parse_from_file", lambda self, model: setattr(self, "_error", "op Q"))
    with pytest.raises(EngineError, match=r"does not take the graph \(op Q\)"):
        build()
    assert not (tmp_path / "e").exists()


def test_a_plan_that_cannot_be_built_is_told_in_tensorrts_words(build, machine, tmp_path):
    machine.setattr(fake_tensorrt.OnnxParser, "parse_from_file", lambda self, model: self._network.__setattr__(
        "_graph", b"unbuildable") or True)  # fmt: skip
    with pytest.raises(EngineError, match=r"cannot build it \(no kernel for node X\)"):
        build()
    assert not (tmp_path / "e").exists()


def test_a_node_never_builds_a_plan_unasked(machine, tiny_config, tmp_path):
    machine.setitem(__import__("rvm_model.config").config.PRESETS, "tiny", tiny_config)
    words = {"model": "untrained:tiny", "size": SIZE, "device": "cpu", "cameras": 2}
    with pytest.raises(EngineError, match="no tensorrt engine for 32x48, 2 cameras, is in the cache; set build_if_m"):
        choose_engine("tensorrt", **words)
    said = []
    built = choose_engine("tensorrt", **words, build_if_missing=True, tell=said.append)
    assert (built.info.precision, built.info.cameras) == ("fp16", 2)
    assert any("TensorRT: Building" in line for line in said)
    said.clear()
    assert choose_engine("tensorrt", **words, tell=said.append).info == built.info
    assert said == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_is_told():
    with pytest.raises(EngineError, match="tensorrt runs on device cuda, got cpu"):
        cuda.require("cpu", "tensorrt")
    with pytest.raises(EngineError, match="sees 0 CUDA devices; install a CUDA build of torch and a driver"):
        cuda.require("cuda:0", "tensorrt")
