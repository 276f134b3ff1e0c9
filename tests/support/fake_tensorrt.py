"""A FAKE of TensorRT: the names that rvm uses, on this machine's memory, with ONNX Runtime doing the arithmetic.

It shows that plans, addresses, shapes, profiles, swapped buffers and errors are handled; nothing that it passes has run
on TensorRT. That its names and signatures are TensorRT's is checked in test_tensorrt_names.py on the real bindings.
"""

from __future__ import annotations

import ctypes
import json
import types
from enum import IntEnum

import numpy as np
import onnx
import onnxruntime

__version__ = "10.16.1.11"
MAGIC = b"fake plan\n"
TENSORRT_CLASSES = (
    "Builder", "BuilderFlag", "DataType", "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel", "IBuilderConfig", "ICudaEngine",
    "IExecutionContext", "ILogger", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor",
    "ISerializationConfig", "ITimingCache",
    "NetworkDefinitionCreationFlag", "OnnxParser", "OnnxParserRefitter", "ParserError", "Refitter", "Runtime",
    "SerializationFlag",
    "TensorIOMode",
)  # fmt: skip


class DataType(IntEnum):
    FLOAT = 0
    UINT8 = 5


class TensorIOMode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class BuilderFlag(IntEnum):
    REFIT = 4
    TF32 = 7
    VERSION_COMPATIBLE = 14


class SerializationFlag(IntEnum):
    INCLUDE_REFIT = 2


class ExecutionContextAllocationStrategy(IntEnum):
    STATIC = 0
    USER_MANAGED = 2


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class HardwareCompatibilityLevel(IntEnum):
    NONE = 0
    AMPERE_PLUS = 1


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def log(self, severity, msg):
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name, parent_phase, num_steps):
        raise NotImplementedError

    def step_complete(self, phase_name, step):
        raise NotImplementedError

    def phase_finish(self, phase_name):
        raise NotImplementedError


class ITimingCache:
    def __init__(self, data):
        self._data = data

    def serialize(self):
        return self._data + b"+measured"


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):
        self._shapes[input] = [list(min), list(opt), list(max)]


class INetworkDefinition:
    def __init__(self, flags):
        self._flags, self._graph = flags, None


