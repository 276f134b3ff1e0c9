"""Which clip comes next: a dataset by its weight in the mixture, then a row by its weight within the dataset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc

from rvm_training.data.manifest import Manifest


class Mixture:
    """Draws rows of a manifest."""

    def __init__(self, manifest: Manifest, weights: Mapping[str, float] | None, *, shortest: int = 1) -> None:
        """Prepare to draw.

        Args:
            manifest: the clips.
            weights: share of each source, normalised here; None draws rows by their own weights whatever the source.
            shortest: rows with fewer frames are left out; `too_short` counts them.

        Raises:
            ValueError: sources and weights do not match, or no row is left to draw.
        """
        rows = np.arange(len(manifest))
        frames = manifest.table["frames"].to_numpy()
        row_weights = manifest.table["weight"].to_numpy() * (frames >= shortest)
        self.too_short = int((frames < shortest).sum())
        if weights is None:
            groups = {"all": rows}
            weights = {"all": 1.0}
        else:
            encoded = pc.dictionary_encode(manifest.table["source"]).combine_chunks()
            names = encoded.dictionary.to_pylist()
            if set(names) != set(weights):
                raise ValueError(
                    f"{manifest.name}: got a mixture of {sorted(weights)}, expected the sources {sorted(names)}"
                )
            codes = encoded.indices.to_numpy()
            groups = {name: rows[codes == code] for code, name in enumerate(names)}
        if min(weights.values()) < 0 or not sum(weights.values()) > 0:
            raise ValueError(f"mixture: got {dict(weights)}, expected weights of 0 or more and one above 0")
        self._groups = []
        shares = []
        for name in sorted(groups):
            cumulative = np.cumsum(row_weights[groups[name]])
            if weights[name] > 0:
                if not len(cumulative) or not cumulative[-1] > 0:
                    raise ValueError(
                        f"mixture: source {name!r} has no row to draw ({self.too_short} rows are shorter than "
                        f"{shortest} frames); give it weight 0 or longer videos"
                    )
                shares.append(weights[name])
                self._groups.append((groups[name], cumulative))
        self._shares = np.cumsum(shares) / sum(shares)

    @staticmethod
    def present(manifest: Manifest, weights: Mapping[str, float], *, shortest: int = 1) -> dict[str, float]:
        """Weights as a split allows them: without the sources that it lacks, and 0 where all rows are too short."""
        long_enough = manifest.table.filter(pc.greater_equal(manifest.table["frames"], shortest))
        drawn, present = (set(pc.unique(table["source"]).to_pylist()) for table in (long_enough, manifest.table))
        return {name: weight if name in drawn else 0.0 for name, weight in weights.items() if name in present}

    def draw(self, rng: np.random.Generator) -> int:
        """A row of the manifest."""
        group = min(int(np.searchsorted(self._shares, rng.random(), side="right")), len(self._groups) - 1)
        rows, cumulative = self._groups[group]
        place = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
        return int(rows[min(int(place), len(rows) - 1)])
