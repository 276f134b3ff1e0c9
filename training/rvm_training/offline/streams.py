"""The frames of one camera of a recording, judged as the live node judges them, and what became of a recording."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rvm_model.bags import BagError
from rvm_model.frame_source import SourceError
from rvm_model.messages.image_headers import ImageError
from rvm_model.messages.judge import Due, Judge, Rules
from rvm_training.data.video import VideoError
from rvm_training.offline.lanes import Decoded, Waiting
from rvm_training.offline.recordings import NonsenseError, Recording

BAD = (BagError, SourceError, VideoError, OSError)
"""What is wrong with an input, or with where its results go, and nothing to the others."""


@dataclass
class Outcome:
    """What became of one recording."""

    recording: Recording
    frames: Counter[str] = field(default_factory=Counter)
    """Of each camera: frames that went through the engine."""
    refused: Counter[str] = field(default_factory=Counter)
    """Of each camera: images that could not be used."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Of each camera: images that came twice or late."""
    resets: Counter[str] = field(default_factory=Counter)
    """States that were started anew, by reason."""
    first_refusal: str = ""
    """What was wrong with the first image that was refused."""
    error: str = ""
    """Why it did not come to its end; empty where it did."""


class Stream:
    """One camera. For one thread."""

    def __init__(self, outcome: Outcome, camera: str, rules: Rules) -> None:
        """Start without a frame.

        Args:
            outcome: of its recording, in which it counts.
            camera: its name.
            rules: how it is judged.
        """
        self.count = 0
        """Images so far, refused ones too."""
        self._outcome, self._camera, self._rules = outcome, camera, rules
        self._judge = Judge()

    def take(self, waiting: Waiting) -> tuple[Decoded, Due] | None:
        """Judge the next image, when it is decoded.

        Returns:
            The image and what is due to the state before it goes in; None where it does not go in.
        """
        self.count += 1
        arrival, image = waiting.arrival, None
        try:
            image = waiting.decoded.result()
        except NonsenseError as error:
            self.lose(told(error))
            return None
        except Exception as error:  # As at the live node: its stamp counts, for there was a frame.
            self.lose(told(error))
        _, due = self._judge.arrive(arrival.stamp_ns, arrival.frame_id, now_s=arrival.time_ns / 1e9, rules=self._rules)
        if due is None:
            self._outcome.skipped[self._camera] += image is not None
            return None
        if image is None:
            self._judge.not_seen(due)
            return None
        return image, self._judge.seen(arrival.stamp_ns, image.image.shape, due, rules=self._rules)

    def start_anew(self, reason: str) -> None:
        """Let the next frame start the state anew."""
        self._judge.forget(Due(reset=reason))

    def lose(self, why: str) -> None:
        """Count an image that cannot be used."""
        self._outcome.refused[self._camera] += 1
        self._outcome.first_refusal = self._outcome.first_refusal or f"{self._camera}: {why}"


def told(error: Exception) -> str:
    """An error in words; those that nobody expected with their kind."""
    return str(error) if isinstance(error, (*BAD, ImageError)) else f"{type(error).__name__}: {error}"
