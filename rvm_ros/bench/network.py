"""A network whose step is short, though its feature maps are as large as the small model's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rvm_model import RVMConfig, preset, save_checkpoint
from rvm_model.weights import cache_dir, seeded

SMALL = preset("rvm_small16_256")
SHALLOW = RVMConfig(
    dim=SMALL.dim,
    encoder_depth=1,
    encoder_heads=SMALL.encoder_heads,
    encoder_mlp_dim=SMALL.dim,
    core_depth=1,
    core_heads=SMALL.core_heads,
    core_mlp_dim=SMALL.dim,
    decoder=None,
)
"""The small model with one block of each kind and narrow MLPs: what a CPU can step through at a camera's rate."""


def shallow_weights() -> Path:
    """A seeded untrained network of SHALLOW, written to the cache where it is not there already.

    Kept, because an engine of the cache belongs to the very bytes of a file, which are others each time it is written.
    """
    digest = hashlib.sha256(json.dumps(SHALLOW.to_dict()).encode()).hexdigest()[:16]
    path = cache_dir() / f"bench-shallow-{digest}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(seeded(SHALLOW, 0), path, trained=False)
    return path
