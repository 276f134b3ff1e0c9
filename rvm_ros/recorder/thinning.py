"""Every n-th frame of a camera, with all that belongs to it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

REMEMBERED = 256
"""Frames of a camera of which it is known whether they are kept."""
WAITING_S = 3.0
"""Longest that a message waits, by stamps, for it to be known whether its frame is kept."""

Item = TypeVar("Item")


class Thinning(Generic[Item]):
    """Decides for one camera, by stamps: what has the stamp of a frame that is kept is kept."""

    def __init__(self, every_n: int) -> None:
        """Start without a frame.

        Args:
            every_n: 1 keeps all.
        """
        self._every_n = every_n
        self._count = 0
        self._kept: OrderedDict[int, bool] = OrderedDict()
        self._waiting: OrderedDict[int, list[Item]] = OrderedDict()
        self._unstamped: Counter[str] = Counter()

    def offer(self, stamp_ns: int, topic: str, item: Item, *, decides: bool) -> list[Item]:
        """Offer a message.

        Args:
            stamp_ns: of the frame that it belongs to; where that is 0, nothing tells what belongs together, and every
                n-th message of each topic is kept.
            topic: which it is of.
            item: the message.
            decides: whether it is of the topic whose messages are counted; others wait until that one's has come, for
                the node need not have processed every image.

        Returns:
            What is kept now, of this frame.
        """
        if self._every_n == 1:
            return [item]
        if stamp_ns == 0:
            self._unstamped[topic] += 1
            return [item] if self._unstamped[topic] % self._every_n == 1 else []
        if decides and stamp_ns not in self._kept:
            self._kept[stamp_ns] = self._count % self._every_n == 0
            self._count += 1
            if len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
            waiting = self._waiting.pop(stamp_ns, [])
            return [*waiting, item] if self._kept[stamp_ns] else []
        if stamp_ns in self._kept:
            return [item] if self._kept[stamp_ns] else []
        self._waiting.setdefault(stamp_ns, []).append(item)
        while abs(stamp_ns - next(iter(self._waiting))) > WAITING_S * 1e9:
            self._waiting.popitem(last=False)
        return []
