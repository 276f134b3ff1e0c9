"""Stamps of messages as whole nanoseconds, and back."""

from __future__ import annotations

from typing import Any

from rvm_model.messages.image_headers import ImageError

NANOSECONDS = 1_000_000_000
"""Of a second."""


def stamp_ns(message: Any) -> int:
    """Stamp of a message with a header, in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def set_stamp(message: Any, nanoseconds: int) -> None:
    """Stamp a message with a header; below zero, the seconds alone are negative."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, NANOSECONDS)


def check_stamp(message: Any) -> None:
    """Check the stamp of an image.

    Raises:
        ImageError: its nanoseconds are a second or more.
    """
    stamp = message.header.stamp
    if stamp.nanosec >= NANOSECONDS:
        raise ImageError(
            f"got {stamp.sec} s and {stamp.nanosec} ns, but the nanoseconds of a stamp are less than {NANOSECONDS}; "
            "the driver must carry them over to its seconds"
        )
