"""The part in which the cameras send as fast as they can, best effort, and the newest frame wins, as on a robot.

Which frames get through is chance; that the counts add up and that the features of those that do are right is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rvm_model.messages.feature_maps import msg_to_features
from rvm_model.messages.stamps import set_stamp, stamp_ns
from rvm_ros.counts import COUNTED
from rvm_ros.soak.kinds import Fate, Kind, Made, Message, Rng
from rvm_ros.soak.link import CAMERAS, Link
from rvm_ros.soak.reference import Reference
from rvm_ros.soak.report import Report
from rvm_ros.soak.script import INTERVAL_NS, START_NS, Script, kinds

PART = "at full speed"
GOOD_FRAMES = 64
"""Different ones; they come again and again."""
OF_EACH_KIND = 5
ENDS = ("processed", "dropped", "limited", "stale", "refused", "failed", "duplicates", "late")
"""Each message that arrives comes to one of these."""


@dataclass
class FloodRun:
    """Throws so many hostile messages, and a good frame after each."""

    link: Link
    reference: Reference
    seed: int
    report: Report
    _good: dict[str, list[Made]] = field(default_factory=dict)
    _bad: dict[str, list[Message]] = field(default_factory=dict)

    def run(self, hostile: int) -> None:
        """Throw them and check what came.

        Raises:
            SoakError: the node has ended.
        """
        for index, camera in enumerate(CAMERAS):
            rng = np.random.default_rng([self.seed, 100 + index])
            script = Script(camera, rng)
            self._good[camera] = [script.good_frame() for _ in range(GOOD_FRAMES)]
            self._bad[camera] = [message for kind in kinds(camera)[0] for message in _refused(kind, rng)]
            rng.shuffle(self._bad[camera])
        before = self.link.diagnostics()
        rounds = hostile // len(CAMERAS)
        for index in range(rounds):
            for camera in CAMERAS:
                bad, good = self._bad[camera], self._good[camera]
                self._send(camera, bad[index % len(bad)], 2 * index)
                self._send(camera, good[index % len(good)].message, 2 * index + 1)
            self.link.spin()
        self.link.spin_until_quiet()
        after = self.link.diagnostics()
        for camera in CAMERAS:
            counts = {what: int(after[camera][what]) - int(before[camera][what]) for what in (*COUNTED, "resets")}
            self._conclude(camera, counts, 2 * rounds)

    def _send(self, camera: str, message: Message, index: int) -> None:
        if not isinstance(message, bytes):
            set_stamp(message, START_NS + index * INTERVAL_NS)
        self.link.send(camera, message)

    def _conclude(self, camera: str, counts: dict[str, int], sent: int) -> None:
        report, features = self.report, self.link.features[camera]
        wrong = []
        latest = -1
        for message in features:
            index, rest = divmod(stamp_ns(message) - START_NS, INTERVAL_NS)
            if rest or index % 2 == 0 or index <= latest:
                wrong.append(f"features of stamp {stamp_ns(message)}, which is no good frame's or came before")
                continue
            latest = index
            made = self._good[camera][index // 2 % GOOD_FRAMES]
            assert made.image is not None
            expected = self.reference.step(camera, made.image, reset=False)
            if not self.reference.agrees(msg_to_features(message), expected):
                wrong.append(f"features of stamp {stamp_ns} are wrong")
        report.check(f"{PART}: {camera}: wrong features", wrong[:5], [])
        report.check(f"{PART}: {camera}: frames processed and not seen", counts["processed"] - len(features), 0)
        report.check(
            f"{PART}: {camera}: messages received and not accounted for",
            counts["received"] - sum(counts[what] for what in ENDS),
            0,
        )
        report.check(f"{PART}: {camera}: frames were processed", counts["processed"] > 0, True)
        report.check(f"{PART}: {camera}: frames lost to errors, resets", (counts["failed"], counts["resets"]), (0, 0))
        told = {what: counts[what] for what in ("received", "processed", "dropped", "refused")}
        report.figures |= {f"{PART}: {camera}: {what}": number for what, number in {"sent": sent, **told}.items()}


def _refused(kind: Kind, rng: Rng) -> list[Message]:
    made = [kind.make(rng) for _ in range(OF_EACH_KIND)]
    return [each.message for each in made if kind.fate(each) is not Fate.TAKEN]
