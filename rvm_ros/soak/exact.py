"""The part in which every count and every feature is known: reliable cameras, each message taken, in step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.messages.stamps import stamp_ns
from rvm_ros.soak.kinds import Fate
from rvm_ros.soak.link import CAMERAS, PICTURES, Link
from rvm_ros.soak.memory import MemoryRecord
from rvm_ros.soak.reference import Reference
from rvm_ros.soak.report import Report
from rvm_ros.soak.script import Script, Sent
from rvm_ros.soak.subject import SoakError, Subject

HOSTILE, STEADY = "each in step", "steady"
"""The part with hostile messages, and the one with good frames alone."""


@dataclass
class ExactRun:
    """Throws messages, and compares all that comes back with what must."""

    part: str
    """HOSTILE or STEADY."""
    link: Link
    subject: Subject
    reference: Reference
    seed: int
    report: Report
    progress: Callable[[int], object] = lambda _: None
    """Told how many messages of those asked for were sent since it was last told."""
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Messages that had to be refused, by camera and kind."""
    _wrong: list[str] = field(default_factory=list)
    _fates: Counter[tuple[str, Fate]] = field(default_factory=Counter)
    _resets: Counter[str] = field(default_factory=Counter)
    _memory: MemoryRecord = field(init=False)

    def __post_init__(self) -> None:
        """Measure from the beginning."""
        self._memory = MemoryRecord(self.subject.memory)

    def run(self, messages: int) -> None:
        """Throw messages and check what came.

        Args:
            messages: good frames at the least; and as many hostile messages, where there are any.

        Raises:
            SoakError: the node has ended, or features that had to come did not.
        """
        scripts = [Script(camera, np.random.default_rng([self.seed, index])) for index, camera in enumerate(CAMERAS)]
        before = self.link.diagnostics()
        done = 0
        while done < messages or self._taken() < messages:
            sent = {
                script.camera: list(script.round()) if self.part == HOSTILE else [script.good()] for script in scripts
            }
            self._throw(sent)
            for camera in CAMERAS:
                self._compare(camera, sent[camera])
            self._memory.note(self._taken())
            now = sum(script.hostile for script in scripts) if self.part == HOSTILE else self._taken()
            self.progress(now - done)
            done = now
        self._conclude(before, self.link.diagnostics(), sum(script.hostile for script in scripts))

    def _taken(self) -> int:
        return sum(number for (_, fate), number in self._fates.items() if fate is Fate.TAKEN)

    def _throw(self, sent: dict[str, list[Sent]]) -> None:
        """Send a round of each camera, and wait for the outputs of all that must be taken in."""
        expected = {camera: sum(each.fate is Fate.TAKEN for each in messages) for camera, messages in sent.items()}
        pictures = {(camera, name): self.link.pictures[camera, name] for camera in CAMERAS for name in PICTURES}
        for camera, messages in sent.items():
            for each in messages:
                self.link.send(camera, each.message)

        def all_here() -> bool:
            return all(len(self.link.features[camera]) >= expected[camera] for camera in CAMERAS) and all(
                self.link.pictures[camera, name] >= before + expected[camera]
                for (camera, name), before in pictures.items()
            )

        try:
            self.link.wait(all_here, "the features and pictures of good frames")
        except SoakError as error:
            came = {camera: [stamp_ns(message) for message in self.link.features[camera]] for camera in CAMERAS}
            thrown = {camera: [(each.kind, each.stamp_ns, each.fate.value) for each in sent[camera]] for camera in sent}
            raise SoakError(f"{error}; sent {thrown}; features came of the stamps {came}") from error

    def _compare(self, camera: str, sent: Sequence[Sent]) -> None:
        waiting = self.link.features[camera].copy()
        self.link.features[camera].clear()
        for each in sent:
            self.report.sent[each.kind] += 1
            self._fates[camera, each.fate] += 1
            if each.fate is Fate.REFUSED:
                self.refused[camera, each.kind] += 1
            if each.fate is not Fate.TAKEN or each.image is None:
                continue
            self._resets[camera] += each.reset
            expected = self.reference.step(camera, each.image, reset=each.reset)
            got = waiting.pop(0)
            assert not isinstance(each.message, bytes)
            if got.header != each.message.header:
                self._wrong.append(
                    f"{camera}, {each.kind}: got the header of stamp {stamp_ns(got)}, not {each.stamp_ns}"
                )
            elif not self.reference.agrees(msg_to_features(got), expected):
                self._wrong.append(f"{camera}, {each.kind}: features of stamp {each.stamp_ns} are wrong")
        if waiting:
            stamps = [stamp_ns(message) for message in waiting]
            self._wrong.append(f"{camera}: features of stamps {stamps} of messages that must not go in")

    def _conclude(self, before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], hostile: int) -> None:
        report, part = self.report, self.part
        report.figures |= {f"{part}: hostile messages": hostile, f"{part}: frames taken in": self._taken()}
        report.check(f"{part}: wrong features, headers, or outputs of refused messages", self._wrong[:5], [])
        report.figures[f"{part}: largest difference of features"] = self.reference.worst
        for camera in CAMERAS:
            got = {what: int(after[camera][what]) - int(before[camera][what]) for what in _COUNTED}
            expected = {fate.value: self._fates[camera, fate] for fate in Fate if fate is not Fate.UNREADABLE}
            readable = sum(expected.values())
            expected |= {"received": readable, "dropped": 0, "failed": 0, "resets": self._resets[camera]}
            report.check(f"{part}: {camera}: counts on /diagnostics", got, {what: expected[what] for what in _COUNTED})
        self._memory.conclude(report, part, all_the_way=part == STEADY)


_COUNTED = ("received", *(fate.value for fate in Fate if fate is not Fate.UNREADABLE), "dropped", "failed", "resets")
