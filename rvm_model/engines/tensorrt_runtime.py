"""The TensorRT that is installed: the full one, or the lean one, which only runs plans. Nothing else imports it."""

from __future__ import annotations

import functools
import importlib
import logging
from collections import deque
from typing import Any

from rvm_model.engines.manifest import EngineError

INSTALL = "install NVIDIA's TensorRT 10 or 11 for this machine's CUDA: docs/tensorrt.md"
_log = logging.getLogger(__name__)


def tensorrt(*, lean: bool = False) -> Any:
    """The module of the bindings.

    Args:
        lean: take the lean runtime where the full one is missing; it runs version-compatible plans and builds none.

    Raises:
        EngineError: it is not installed, or cannot be loaded.
    """
    failures = []
    for name in ("tensorrt", "tensorrt_lean") if lean else ("tensorrt",):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a shared library that does not load.
            failures.append(f"{name}: {error}")
    raise EngineError(f"engine: TensorRT cannot be imported ({'; '.join(failures)}); {INSTALL}")


@functools.cache
def logger(trt: Any) -> Any:
    """The TensorRT logger that hands over to logging, and keeps the last errors for the message of a refusal.

    One for all: TensorRT keeps the first that it is given, and does not tell a later one.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=8)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self._errors.append(message)
                _log.error(message)
            elif severity == trt.ILogger.Severity.WARNING:
                _log.warning(message)

        def reasons(self) -> str:
            """The errors since the last refusal, in words."""
            reasons = "; ".join(self._errors) or "it gives no reason"
            self._errors.clear()
            return reasons

    return Logger()


def release(version: str) -> tuple[int, ...]:
    """Numbers of a version, for example (10, 16, 1, 11)."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
