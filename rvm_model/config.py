"""Sizes of an RVM network: the configuration dataclasses, and presets of the bundled and released networks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal


def _check_positive(config: DecoderConfig | RVMConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{field.name}: got {value}, expected a positive number")


def _check_heads(name: str, dim: int, heads: int) -> None:
    if dim % heads:
        raise ValueError(f"{name}: got {dim} for {heads} heads, expected a multiple of the number of heads")


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the pixel decoder, which only pretraining and reconstruction use (paper section 3, appendix A)."""

    depth: int = 8
    """Number of cross-attention blocks."""
    dim: int = 512
    """Token width inside the decoder."""
    heads: int = 16
    """Attention heads per block."""
    mlp_dim: int = 2048
    """Hidden width of the MLPs."""
    max_delta: int = 64
    """Width of the one-hot code of a target's time offset; an offset outside 0..max_delta-1 is coded as zeros."""
    sees: Literal["all", "last"] = "all"
    """Source frames whose features it attends to. With the paper's `all` a network may spread what it knows over them,
    so that states differ by their age; with `last` each state has to hold everything."""

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        _check_positive(self)
        _check_heads("decoder dim", self.dim, self.heads)
        if self.sees not in ("all", "last"):
            raise ValueError(f"decoder sees: got {self.sees!r}, expected all or last")


