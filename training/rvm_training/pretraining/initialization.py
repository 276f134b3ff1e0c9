"""Weights to start from that learn in fewer steps than the authors', for short trainings of small networks.

With the authors' initialization a decoder that sees a twentieth of a frame first learns the mean colour, finds late
that a patch is best looked up where it was, and last what is fine in it. Here it begins by looking there, with a
coarse copy of the last source frame at the size that it is made for, and what is left to learn is how things move:

- Cross-attention, in the core and in the decoder, starts at a patch's own place (in the spirit of mimetic
  initialization, Trockman and Kolter, 2023, arXiv 2305.09828). What tells neighbours apart are the fast channels of the
  position code, so every head starts from those, some narrower than others.
- Every branch of a residual starts small, so that a token's content passes through, but the decoder's cross-attention,
  which is to carry it over whole.
- The last matrix of the decoder is fitted by least squares to random pictures that do not move.
- The update gate starts open: a state is the present frame's, and what is kept of older ones is learned. Half open, as
  random weights have it, it begins by mixing what is at a place with what was there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvm_model.core import GatedCore
from rvm_model.layers import Attention, CrossBlock, Mlp
from rvm_model.rvm import RVM

BRANCH = 0.2
"""Factor of the last matrix of attention and MLP."""
RANDOM = 0.3
"""Factor of what is random in the matrices of queries and keys."""
NARROWEST, WIDEST = 4.0, 2.0
"""What queries' and keys' matrices multiply fast channels by, from the first head to the last. At 4 a head gives most
of its attention to one patch, at 2 its neighbours have a good part."""
CARRIED = 0.7
"""Norm of what a block of the decoder carries over from the features, as a share of theirs."""
OPEN = 3.0
"""What the update gate starts from, before the sigmoid: 0.95 of the state is new."""
GREY = 0.5
"""Middle of the pictures."""
EMBEDDING = 0.1
"""Factor of what is random in the decoder's embedding of features."""
RIDGE = 1e-3
"""Of the least squares, as a share of the variance that LayerNorm leaves, which is 1."""
SAMPLES = 32
"""Patches of random pictures for each channel that is fitted."""


@torch.no_grad()
def align(network: RVM, seed: int = 0) -> None:
    """Change the random weights of a new network in place.

    Args:
        network: in float32 on the CPU; its decoder is as wide as its encoder, so that their position codes are alike.
        seed: of the random pictures and rotations.
    """
    with torch.device("cpu"):  # Whatever the default device: Lightning sets the GPU.
        _align(network, torch.Generator().manual_seed(seed))


def _align(network: RVM, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, Attention):
            module.out.weight.mul_(BRANCH)
        elif isinstance(module, Mlp):
            module.dense_out.weight.mul_(BRANCH)
        elif isinstance(module, CrossBlock):
            _look_at_own_place(module.ca_attention, network.config.position)
    if isinstance(network.core, GatedCore):
        # Gates have no bias: one channel of the encoded frames starts as the constant 1 in its place. It is the slowest
        # of the position code, which is all but constant anyway.
        network.encoder.norm.weight[-1] = 0
        network.encoder.norm.bias[-1] = 1
        network.core.input_update.weight[:, -1] = OPEN
    if network.decoder is not None:
        embedding = network.decoder.embedder.weight
        embedding.mul_(EMBEDDING).add_(torch.eye(*embedding.shape))
        for block in network.decoder.transformer.blocks:
            assert isinstance(block, CrossBlock)
            nn.init.orthogonal_(block.ca_attention.value.weight, generator=generator)
            nn.init.orthogonal_(block.ca_attention.out.weight, CARRIED, generator=generator)
        _fit_to_copy(network, generator)


def _look_at_own_place(attention: Attention, position: str) -> None:
    dim = attention.query.in_features
    width = dim // attention.heads
    # Sinusoids begin with the fastest.
    fast = torch.arange(width)
    if position == "axes":
        fast = torch.cat([torch.arange((width + 1) // 2), dim // 2 + torch.arange(width // 2)])
    for matrix in (attention.query.weight, attention.key.weight):
        matrix.mul_(RANDOM)
        for head, gain in enumerate(torch.linspace(NARROWEST, WIDEST, attention.heads)):
            matrix[head * width + torch.arange(width), fast] += gain


def _fit_to_copy(network: RVM, generator: torch.Generator) -> None:
    """Make the decoder's last matrix the one that best shows random pictures again, given them as source and target."""
    assert network.decoder is not None
    last = network.decoder.detokenizer
    (rows, columns), patch = network.config.base_grid, network.config.patch_size
    count = math.ceil(SAMPLES * last.in_features / (rows * columns))
    pictures = _pictures(count, (rows * patch, columns * patch), generator)[:, None]
    deltas = torch.randint(network.decoder.config.max_delta, (count, 1), generator=generator)
    decoded: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: decoded.append(inputs[0]))
    network.reconstruct(pictures, pictures, deltas, generator=generator)
    hook.remove()
    x = decoded[0].flatten(0, 1).double()
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    cut = pictures.reshape(count, rows, patch, columns, patch, 3).transpose(2, 3)
    y = cut.reshape(len(x), -1).double()
    solved = torch.linalg.solve(x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1]), x.T @ y)
    last.weight.copy_(solved[:-1].T)
    last.bias.copy_(solved[-1])


def _pictures(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Pictures [count, H, W, 3] in [0, 1] of noise, coarse and fine in varying parts, greyer than it is coloured."""
    made = torch.zeros(count, 3, *size)
    for scale in (1, 2, 4, 8, 16, 32):
        shape = [math.ceil(side / scale) for side in size]
        noise = torch.randn(count, 3, *shape, generator=generator)
        noise = noise + 1.5 * torch.randn(count, 1, *shape, generator=generator)
        part = torch.rand(count, 1, 1, 1, generator=generator)
        made += part * functional.interpolate(noise, size=size, mode="bilinear")
    made = GREY + 0.2 * made / made.std(dim=(1, 2, 3), keepdim=True)
    return made.clamp(0, 1).movedim(1, -1)
