"""The most similar tokens of other frames, everywhere or in a neighbourhood of the grid: what label propagation costs.

Shape legend: h w patch rows and columns, N = h w, D feature width, F frames; B queries of a band, K keys in its reach,
n found of each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BAND_TOKENS = 256
"""Queries whose similarities are computed together: few enough for the cache, enough for a fast matrix product."""


def nearest(query_hwD: Tensor, keys_FhwD: Tensor, count: int, radius: float = math.inf) -> tuple[Tensor, Tensor]:
    """Find the keys with the largest dot product for every query, of those nearer than `radius` patches on the grid.

    Goes over the queries in bands of rows, and multiplies only the rows of keys that a band can reach. On a CPU the
    matrix product is most of the time, and cutting the columns as well makes it slower for what it saves.

    Args:
        query_hwD: [h, w, D].
        keys_FhwD: [F, h, w, D] of F frames.
        count: keys wanted for every query.
        radius: distance in patches that a key must be strictly nearer than.

    Returns:
        (dot products [N, n], places of the keys int64 [N, n] in 0..F N - 1), with n = count, or F N where that is less.
        Where fewer are near enough, the rest have the dot product -inf.
    """
    height, width, _ = query_hwD.shape
    frames = len(keys_FhwD)
    count = min(count, frames * height * width)
    whole = math.hypot(height - 1, width - 1) < radius
    reach = height if whole else math.ceil(radius) - 1
    rows = max(1, BAND_TOKENS // width)
    values, places = [], []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(0, top - reach), min(height, bottom + reach)
        query_FBD = query_hwD[top:bottom].flatten(0, 1).expand(frames, -1, -1)
        keys_FDK = keys_FhwD[:, first:last].flatten(1, 2).mT
        if whole:
            dots_FBK = torch.bmm(query_FBD, keys_FDK)
        else:
            far_BK = _far(range(top, bottom), range(first, last), width, radius, query_hwD)
            dots_FBK = torch.baddbmm(far_BK.expand(frames, -1, -1), query_FBD, keys_FDK)
        keys = dots_FBK.shape[2]
        found = min(count, frames * keys)
        dots_Bn, indices_Bn = dots_FBK.transpose(0, 1).flatten(1).topk(found)
        frame_Bn = indices_Bn.div(keys, rounding_mode="floor")
        places_Bn = frame_Bn * (height * width - keys) + indices_Bn + first * width
        values.append(functional.pad(dots_Bn, (0, count - found), value=-torch.inf))
        places.append(functional.pad(places_Bn, (0, count - found)))
    return torch.cat(values), torch.cat(places)


def _far(queries: range, keys: range, width: int, radius: float, like: Tensor) -> Tensor:
    """0 where a key is nearer than the radius and -inf elsewhere, [queries, keys], for rows of a grid of this width."""
    column = torch.arange(width, device=like.device)
    query_row = torch.arange(queries.start, queries.stop, device=like.device)
    key_row = torch.arange(keys.start, keys.stop, device=like.device)
    squares_rr = (query_row[:, None] - key_row).square()
    squares_cc = (column[:, None] - column).square()
    squares_rcrc = squares_rr[:, None, :, None] + squares_cc[None, :, None, :]
    far = torch.zeros(squares_rcrc.shape, dtype=like.dtype, device=like.device)
    far.masked_fill_(squares_rcrc >= radius**2, -torch.inf)
    return far.flatten(2).flatten(0, 1)
