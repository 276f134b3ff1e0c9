"""What is wrong with a bag."""

from __future__ import annotations


class BagError(ValueError):
    """A bag that cannot be read or written. The message says what was found, what was expected and what to do."""
