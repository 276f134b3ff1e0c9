"""Readout: a small head, trained on labelled images, that names the class of every token; and the file it lives in.

Departs from the linear probes of the field (MAE, DINOv2: a batch norm and one linear layer on frozen features) in the
norm: a layer norm, as in the readouts of 4DS. It keeps no statistics of the images that it was trained on, which a
robot's camera would not share, and brings the features of the core, which no norm follows, to one scale. Departs from
the readouts of 4DS in that it reads one token of one frame: what is around and before is in the features.

Shape legend: h w patch rows and columns, D feature width, K classes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rvm_model.heads.palette import palette
from rvm_model.heads.tokens import as_matrix
from rvm_model.weights import UNTRAINED

FORMAT = "rvm-readout-1"
"""Value of the `format` entry in the file's metadata; the number is the schema's version."""
DESCRIPTION = "readout"
"""The metadata's other entry: everything but the weights, as JSON."""
MAX_CLASSES = 65534
"""65535 stays free for unlabelled in a 16 bit image."""
MAX_WIDTH = 65536
"""Far above every model's, and far below what overflows."""


class ReadoutError(ValueError):
    """A file that is no readout, or a readout that does not fit what it is asked to read."""


class Features(Protocol):
    """Where features come from; an `EngineInfo` is one."""

    @property
    def dim(self) -> int:
        """Their width D."""
        ...

    @property
    def weights(self) -> str:
        """Identity of the network: `sha256:...` of the checkpoint file, or the untrained specification."""
        ...


@dataclass(frozen=True)
class ReadoutConfig:
    """Sizes of a segmentation readout."""

    dim: int
    """Width D of the features."""
    classes: int
    """Number of classes K."""
    hidden: int = 0
    """Width of the one hidden layer; 0 has none, which is a linear probe."""

    def __post_init__(self) -> None:
        """Refuse sizes that no head can have."""
        for name, least, most in (("dim", 1, MAX_WIDTH), ("classes", 1, MAX_CLASSES), ("hidden", 0, MAX_WIDTH)):
            value = getattr(self, name)
            if not _is_whole(value, least, most):
                raise ValueError(f"{name}: got {value!r}, expected a whole number {least}..{most}")