@dataclass(frozen=True)
class RVMConfig:
    """Sizes of the tokenizer, the encoder, the recurrent core and, where there is one, the decoder."""

    dim: int
    """Token width D of encoder and core, and so of the features."""
    encoder_depth: int
    """Number of pre-norm ViT blocks."""
    encoder_heads: int
    """Attention heads of an encoder block."""
    encoder_mlp_dim: int
    """Hidden width of an encoder MLP."""
    core_heads: int
    """Attention heads of a core block."""
    core_mlp_dim: int
    """Hidden width of a core MLP."""
    core_depth: int = 4
    """Number of cross-attention blocks in the recurrent core."""
    patch_size: int = 16
    """Side of a square patch in pixels."""
    position: Literal["flattened", "axes"] = "flattened"
    """The position code: the authors' one sinusoid over all patches in a row, or one over rows and one over columns, in
    a half of the width each, which is as it is at every grid."""
    base_grid: tuple[int, int] = (16, 16)
    """Patch rows and columns that a flattened position code is made for, those of the first training resolution;
    elsewhere it is resized."""
    trained_grid: tuple[int, int] | None = None
    """Patch rows and columns of the last training resolution, where it went on at another one."""
    run_grid: tuple[int, int] | None = None
    """Patch rows and columns of the frames that it is made to be run on, where those are not the training's."""
    position_range: tuple[int, int] | None = None
    """Patch rows and columns within which training frames lay anywhere, with a code of axes; None for the training grid
    alone."""
    decoder: DecoderConfig | None = DecoderConfig()
    """Sizes of the decoder, or None for a network that only encodes."""
    aggregator: Literal["gated", "self_attention"] = "gated"
    """What makes features of encoded frames: the recurrent core, or self-attention over a clip, which cannot stream."""

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        _check_positive(self)
        _check_heads("dim", self.dim, self.encoder_heads)
        _check_heads("dim", self.dim, self.core_heads)
        if self.aggregator not in ("gated", "self_attention"):
            raise ValueError(f"aggregator: got {self.aggregator!r}, expected gated or self_attention")
        if self.position not in ("flattened", "axes"):
            raise ValueError(f"position: got {self.position!r}, expected flattened or axes")
        widths = [self.dim] if self.decoder is None else [self.dim, self.decoder.dim]
        if self.position == "axes" and any(width % 4 for width in widths):
            raise ValueError(
                f"dim: got {widths} for a code of two axes, expected multiples of 4: sine and cosine of each"
            )
        for name in _GRIDS:
            grid = getattr(self, name)
            if name != "base_grid" and grid is None:
                continue
            if not isinstance(grid, tuple) or len(grid) != 2 or min(grid) < 1:
                raise ValueError(f"{name}: got {grid!r}, expected two positive numbers of patches (rows, columns)")
        if self.position_range is not None and self.position != "axes":
            raise ValueError(
                f"position_range: got {self.position_range} with position {self.position!r}, expected None: a "
                "flattened code is resized to any grid"
            )

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels that it is run at where nobody chose: `run_grid`, else the training size."""
        return self.pixels(self.run_grid or self.trained_grid or self.base_grid)

    @property
    def training_size(self) -> tuple[int, int]:
        """Height and width in pixels of the last training resolution."""
        return self.pixels(self.trained_grid or self.base_grid)

    @property
    def position_limit(self) -> tuple[int, int] | None:
        """Height and width in pixels up to which it knows of places; None for no limit: a flattened code is resized."""
        if self.position == "flattened":
            return None
        known = (self.base_grid, self.trained_grid or (1, 1), self.position_range or (1, 1))
        rows, columns = (max(sides) for sides in zip(*known, strict=True))
        return self.pixels((rows, columns))

    def beyond_training(self, height: int, width: int) -> str:
        """What to tell a user whose frames are larger than the places that the network knows of; else nothing."""
        limit = self.position_limit
        if limit is None or (height <= limit[0] and width <= limit[1]):
            return ""
        return (
            f"frames of {height}x{width} are larger than the {limit[0]}x{limit[1]} that the network was trained for: "
            "features beyond mean little; take smaller frames, or weights trained with a larger model.position_range"
        )

    def pixels(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Height and width in pixels of patch rows and columns; `grid` is its inverse."""
        return grid[0] * self.patch_size, grid[1] * self.patch_size

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patch rows and columns of an image of height x width pixels.

        Raises:
            ValueError: a side is not a positive multiple of the patch size.
        """
        patch = self.patch_size
        if height < patch or width < patch or height % patch or width % patch:
            raise ValueError(
                f"image size: got {height}x{width}, expected height and width to be multiples of the patch size "
                f"{patch}; resize to {max(1, round(height / patch)) * patch}x{max(1, round(width / patch)) * patch}"
            )
        return height // patch, width // patch

    def token_count(self, height: int, width: int) -> int:
        """Tokens per frame, 1 + N: the CLS token and one per patch."""
        rows, columns = self.grid(height, width)
        return 1 + rows * columns

    def to_dict(self) -> dict[str, Any]:
        """Plain dict of the configuration, for JSON or YAML; `from_dict` is its inverse."""
        values = dataclasses.asdict(self)
        for name in _GRIDS[1:]:
            if values[name] is None:
                del values[name]  # As files were before there was such a thing.
        if self.position == "flattened":
            del values["position"]
        if self.decoder is not None and self.decoder.sees == "all":
            del values["decoder"]["sees"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RVMConfig:
        """Build a configuration from `to_dict`'s output.

        Raises:
            ValueError: a key is unknown or missing.
        """
        values = dict(values)
        decoder = values.pop("decoder", None)
        for name in _GRIDS:
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        try:
            return cls(**values, decoder=None if decoder is None else DecoderConfig(**decoder))
        except TypeError as error:
            names = [field.name for field in dataclasses.fields(cls)]
            raise ValueError(f"model configuration: {error}; got keys {sorted(values)}, expected {names}") from error


_GRIDS = ("base_grid", "trained_grid", "run_grid", "position_range")


def _preset(dim: int, depth: int, heads: int, core_heads: int, core_mlp_dim: int) -> RVMConfig:
    return RVMConfig(
        dim=dim,
        encoder_depth=depth,
        encoder_heads=heads,
        encoder_mlp_dim=4 * dim,
        core_heads=core_heads,
        core_mlp_dim=core_mlp_dim,
    )


PRESETS: dict[str, RVMConfig] = {
    "rvm_nano": RVMConfig(
        dim=192,
        encoder_depth=4,
        encoder_heads=6,
        encoder_mlp_dim=768,
        core_depth=2,
        core_heads=6,
        core_mlp_dim=768,
        patch_size=8,
        position="axes",
        base_grid=(8, 8),
        run_grid=(30, 40),
        position_range=(48, 64),
        decoder=DecoderConfig(depth=2, dim=192, heads=6, mlp_dim=768, sees="last"),
    ),
    "rvm_small16_256": _preset(384, 12, 6, core_heads=8, core_mlp_dim=2048),
    "rvm_base16_256": _preset(768, 12, 12, core_heads=12, core_mlp_dim=3072),
    "rvm_large16_256": _preset(1024, 24, 16, core_heads=16, core_mlp_dim=4096),
    "rvm_huge16_256": _preset(1280, 32, 16, core_heads=16, core_mlp_dim=5120),
}
"""The bundled network's sizes and the released ones. Loading a checkpoint does not consult them: there the arrays' own
shapes decide."""


def preset(name: str) -> RVMConfig:
    """Configuration of a named preset.

    Raises:
        ValueError: there is no preset of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: got {name!r}, expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
