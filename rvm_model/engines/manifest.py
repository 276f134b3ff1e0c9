"""The manifest of an engine folder: what was compiled, from what, for what, and how far it is from the float32 network.

An engine is a folder with `manifest.yaml`, the files that it names, and nothing else. Loading reads the manifest and
checks the files' hashes before any of them is parsed.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from rvm_model.hashing import file_digest

MANIFEST = "manifest.yaml"
SCHEMA = 1
"""Version of the manifest's layout that this code reads and writes."""

Kind = Literal["onnx", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Rest = Literal["fp32", "fp16", "bf16"]

RESTS: dict[tuple[Kind, Precision], tuple[Rest, ...]] = {
    ("onnx", "fp32"): ("fp32",),
    ("onnx", "fp16"): ("fp16",),
    ("onnx", "bf16"): ("bf16",),
    ("onnx", "int8"): ("fp32", "fp16"),
    ("onnx", "fp8"): ("fp32", "fp16"),
    ("openvino", "fp32"): ("fp32",),
    ("openvino", "bf16"): ("bf16",),
    ("openvino", "int8"): ("fp32", "bf16"),
    ("tensorrt", "fp32"): ("fp32",),
    ("tensorrt", "fp16"): ("fp16",),
    ("tensorrt", "bf16"): ("bf16",),
    ("tensorrt", "int8"): ("fp16", "bf16", "fp32"),
    ("tensorrt", "fp8"): ("fp16", "bf16", "fp32"),
}
"""Precisions that each kind has, and the arithmetic that the rest may be in. OpenVINO has no float16 on a CPU."""
START_FILES = {"onnx": "step.onnx", "openvino": "step.xml", "tensorrt": "step.plan"}
"""The file that each kind is loaded from."""


class EngineError(ValueError):
    """An engine folder that cannot be used here. The message says what was found, what was expected, what to do."""


class DamagedEngineError(EngineError):
    """An engine folder that is incomplete, changed, or of another version of this package."""


def check_arithmetic(kind: Kind, precision: Precision, rest: Rest) -> None:
    """Check that a kind of engine has this arithmetic.

    Raises:
        EngineError: it has not.
    """
    if rest not in RESTS.get((kind, precision), ()):
        expected = ", ".join(f"{p} with {' or '.join(rests)}" for (k, p), rests in RESTS.items() if k == kind)
        raise EngineError(f"engine: got {precision} with {rest} for {kind}, expected one of: {expected}")


@dataclass(frozen=True)
class Parity:
    """Distance of the engine's features from those of the float32 network, over recurrent steps on the same frames."""

    steps: int
    """Recurrent steps that were compared."""
    worst: float
    """Largest relative error of a step: |features - reference| / |reference|, Euclidean norms over all tokens."""
    last: float
    """Relative error of the last step."""
    growth: float
    """Mean relative error of the last quarter of the steps, by that of the first quarter."""
    worst_token: float
    """Largest relative error of a single token."""
    by_step: list[float]
    """Relative error of every step."""
    tolerance: float
    """What `worst` had to stay below."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that an engine was built for."""

    name: str
    compute_capability: str
    """For example `9.0`."""
    hardware_compatible: bool = False
    """Other GPUs of compute capability 8.0 or above run it too."""
    version_compatible: bool = False
    """Later versions of TensorRT run it too."""
    refittable: bool = False
    """Other weights can be put into it."""


@dataclass(frozen=True)
class EngineManifest:
    """Everything that is known about an engine."""

    kind: Kind
    model: str
    """Weights as the user named them."""
    weights: str
    """Identity of the weights: `sha256:...` of the checkpoint, or the untrained specification."""
    trained: bool
    height: int
    """Rows of the input in pixels."""
    width: int
    """Columns of the input in pixels."""
    patch_size: int
    dim: int
    """Feature width D."""
    cameras: int | None
    """Largest batch; None takes any."""
    precision: Precision
    """Arithmetic of the linear layers."""
    rest: Rest
    """Arithmetic of attention, norms and sums, at the least: a CPU without bf16 computes in fp32."""
    in_float: list[str]
    """Of an engine in 8 bits, the linear layers that stayed in the arithmetic of the rest."""
    opset: int | None
    """ONNX opset, where the engine is made of ONNX."""
    files: dict[str, str]
    """Name to SHA-256 of every other file of the folder."""
    built_with: dict[str, str]
    """Versions of what built it."""
    parity: Parity
    gpu: Gpu | None = None
    """Where the engine fits one kind of GPU only."""

    @property
    def batch(self) -> str:
        """The largest batch in words."""
        return "any number of cameras" if self.cameras is None else f"up to {self.cameras} cameras"

    def write(self, folder: Path) -> None:
        """Write the manifest into the engine's folder."""
        text = yaml.safe_dump({"schema": SCHEMA, **dataclasses.asdict(self)}, sort_keys=False)
        (folder / MANIFEST).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> EngineManifest:
        """Read the manifest of an engine folder; its files are not looked at.

        Raises:
            FileNotFoundError: there is no manifest.
            EngineError: it is malformed, or of another version of this package.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"engine: no {MANIFEST} in {folder}; expected a folder that `rvm export` wrote")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DamagedEngineError(f"{path}: is no YAML ({error}); export the engine again") from error
        if not isinstance(values, dict):
            raise DamagedEngineError(
                f"{path}: got {type(values).__name__}, expected keys and values; export the engine again"
            )
        if (schema := values.pop("schema", None)) != SCHEMA:
            raise DamagedEngineError(
                f"{path}: got schema {schema!r}, expected {SCHEMA}; the engine is of another version of rvm: use that "
                "one, or export the engine again"
            )
        engine: EngineManifest = _build(cls, values, str(path))
        sizes = engine.height, engine.width, engine.patch_size, engine.dim
        if min(sizes) < 1 or engine.height % engine.patch_size or engine.width % engine.patch_size:
            raise DamagedEngineError(
                f"{path}: got height, width, patch_size and dim {sizes}, expected positive numbers and whole patches; "
                "export the engine again"
            )
        if START_FILES[engine.kind] not in engine.files:
            raise DamagedEngineError(
                f"{path}: got files {sorted(engine.files)}, expected {START_FILES[engine.kind]} among them; export the "
                "engine again"
            )
        try:
            check_arithmetic(engine.kind, engine.precision, engine.rest)
        except EngineError as error:
            raise DamagedEngineError(f"{path}: {error}; export the engine again") from error
        return engine


def check_files(folder: Path, manifest: EngineManifest) -> None:
    """Check that a folder holds exactly the files that its manifest names, unchanged.

    Raises:
        EngineError: a file is missing, changed or not named.
    """
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if missing := manifest.files.keys() - present:
        raise DamagedEngineError(
            f"{folder}: {sorted(missing)} missing; copy the whole folder, or export the engine again"
        )
    if extra := present - manifest.files.keys():
        raise DamagedEngineError(
            f"{folder}: {sorted(extra)} not in the manifest; an engine's folder holds nothing else"
        )
    if folders := sorted(name for name in manifest.files if not (folder / name).is_file()):
        raise DamagedEngineError(f"{folder}: got folders {folders}, expected files; export the engine again")
    for name, expected in manifest.files.items():
        if (got := file_digest(folder / name).hex()) != expected:
            raise DamagedEngineError(
                f"{folder / name}: got SHA-256 {got[:12]}..., expected {expected[:12]}...; the file was changed or cut "
                "short: copy it again, or export the engine again"
            )


def _build(cls: type, values: Any, where: str) -> Any:
    """Fill a dataclass from plain values, each of the type that the field declares."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    if not isinstance(values, Mapping):
        raise DamagedEngineError(f"{where}: got {values!r}, expected keys and values; export the engine again")
    missing, unknown = set(required) - values.keys(), values.keys() - set(names)
    if missing or unknown:
        raise DamagedEngineError(
            f"{where}: missing {sorted(missing)}, unknown {sorted(map(str, unknown))}; export the engine again"
        )
    return cls(**{name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(choices[0], value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    if origin is dict:
        fits = isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)
    elif origin is list:
        if not isinstance(value, list):
            raise DamagedEngineError(f"{where}: got {value!r}, expected a list; export the engine again")
        return [_convert(choices[0], item, where) for item in value]
    elif origin is Literal:
        fits = value in choices
    elif hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if not fits:
        expected = f"one of {', '.join(choices)}" if origin is Literal else getattr(hint, "__name__", str(hint))
        raise DamagedEngineError(f"{where}: got {value!r}, expected {expected}; export the engine again")
    return float(value) if hint is float else value
