"""Engines that several callers of one process share: each is loaded once, and runs one step at a time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable

from torch import Tensor

from rvm_model.engines.base import Engine, EngineInfo


class SharedEngine:
    """An engine of a pool. Its results are the caller's own: another caller's step may come before they are read."""

    def __init__(self, engine: Engine) -> None:
        self.given = 0
        """How many callers have been given it."""
        self._engine = engine
        self._one_at_a_time = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """What runs here."""
        return self._engine.info

    def init_state(self, batch: int) -> Tensor:
        """Zeros [batch, 1 + N, D]; see `Engine.init_state`."""
        return self._engine.init_state(batch)

    def step(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one frame of each camera; see `Engine.step`."""
        with self._one_at_a_time:
            features, new_state = self._engine.step(frames, state)
            if not self.info.device.startswith("cuda"):
                return features, new_state  # New ones at every step.
            own = features.clone()
            return own, own if new_state is features else new_state.clone()


class EnginePool:
    """Keeps engines as long as someone runs them."""

    def __init__(self) -> None:
        self._engines: weakref.WeakValueDictionary[Hashable, SharedEngine] = weakref.WeakValueDictionary()
        self._loading = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Engine]) -> SharedEngine:
        """The engine of a key; it is loaded where it is not there.

        Args:
            key: all that tells engines apart: what runs, where, and with how many threads.
            load: loads it. Others wait meanwhile, for they may want the same.
        """
        with self._loading:
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = SharedEngine(load())
            engine.given += 1
            return engine
