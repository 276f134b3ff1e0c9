"""Every TensorRT name and signature that rvm uses is in the real bindings, of both versions that it is written for.

NVIDIA's bindings install from PyPI, its libraries do not: empty ones are compiled here, just so that the bindings load.
`make install` puts the bindings into the environment; elsewhere these tests are skipped.
"""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import fake_tensorrt
import pytest

STUBS = """
void *createInferBuilder_INTERNAL() { return 0; }
void *createInferRefitter_INTERNAL() { return 0; }
void *createInferRuntime_INTERNAL() { return 0; }
void *createNvOnnxParserRefitter_INTERNAL() { return 0; }
void *createNvOnnxParser_INTERNAL() { return 0; }
void *getBuilderPluginRegistry() { return 0; }
void *getPluginRegistry() { return 0; }
int getNvOnnxParserVersion() { return 0; }
int initLibNvInferPlugins() { return 0; }
"""
READ = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("tensorrt", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def members(cls):
    return {name: getattr(cls, name).__doc__ or "" for name in dir(cls)}
names = {name: members(getattr(module, name)) for name in dir(module) if isinstance(getattr(module, name), type)}
names["ILogger.Severity"] = members(module.ILogger.Severity)
print(json.dumps(names))
"""


@pytest.fixture(params=[10, 11], scope="module")
def real(request, tmp_path_factory):
    """Class to member to docstring, read from the bindings in a process of its own."""
    bindings = Path(sys.prefix) / f"tensorrt{request.param}" / "tensorrt_bindings" / "tensorrt.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not bindings.is_file() or compiler is None:
        pytest.skip(f"needs {bindings.name} of TensorRT {request.param} in {bindings.parent.parent}, and a C compiler")
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "stubs.c").write_text(STUBS)
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        file = f"lib{name}.so.{request.param}"
        words = ["-w", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", str(folder / file), str(folder / "stubs.c")]
        subprocess.run([compiler, *words], check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    read = subprocess.run(
        [sys.executable, "-c", READ, str(bindings)], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(read.stdout)


def used():
    """(class, member, names of its arguments or None) of everything that the fake offers, and so that rvm may use."""
    classes = {name: getattr(fake_tensorrt, name) for name in fake_tensorrt.TENSORRT_CLASSES}
    classes["ILogger.Severity"] = fake_tensorrt.ILogger.Severity
    for name, cls in classes.items():
        if issubclass(cls, IntEnum):
            yield from ((name, member, None) for member in cls.__members__)
            continue
        for member, value in vars(cls).items():
            if member.startswith("_") or isinstance(value, type):
                continue
            arguments = list(inspect.signature(value).parameters)[1:] if inspect.isfunction(value) else None
            yield name, member, arguments
    # Attributes that the fake sets on itself.
    yield from (("Runtime", "engine_host_code_allowed", None), ("IBuilderConfig", "progress_monitor", None))
    yield from (("IBuilderConfig", "hardware_compatibility_level", None), ("Builder", "__init__", ["logger"]))
    yield from (("OnnxParser", "__init__", ["network", "logger"]), ("Runtime", "__init__", ["logger"]))
    yield from (("OnnxParserRefitter", "__init__", ["refitter", "logger"]),)
    yield from (("Refitter", "__init__", ["engine", "logger"]),)


@pytest.mark.parametrize(("cls", "member", "arguments"), list(used()), ids=lambda value: str(value))
def test_the_name_and_its_arguments_are_in_the_bindings(real, cls, member, arguments):
    assert cls in real, f"TensorRT has no {cls}"
    assert member in real[cls], f"{cls} has no {member}"
    if arguments is not None:
        signatures = re.findall(rf"{member}\(self: [\w.]+(.*?)\) ->", real[cls][member])
        assert signatures, real[cls][member]
        overloads = [re.findall(r", (\w+):", signature) for signature in signatures]
        assert any(names[: len(arguments)] == arguments for names in overloads), overloads