class SegmentationReadout(nn.Module):
    """Layer norm, at most one hidden layer with GELU, and a linear layer: each token by itself."""

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.hidden = nn.Linear(config.dim, config.hidden) if config.hidden else None
        self.out = nn.Linear(config.hidden or config.dim, config.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits float32 [..., K] of features float32 [..., D]."""
        x = self.norm(tokens)
        if self.hidden is not None:
            x = nn.functional.gelu(self.hidden(x))
        return self.out(x)


@dataclass(frozen=True)
class ReadoutLabels:
    """What the classes mean, in the order of the logits: a pixel of class k has the value k in a published image."""

    names: tuple[str, ...]
    """Names, unique and not empty."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """Red, green and blue of each class, 0..255; empty takes those of `rvm_model.heads.palette`."""
    ids: tuple[int, ...] = ()
    """Value of each class in the label images that it was trained on, 0..65535; empty takes 0, 1, 2, ..."""
    ignore: int | None = None
    """Value in those label images that is left out of training and of scores; None leaves nothing out."""

    def __post_init__(self) -> None:
        """Fill in what was left empty, and refuse labels that nobody could tell apart."""
        count = len(self.names)
        if not 1 <= count <= MAX_CLASSES:
            raise ValueError(f"names: got {count}, expected 1..{MAX_CLASSES}")
        for name in self.names:
            if not isinstance(name, str) or not name.strip() or not name.isprintable():
                raise ValueError(f"names: got {name!r}, expected printable text that is not empty")
        _check_unique("names", self.names)
        if not self.colours:
            object.__setattr__(self, "colours", tuple(tuple(colour) for colour in palette(count).tolist()))
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(count)))
        for field, values in (("colours", self.colours), ("ids", self.ids)):
            if len(values) != count:
                raise ValueError(f"{field}: got {len(values)} for {count} names, expected one for each")
        for colour in self.colours:
            if len(colour) != 3 or not all(_is_whole(value, 0, 255) for value in colour):
                raise ValueError(f"colours: got {colour!r}, expected red, green and blue, each 0..255")
        for value in (*self.ids, *(() if self.ignore is None else (self.ignore,))):
            if not _is_whole(value, 0, 65535):
                raise ValueError(f"ids and ignore: got {value!r}, expected whole numbers 0..65535")
        _check_unique("ids", self.ids)
        if self.ignore in self.ids:
            raise ValueError(f"ignore: got {self.ignore}, the id of a class; expected another value, or None")


@dataclass(frozen=True)
class Readout:
    """A trained head and what has to be known to use it."""

    head: SegmentationReadout
    """In float32 and evaluation mode, on the device of the features."""
    labels: ReadoutLabels
    """What its classes mean."""
    weights: str
    """Identity of the network on whose features it was trained, as in `EngineInfo.weights`."""
    image_size: tuple[int, int]
    """Rows and columns of the images that it was trained on; others are read as well."""
    trained_on: str = ""
    """The data, for people."""
    source: str = "readout"
    """Where it came from, for messages."""

    def __post_init__(self) -> None:
        """Refuse a head whose classes are not the labels', and an identity that is none."""
        if self.head.config.classes != len(self.labels.names):
            raise ValueError(
                f"labels: got {len(self.labels.names)} names, expected {self.head.config.classes}, the head's classes"
            )
        if not _IDENTITY.fullmatch(self.weights):
            raise ValueError(
                f"weights: got {self.weights!r}, expected sha256: and 64 hexadecimal digits, or {UNTRAINED}PRESET:SEED;"
                " take the identity from WeightsInfo or EngineInfo"
            )
        if len(self.image_size) != 2 or not all(_is_whole(side, 1, MAX_WIDTH) for side in self.image_size):
            raise ValueError(f"image_size: got {self.image_size!r}, expected rows and columns, each 1..{MAX_WIDTH}")

    @torch.inference_mode()
    def __call__(self, tokens: Tensor) -> Tensor:
        """Read one frame.

        Args:
            tokens: features [h, w, D], floating point, on the head's device. A token that is not finite is read as the
                mean of the others.

        Returns:
            Logits float32 [h, w, K]; `rvm_model.heads.clusters.labels_at` makes of them the class of every pixel.

        Raises:
            ValueError: not [h, w, D] of the head's width.
        """
        x_ND, _ = as_matrix(tokens)
        dim = self.head.config.dim
        if x_ND.shape[1] != dim:
            raise ValueError(f"tokens: got width {x_ND.shape[1]}, expected {dim} as {self.source} was trained on")
        return self.head(x_ND).unflatten(0, tokens.shape[:2])

    def check_engine(self, info: Features) -> None:
        """Check that an engine gives the features that this was trained on.

        Raises:
            ReadoutError: it has another width, or other weights: the same class then lies elsewhere in the features.
        """
        if info.dim != self.head.config.dim:
            raise ReadoutError(
                f"{self.source}: got an engine with features of width {info.dim}, expected {self.head.config.dim}; "
                "train a readout for this engine, or run the model that this one was trained on"
            )
        if info.weights != self.weights:
            raise ReadoutError(
                f"{self.source}: got an engine with weights {info.weights}, expected {self.weights}, on whose features "
                "it was trained; train a readout for this engine, or run the weights that this one was trained on"
            )


def confidence(logits: Tensor) -> Tensor:
    """How sure every token's class is: the share of the softmax that the winner has, 1/K..1.

    Args:
        logits: [..., K] from a `Readout`.

    Returns:
        float32 [...]; resize it bilinearly for a picture, as the logits are for the labels.
    """
    return torch.softmax(logits.float(), dim=-1).amax(-1)


def save_readout(
    path: str | Path,
    head: SegmentationReadout,
    labels: ReadoutLabels,
    *,
    weights: str,
    image_size: tuple[int, int],
    trained_on: str = "",
) -> None:
    """Write a trained head as one file, whole or not at all.

    Args:
        path: file to write, ending in `.safetensors`.
        head: the head, of any floating point type.
        labels: what its classes mean.
        weights: identity of the network on whose features it was trained, as in `EngineInfo.weights`.
        image_size: rows and columns of the images that it was trained on.
        trained_on: the data, for people.

    Raises:
        ValueError: the suffix is another, the parts do not fit each other, or a weight is not finite.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save_readout: got {path.name}, expected a file name ending in .safetensors")
    readout = Readout(head, labels, weights, image_size, trained_on)
    tensors = {
        name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in head.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"save_readout: {name} has values that are not finite; the training diverged")
    description = {
        "config": dataclasses.asdict(head.config),
        "labels": dataclasses.asdict(labels),
        **{name: getattr(readout, name) for name in ("weights", "image_size", "trained_on")},
    }
    data = save(tensors, metadata={"format": FORMAT, DESCRIPTION: json.dumps(description)})
    # Written beside and moved into place, so that a crash never leaves half a file under the final name.
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error}") from error


def load_readout(path: str | Path, *, device: torch.device | str = "cpu") -> Readout:
    """Load a file of `save_readout`; nothing in it is ever unpickled or run.

    Args:
        path: the file.
        device: where the features are.

    Raises:
        FileNotFoundError: there is no such file.
        ReadoutError: the file is damaged, or says something that no readout can be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"readout: no file at {path}; train one with `rvm readout segmentation`")
    try:
        text, tensors = _open(path)
        description = _fields(_json(text), _KEYS)
        config = ReadoutConfig(**_fields(description["config"], _names_of(ReadoutConfig)))
        labels = _labels(_fields(description["labels"], _names_of(ReadoutLabels)))
        with torch.device("meta"):  # No memory and no random numbers for weights that are replaced at once.
            head = SegmentationReadout(config)
        _check_tensors(tensors, {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()})
        head.load_state_dict(tensors, strict=True, assign=True)
        weights, trained_on = description["weights"], description["trained_on"]
        if not isinstance(weights, str) or not isinstance(trained_on, str):
            raise ValueError(f"weights and trained_on: got {weights!r} and {trained_on!r}, expected text")
        size = _size(description["image_size"])
        return Readout(head.to(device).eval().requires_grad_(False), labels, weights, size, trained_on, str(path))
    except (ValueError, OSError) as error:
        raise ReadoutError(f"{path}: {error}; copy the file again, or train the readout again") from error


