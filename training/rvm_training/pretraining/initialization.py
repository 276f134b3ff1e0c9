"""Weights to start from that learn in fewer steps than the authors', for short trainings of small networks.

With the authors' initialization a decoder that sees a twentieth of a frame first learns the mean colour, and finds only
late that a patch is best looked up where it was. Here it begins there: after mimetic initialization (Trockman and
Kolter, 2023, arXiv 2305.09828), queries and keys of cross-attention start near the identity, so that tokens of the same
place, whose position codes are alike, see each other; every branch of a residual starts small, so that a token's
content passes through; and the first pictures lie around grey, where frames in [0, 1] are on the whole. The update gate
starts open: a state is the present frame's, and what is kept of older ones is learned. Half open, as random weights
have it, it begins by mixing what is at a place with what was there.
"""

from __future__ import annotations

import torch
from torch import nn

from rvm_model.core import GatedCore
from rvm_model.layers import Attention, CrossBlock, Mlp
from rvm_model.rvm import RVM

BRANCH = 0.2
"""Factor of the last matrix of attention, MLP and decoder."""
ALIKENESS = 0.7
"""Share of the identity in the product of queries' and keys' matrices."""
RANDOM = 0.3
"""Factor of what is random in those matrices."""
OPEN = 3.0
"""What the update gate starts from, before the sigmoid: 0.95 of the state is new."""
GREY = 0.5
"""Middle of the first pictures."""
EMBEDDING = 0.1
"""Factor of what is random in the decoder's embedding of features."""


@torch.no_grad()
def align(network: RVM) -> None:
    """Change the random weights of a new network in place."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.out.weight.mul_(BRANCH)
        elif isinstance(module, Mlp):
            module.dense_out.weight.mul_(BRANCH)
        elif isinstance(module, CrossBlock):
            for matrix in (module.ca_attention.query.weight, module.ca_attention.key.weight):
                matrix.mul_(RANDOM).add_(_identity(matrix), alpha=ALIKENESS**0.5)
    if isinstance(network.core, GatedCore):
        # Gates have no bias: one channel of the encoded frames starts as the constant 1 in its place.
        network.encoder.norm.weight[0] = 0
        network.encoder.norm.bias[0] = 1
        network.core.input_update.weight[:, 0] = OPEN
    if network.decoder is not None:
        embedding = network.decoder.embedder.weight
        embedding.mul_(EMBEDDING).add_(_identity(embedding))
        network.decoder.detokenizer.weight.mul_(BRANCH)
        nn.init.constant_(network.decoder.detokenizer.bias, GREY)


def _identity(like: torch.Tensor) -> torch.Tensor:
    return torch.eye(*like.shape, dtype=like.dtype, device=like.device)
