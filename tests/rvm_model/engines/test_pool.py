"""Engines that callers of one process share."""

import gc
import threading

import pytest
import torch

from rvm_model import save_checkpoint
from rvm_model.engines import EnginePool, TorchEngine, choose_engine
from rvm_model.engines import choose as choose_module
from rvm_model.engines import load as load_module
from rvm_model.weights import WeightsInfo

SIZE = (32, 48)


@pytest.fixture
def engine(tiny_model):
    return TorchEngine(tiny_model, WeightsInfo("tiny", "tiny", True), size=SIZE)


def frames(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, *SIZE, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_callers_that_take_turns_get_what_each_alone_would(engine):
    shared = EnginePool().get("a", lambda: engine)
    states = {name: shared.init_state(1) for name in "xy"}
    alone = {name: engine.init_state(1) for name in "xy"}
    for seed in range(3):
        for offset, name in enumerate("xy"):
            _, states[name] = shared.step(frames(seed + 10 * offset), states[name])
    for name, offset in (("x", 0), ("y", 10)):
        for seed in range(3):
            _, alone[name] = engine.step(frames(seed + offset), alone[name])
        assert torch.equal(states[name], alone[name])


def test_an_engine_is_loaded_once_for_a_key_and_kept_as_long_as_it_is_used(engine):
    pool, loaded = EnginePool(), []

    def load():
        loaded.append(1)
        return engine

    first, second = pool.get("a", load), pool.get("a", load)
    assert first is second
    assert (first.given, len(loaded)) == (2, 1)
    pool.get("b", load)
    assert len(loaded) == 2
    del first, second
    gc.collect()
    pool.get("a", load)
    assert len(loaded) == 3, "nobody ran it any more"


def test_only_one_step_runs_at_a_time(engine, monkeypatch):
    running, most = [], []
    step = engine.step

    def slow_step(*arguments):
        running.append(1)
        most.append(len(running))
        try:
            return step(*arguments)
        finally:
            running.pop()

    monkeypatch.setattr(engine, "step", slow_step)
    shared = EnginePool().get("a", lambda: engine)
    threads = [
        threading.Thread(target=lambda: [shared.step(frames(i), shared.init_state(1)) for i in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (80, 1)


@pytest.mark.parametrize(("choice", "module", "name"), [
    ("torch", choose_module, "TorchEngine"), ("openvino", load_module, "run_engine"),
])  # fmt: skip
def test_what_the_same_parameters_ask_for_is_loaded_once(tiny_model, tmp_path, monkeypatch, choice, module, name):
    monkeypatch.setenv("RVM_CACHE", str(tmp_path))
    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors")
    wanted = {"model": str(tmp_path / "tiny.safetensors"), "size": SIZE, "device": "cpu", "threads": 1}
    choose_engine(choice, **wanted)  # It is built here, where it has to be.
    made, real = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: made.append(1) or real(*args, **kwargs))
    pool = EnginePool()
    engines = [choose_engine(choice, **wanted, pool=pool) for _ in range(3)]
    assert len(made) == 1
    assert len({id(engine) for engine in engines}) == 1
    other = choose_engine(choice, **{**wanted, "size": (48, 48)}, pool=pool)
    assert other.info.height == 48
