"""Feature messages made smaller as they are recorded."""

from __future__ import annotations

from collections import deque

import numpy as np

from rvm_model.messages.feature_maps import Basis, Coded, Features, relative_error, to_float16, to_float32, to_int8

CODINGS = ("float32", "float16", "int8", "pca")
"""How recorded features are coded; see `feature_maps`."""
FITTED = 16
"""Feature maps that a basis is made of."""
PATIENCE = 30
"""Feature maps in a row that a basis may tell badly before it is made anew."""
WORSE = 2.0
"""How many times more than it declared a basis may leave out before it tells badly."""
LEAST = 1e-6
"""Share of the variance that may be left out whatever was declared: rounding leaves out as much."""
_LARGEST = 6e4
"""Largest value of a feature map that a basis is made of: beyond, float16 cannot hold what is written in it."""
_TOKENS = 4096
"""Most tokens that a basis is made of: more cost time and change little."""


class Recoder:
    """Codes the feature maps of one camera, in their order.

    A basis is made of the first feature maps, which wait for it, and anew of the last ones when it fits the features no
    more: those of a state that has just started are not what they are later.
    """

    def __init__(self, coding: str, components: int = 32) -> None:
        """Start without a frame.

        Args:
            coding: one of CODINGS.
            components: of a basis.

        Raises:
            ValueError: there is no such coding.
        """
        if coding not in CODINGS:
            raise ValueError(f"features: got {coding!r}, expected one of {', '.join(CODINGS)}")
        self.coding = coding
        self._components = components
        self._basis: Basis | None = None
        self._recent: deque[Features] = deque(maxlen=FITTED)
        self._bad = 0

    @property
    def is_ready(self) -> bool:
        """Whether `code` can be called; a basis is made first, of feature maps that `see` was given."""
        return self.coding != "pca" or self._basis is not None or len(self._recent) == FITTED

    def see(self, features: Features) -> None:
        """Look at a feature map that waits for the basis."""
        self._recent.append(features.copy())

    def code(self, features: Features) -> tuple[Coded, Basis | None]:
        """Code a feature map [h, w, D].

        Returns:
            What goes into its message, and the basis that holds from this one on, where it is another than before.

        Raises:
            ValueError: it cannot be coded; says why.
        """
        if self.coding == "float32":
            return to_float32(features), None
        if self.coding == "float16":
            return to_float16(features), None
        if self.coding == "int8":
            return to_int8(features), None
        return self._by_basis(features)

    def _by_basis(self, features: Features) -> tuple[Coded, Basis | None]:
        basis, refit = self._basis, self._bad >= PATIENCE
        if basis is None or basis.components.shape[1] != features.shape[2] or refit:
            basis = self._made(features)
        coded = basis.code(features)  # First: a map that cannot be coded changes nothing for the others.
        self._recent.append(features.copy())
        allowed = max(WORSE * basis.unexplained, LEAST)
        self._bad = 0 if self._left_out(basis, features) <= allowed else (0 if refit else self._bad) + 1
        before, self._basis = self._basis, basis
        return coded, None if basis is before else basis

    def _made(self, features: Features) -> Basis:
        alike = [each for each in (*self._recent, features) if each.shape[2] == features.shape[2]]
        alike = [each for each in alike if np.abs(each).max() < _LARGEST]
        if not alike:
            raise ValueError(f"features: got values up to {np.abs(features).max()}, expected less than {_LARGEST:.0f}")
        tokens = np.concatenate([each.reshape(-1, each.shape[2]) for each in alike])
        tokens = tokens[:: -(-len(tokens) // _TOKENS)]
        return Basis.of(tokens, min(self._components, *tokens.shape))

    @staticmethod
    def _left_out(basis: Basis, features: Features) -> float:
        """Share of the variance around the basis' mean."""
        centred = features - basis.mean
        told = centred @ basis.components.T @ basis.components
        return relative_error(centred, told) ** 2
