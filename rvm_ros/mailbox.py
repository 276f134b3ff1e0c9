"""Newest wins: one slot per camera between the subscription callbacks and the worker, never a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds the newest item of each sender until it is taken; an older one that was not taken is dropped."""

    def __init__(self, replace: Callable[[T, T], T] = lambda _old, new: new) -> None:
        """Start empty.

        Args:
            replace: what stands for an item that nobody took and the newer one: by default the newer one.
        """
        self._replace = replace
        self._condition = threading.Condition()
        self._items: dict[str, T] = {}
        self._closed = False

    def put(self, sender: str, item: T) -> bool:
        """Leave an item; returns whether it replaced one that nobody had taken."""
        with self._condition:
            replaced = sender in self._items
            self._items[sender] = self._replace(self._items[sender], item) if replaced else item
            self._condition.notify()
            return replaced

    def take(self) -> dict[str, T]:
        """Wait for items and take the newest of every sender that has one; empty once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._items or self._closed)
            if self._closed:
                return {}
            items, self._items = self._items, {}
            return items

    def close(self) -> None:
        """Wake the taker for good. What was not taken is dropped."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
