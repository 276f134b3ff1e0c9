"""Engines: the same recurrent step behind one Protocol, whatever runs it."""

from rvm_model.engines.base import Engine, EngineInfo
from rvm_model.engines.choose import BY_NAME, choose_engine
from rvm_model.engines.load import load_engine
from rvm_model.engines.manifest import EngineError, EngineManifest
from rvm_model.engines.pool import EnginePool, SharedEngine
from rvm_model.engines.states import CameraStates
from rvm_model.engines.torch_engine import TorchEngine

__all__ = [
    "BY_NAME",
    "CameraStates",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineManifest",
    "EnginePool",
    "SharedEngine",
    "TorchEngine",
    "choose_engine",
    "load_engine",
]