class IBuilderConfig:
    def __init__(self):
        self.progress_monitor = None
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self._flags, self._profile, self._cache = {BuilderFlag.TF32}, None, None

    def add_optimization_profile(self, profile):
        self._profile = profile
        return 0

    def set_flag(self, flag):
        self._flags.add(BuilderFlag(flag))

    def clear_flag(self, flag):
        self._flags.discard(BuilderFlag(flag))

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class Builder:
    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags=0):
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 1)
        monitor.phase_start("Timing", "Building", 40)
        for step in range(40):
            assert monitor.step_complete("Timing", step) is True
        monitor.phase_finish("Timing")
        monitor.phase_finish("Building")
        if b"unbuildable" in network._graph:
            self._logger.log(ILogger.Severity.ERROR, "no kernel for node X")
            return None
        assert BuilderFlag.TF32 not in config._flags, "float32 would not be float32"
        head = {
            "version": __version__, "flags": sorted(config._flags), "profile": config._profile._shapes,
            "hardware": config.hardware_compatibility_level,
            "cache": config._cache._data.decode() if config._cache else None,
        }  # fmt: skip
        return memoryview(MAGIC + json.dumps(head).encode() + b"\n" + network._graph)


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._error = network, None

    @property
    def num_errors(self):
        return self._error is not None

    def get_error(self, index):
        return ParserError(self._error)

    def parse_from_file(self, model):
        with open(model, "rb") as file:
            self._network._graph = file.read()
        try:
            proto = onnx.load_from_string(self._network._graph)
            onnx.checker.check_model(proto)
            typed = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
            bytes_ = {v.name for v in typed.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
            readers = {node.op_type for node in proto.graph.node if "frames" in node.input}
            if bytes_ or readers != {"Cast"}:
                raise ValueError(f"UINT8 is not supported for intermediate tensors: {bytes_ or readers}")
        except Exception as error:
            self._error = f"not parsed: {error}"
        return self._error is None


class Refitter:
    def __init__(self, engine, logger):
        self._engine, self._logger, self._graph = engine, logger, None

    def refit_cuda_engine(self):
        if self._graph is None or BuilderFlag.REFIT not in self._engine._head["flags"]:
            self._logger.log(ILogger.Severity.ERROR, "weights are missing or fixed")
            return False
        self._engine._graph = self._graph
        return True


class OnnxParserRefitter:
    def __init__(self, refitter, logger):
        self._refitter, self._error = refitter, None

    @property
    def num_errors(self):
        return self._error is not None

    def get_error(self, index):
        return ParserError(self._error)

    def refit_from_file(self, model):
        ours, theirs = onnx.load_from_string(self._refitter._engine._graph).graph, onnx.load(model).graph
        if [node.name for node in ours.node] != [node.name for node in theirs.node]:
            self._error = "another network"
            return False
        with open(model, "rb") as file:
            self._refitter._graph = file.read()
        return True


class Runtime:
    def __init__(self, logger):
        self.engine_host_code_allowed = False
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        data = bytes(serialized_engine)
        if not data.startswith(MAGIC):
            self._logger.log(ILogger.Severity.ERROR, "magic tag does not match")
            return None
        head, graph = data.removeprefix(MAGIC).split(b"\n", 1)
        engine = ICudaEngine(json.loads(head), graph)
        if BuilderFlag.VERSION_COMPATIBLE in engine._head["flags"] and not self.engine_host_code_allowed:
            self._logger.log(ILogger.Severity.ERROR, "host code is not allowed")
            return None
        return engine


class ICudaEngine:
    def __init__(self, head, graph):
        self._head, self._graph = head, graph
        proto = onnx.load_from_string(graph).graph
        self._values = [(value, TensorIOMode.INPUT) for value in proto.input]
        self._values += [(value, TensorIOMode.OUTPUT) for value in proto.output]

    def _find(self, name):
        return next((value, mode) for value, mode in self._values if value.name == name)

    @property
    def num_io_tensors(self):
        return len(self._values)

    def get_tensor_name(self, index):
        return self._values[index][0].name

    def get_tensor_mode(self, name):
        return self._find(name)[1]

    def get_tensor_dtype(self, name):
        return {1: DataType.FLOAT, 2: DataType.UINT8}[self._find(name)[0].type.tensor_type.elem_type]

    def get_tensor_shape(self, name):
        return [dim.dim_value or -1 for dim in self._find(name)[0].type.tensor_type.shape.dim]

    def get_tensor_profile_shape(self, name, profile_index):
        return self._head["profile"][name]

    device_memory_size_v2 = 4096

    def create_execution_context(self, strategy=ExecutionContextAllocationStrategy.STATIC):
        context = IExecutionContext(self)
        context._scratch = strategy == ExecutionContextAllocationStrategy.STATIC
        return context

    def create_serialization_config(self):
        return ISerializationConfig()

    def serialize_with_config(self, arg0):
        flags = set(self._head["flags"])
        if SerializationFlag.INCLUDE_REFIT not in arg0._flags:
            flags.discard(BuilderFlag.REFIT)
        head = {**self._head, "flags": sorted(flags)}
        return memoryview(MAGIC + json.dumps(head).encode() + b"\n" + self._graph)


class ISerializationConfig:
    def __init__(self):
        self._flags = set()

    def set_flag(self, flag):
        self._flags.add(SerializationFlag(flag))
        return True


class IExecutionContext:
    def __init__(self, engine):
        self._engine, self._shapes, self._addresses, self._ran = engine, {}, {}, False
        self._session = onnxruntime.InferenceSession(engine._graph, providers=["CPUExecutionProvider"])

    def set_input_shape(self, name, shape):
        assert not self._ran, "a shape that is set between steps makes a capture fail"
        low, _, high = self._engine._head["profile"][name]
        self._shapes[name] = tuple(shape)
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return memory != 0

    def set_device_memory(self, memory, size):
        self._scratch = memory != 0 and size >= self._engine.device_memory_size_v2

    def execute_async_v3(self, stream_handle):
        assert self._scratch, "no memory to work in"
        self._ran = True
        types_ = {"frames": ctypes.c_uint8, "state": ctypes.c_float, "features": ctypes.c_float}
        shapes = {**self._shapes, "features": self._shapes["state"]}
        arrays = {
            name: np.ctypeslib.as_array((types_[name] * int(np.prod(shapes[name]))).from_address(address)).reshape(
                shapes[name]
            )
            for name, address in self._addresses.items()
        }
        inputs = {name: arrays[name].copy() for name in ("frames", "state")}
        arrays["features"][...] = self._session.run(None, inputs)[0]
        return True


def module(version=__version__):
    """The fake as a module that can stand in sys.modules."""
    made = types.ModuleType("tensorrt")
    made.__version__ = version
    for name in TENSORRT_CLASSES:
        setattr(made, name, globals()[name])
    return made
