"""The authors' own torch step, read from their notebook: the yardstick, which this project does not contain.

The notebook is colabs/rvm_runtime_and_memory.ipynb of github.com/google-deepmind/representations4d (Apache 2.0).
Its network has no position code and the exact GELU, so that its features differ a little; its cost is the network's.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rvm_model.config import RVMConfig

CELL = "class GatedTransformerCore"
"""Stands in the cell that defines the network."""
PRELUDE = (
    "import dataclasses, math, re\nimport einops\nimport numpy as np\nimport torch\nimport torch.nn as nn\n"
    "import torch.nn.functional as F\n"
)

Step = Callable[[Tensor, Tensor], Tensor]


def authors_step(notebook: Path, config: RVMConfig, device: torch.device) -> Step:
    """Build the authors' network with random weights from its definition in the notebook, which is executed.

    Args:
        notebook: the file that was downloaded.
        config: sizes of the network.
        device: where it runs.

    Returns:
        (frames uint8 [B, H, W, 3], state [B, T, D]) -> features [B, T, D].

    Raises:
        ValueError: the file is no notebook, does not define the network, or needs einops, which is not installed.
    """
    try:
        cells = ["".join(cell["source"]) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook}: is no notebook ({error}); expected rvm_runtime_and_memory.ipynb") from error
    sources = [source for source in cells if CELL in source]
    if not sources:
        raise ValueError(f"{notebook}: no cell has {CELL!r}; expected rvm_runtime_and_memory.ipynb of the authors")
    tree = ast.parse(sources[0])
    # Definitions and tables alone: what follows them builds the large network on CUDA.
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) or _is_table(node)]
    names: dict[str, Any] = {"__name__": __name__}  # dataclasses look their module up
    try:
        exec(compile(PRELUDE, "prelude", "exec"), names)
    except ModuleNotFoundError as error:
        raise ValueError(f"{notebook}: needs {error.name}; pip install {error.name}") from error
    exec(compile(tree, str(notebook), "exec"), names)
    network = _network(names, config).to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def step(frames: Tensor, state: Tensor) -> Tensor:
        features: Tensor = network(frames.float() / 255, state)[0]
        return features

    return step


def _is_table(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)


def _network(names: dict[str, Any], config: RVMConfig) -> nn.Module:
    dim, patch = config.dim, config.patch_size
    core = names["GatedTransformerCore"](
        transformer=names["CrossAttentionTransformer"](
            num_layers=config.core_depth, num_heads=config.core_heads, num_feats=dim, mlp_dim=config.core_mlp_dim
        ),
        initializer=names["RandomStateInit"](),
        token_dim=dim,
        state_layer_norm=nn.LayerNorm(dim, eps=1e-4, bias=False),
    )
    network: nn.Module = names["VideoSiamMAE"](
        tokenizer=names["Tokenizer"](
            patch_embedding=names["PatchEmbedding"](patch_size=[patch, patch], num_features=dim), posenc=None
        ),
        encoder=names["Transformer"](
            num_layers=config.encoder_depth,
            hidden_size=dim,
            num_heads=config.encoder_heads,
            mlp_size=config.encoder_mlp_dim,
        ),
        rnn_core=core,
        latent_emb_dim=dim,
    )
    return network
