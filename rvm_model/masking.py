"""Random masking of target patches: which patches the decoder may see (paper section 3.3, 95% masked).

A permutation [B, T, N] lists patch indices; its first n_keep are visible, in that order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def visible_count(patches: int, mask_ratio: float) -> int:
    """Number of visible patches, int(N * (1 - mask_ratio)) in the authors' float arithmetic.

    Raises:
        ValueError: the ratio is outside [0, 1].
    """
    if not 0.0 <= mask_ratio <= 1.0:
        raise ValueError(f"mask_ratio: got {mask_ratio}, expected 0..1")
    return int(patches * (1.0 - mask_ratio))


def random_permutation(
    batch: int,
    targets: int,
    patches: int,
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
    shared: bool = True,
) -> Tensor:
    """Draw permutations of the patches.

    Args:
        batch: clips in the batch, B.
        targets: target frames of a clip, T.
        patches: patches of a frame, N.
        device: where the result goes.
        generator: source of randomness; torch's default generator when None.
        shared: one permutation for the whole batch and all targets, as in the authors' code; otherwise one each.

    Returns:
        int64 [B, T, N].
    """
    rows = 1 if shared else batch * targets
    noise = torch.rand(rows, patches, generator=generator, device=generator.device if generator else device)
    order = noise.argsort(dim=-1).to(device)
    return order.expand(batch * targets, -1).reshape(batch, targets, patches)


def check_permutation(permutation: Tensor, batch: int, targets: int, patches: int) -> Tensor:
    """Return the permutation as int64 after checking it.

    The values are checked on the CPU only: on a GPU the check would wait for all work before it, every training step.

    Raises:
        ValueError: wrong shape, or a row is not a permutation of 0..N-1.
    """
    expected = (batch, targets, patches)
    if tuple(permutation.shape) != expected:
        raise ValueError(
            f"permutation: got shape {tuple(permutation.shape)}, expected [B, Tt, N] = {expected}; "
            "N is the number of patches of a target frame"
        )
    permutation = permutation.long()
    if permutation.device.type != "cpu":
        return permutation
    identity = torch.arange(patches, device=permutation.device)
    if not torch.equal(permutation.sort(dim=-1).values, identity.expand(expected)):
        raise ValueError(f"permutation: a row is not a permutation of 0..{patches - 1}; give each patch once")
    return permutation