_KEYS = ("config", "labels", "weights", "image_size", "trained_on")
_IDENTITY = re.compile(rf"sha256:[0-9a-f]{{64}}|{UNTRAINED}\S+")


def _open(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"got format {metadata.get('format')!r} in the metadata, expected {FORMAT!r}")
            entries = _fields(metadata, ("format", DESCRIPTION))
            # Copied out of the file's memory map: a file replaced in place would otherwise kill a running node.
            return entries[DESCRIPTION], {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"cannot be read as safetensors ({error})") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the description in its metadata is no JSON ({error})") from error


def _fields(values: Any, expected: Iterable[str]) -> dict[str, Any]:
    """The values, a mapping with exactly these keys."""
    if not isinstance(values, Mapping):
        raise ValueError(f"got {str(values)[:80]!r}, expected a mapping with {sorted(expected)}")
    if values.keys() != set(expected):
        raise ValueError(f"got entries {sorted(values)}, expected {sorted(expected)}")
    return dict(values)


def _labels(values: dict[str, Any]) -> ReadoutLabels:
    names, ids, colours = (_tuple(field, values[field]) for field in ("names", "ids", "colours"))
    if not ids or not colours:
        raise ValueError(f"labels: got {len(ids)} ids and {len(colours)} colours, expected {len(names)} of each")
    return ReadoutLabels(names, tuple(_tuple("colours", colour) for colour in colours), ids, values["ignore"])


def _tuple(field: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{field}: got {value!r}, expected a list")
    return tuple(value)


def _size(value: Any) -> tuple[int, int]:
    sides = _tuple("image_size", value)
    if len(sides) != 2:
        raise ValueError(f"image_size: got {value!r}, expected rows and columns")
    return sides[0], sides[1]


def _names_of(kind: type[ReadoutConfig] | type[ReadoutLabels]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _check_tensors(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if got != shapes:
        raise ValueError(f"got weights {got}, expected {dict(shapes)} for its configuration")
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"got {name} as {tensor.dtype}, expected torch.float32")
        if not tensor.isfinite().all():
            raise ValueError(f"got {name} with values that are not finite, expected finite weights")


def _check_unique(field: str, values: tuple[Any, ...]) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{field}: got {value!r} twice, expected each once")
        seen.add(value)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # A bool is an int too, and no colour.
