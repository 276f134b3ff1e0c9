"""Which weights to run, by one string: the bundled model, a file, a downloaded released model, or untrained ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from rvm_model.checkpoint import is_trained, load_checkpoint, read_config
from rvm_model.config import PRESETS, RVMConfig, preset
from rvm_model.hashing import file_digest
from rvm_model.rvm import RVM

RELEASE_URL = "https://storage.googleapis.com/representations4d/checkpoints/"
"""Where the authors keep the released checkpoints."""

RELEASED: dict[str, str] = {
    "rvm_small16_256": "pretrain_rvm_small16_256_204031069.npz",
    "rvm_base16_256": "pretrain_rvm_base16_256_203916225.npz",
    "rvm_large16_256": "pretrain_rvm_large16_256_202497301.npz",
    "rvm_huge16_256": "pretrain_rvm_huge16_256_203854202.npz",
}
"""File name of each released model: encoder, core and decoder."""

BUNDLED: dict[str, Path] = {"rvm_nano": Path(__file__).with_name("rvm_nano.safetensors")}
"""Models that are part of this package, trained by us: their cards lie beside them."""

UNTRAINED = "untrained:"
"""Prefix of a specification for seeded random weights: `untrained:PRESET` or `untrained:PRESET:SEED`."""
DEFAULT_MODEL = "rvm_nano"
"""What runs where nobody chose."""
UNTRAINED_SMALL = f"{UNTRAINED}rvm_small16_256"
"""A network as large as the released small one, for benchmarks: other weights of its size take the same time."""


@dataclass(frozen=True)
class WeightsInfo:
    """Where a network's weights came from."""

    name: str
    """What the user asked for."""
    identity: str
    """`sha256:...` of the file, or the full untrained specification: equal identities are equal weights."""
    trained: bool
    """False for seeded random weights."""


def cache_dir() -> Path:
    """Folder of downloaded weights: $RVM_CACHE, else rvm below $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("RVM_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rvm"


def load_weights(name: str) -> tuple[RVM, WeightsInfo]:
    """Load the network that a specification names.

    Args:
        name: `rvm_nano`, which is bundled; a path to a `.npz` or `.safetensors` file; a released model's name, once it
            was downloaded; or `untrained:PRESET[:SEED]` for random weights, the same for the same seed.

    Returns:
        The network on the CPU, and where it came from.

    Raises:
        FileNotFoundError: no such file, or a released model that was not downloaded.
        ValueError: the name or the file is not usable.
    """
    info = weights_info(name)
    if not name.startswith(UNTRAINED):
        return load_checkpoint(weights_path(name)), info
    preset_name, seed = _untrained(name)
    return seeded(preset(preset_name), seed).eval(), info


def seeded(config: RVMConfig, seed: int) -> RVM:
    """A network with random weights, the same for the same seed; torch's own random numbers go on as they were."""
    # On the CPU whatever the default device: each device has random numbers of its own.
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return RVM(config)


def weights_info(name: str) -> WeightsInfo:
    """Where the network that a specification names comes from, without loading it.

    Raises:
        FileNotFoundError: no such file, or a released model that was not downloaded.
        ValueError: the name is not usable.
    """
    if name.startswith(UNTRAINED):
        preset_name, seed = _untrained(name)
        return WeightsInfo(name, f"{UNTRAINED}{preset_name}:{seed}", trained=False)
    path = weights_path(name)
    return WeightsInfo(name, f"sha256:{file_sha256(path)}", trained=is_trained(path))


def weights_config(name: str) -> RVMConfig:
    """Sizes of the network that a specification names, without loading it.

    Raises:
        FileNotFoundError: no such file, or a released model that was not downloaded.
        ValueError: the name or the file is not usable.
    """
    return preset(_untrained(name)[0]) if name.startswith(UNTRAINED) else read_config(weights_path(name))


def weights_path(name: str) -> Path:
    """The file that a path or the name of a bundled or downloaded model means.

    Raises:
        FileNotFoundError: no such file, or a released model that was not downloaded.
    """
    if name in BUNDLED:
        path = BUNDLED[name]
        if not path.is_file():
            raise FileNotFoundError(
                f"weights: {name} is not at {path}, where this package should have it; install the package again, or "
                "give other weights"
            )
        return path
    if name in RELEASED:
        path = cache_dir() / RELEASED[name]
        if not path.is_file():
            short = name.removeprefix("rvm_").removesuffix("16_256")
            raise FileNotFoundError(
                f"weights: {name} is not at {path}; fetch it with `rvm weights download {short}`, "
                f"or give a file, or {UNTRAINED}{name} for random weights"
            )
        return path
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"weights: got {name!r}, which is no file; expected a path to .npz or .safetensors, "
            f"one of {', '.join(PRESETS)}, or {UNTRAINED}PRESET[:SEED]"
        )
    return path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    return file_digest(path).hex()


def _untrained(name: str) -> tuple[str, int]:
    preset_name, _, seed_text = name.removeprefix(UNTRAINED).partition(":")
    if seed_text and not seed_text.isdecimal():
        raise ValueError(
            f"weights: got seed {seed_text!r} in {name!r}, expected {UNTRAINED}PRESET[:SEED] with a number"
        )
    preset(preset_name)
    return preset_name, int(seed_text or 0)
