"""What one camera sends, in which order, with which stamps, and what must come of each message.

What is expected is written down here for each kind of stamp, and not taken from the node's own rules (`continuity`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rvm_model.messages.images import RgbArray
from rvm_model.messages.stamps import NANOSECONDS, set_stamp
from rvm_ros.soak.hostile import COMPRESSED_WIRE, RAW, RAW_WIRE
from rvm_ros.soak.hostile_files import FILES
from rvm_ros.soak.kinds import FRAME_ID, Fate, Kind, Made, Message, Rng, by_opencv, compressed, encoded, picture, rgb8
from rvm_ros.soak.odd import COMPRESSED_ODD, RAW_ODD

INTERVAL_NS = 33_333_333
START_NS = 100_000_000 * NANOSECONDS
MAX_GAP_S = 60.0
"""The node's parameter `max_gap` in a soak: a pause of this process must be none to the state."""
RAW_CAMERA, JPEG_CAMERA = "raw", "jpeg"
GOOD = "good frame"
ODD_SHARE = 0.25
"""Odd frames, for each hostile message."""


@dataclass(frozen=True)
class Sent:
    """A message and what must come of it."""

    kind: str
    message: Message
    fate: Fate
    stamp_ns: int = 0
    image: RgbArray | None = None
    """What goes into the state, uint8 RGB [H, W, 3]; None where nothing does."""
    reset: bool = False
    """Whether the state starts anew before this frame."""


@dataclass(frozen=True)
class Stamp:
    """One way of stamping a good frame oddly. All are far from MAX_GAP_S, so that no delay changes what comes of it."""

    name: str
    make: Callable[[int, Rng], int]
    """Nanoseconds, from those of the frame before."""
    fate: Fate = Fate.TAKEN
    reset: bool = False
    """Whether it starts the state anew."""
    moves: bool = False
    """Whether the next frames go on from it; else they go on from before, which is another jump."""
    told: str = ""


STAMPS: tuple[Stamp, ...] = (
    Stamp("time back", lambda now, rng: now - int(rng.integers(100, 2000)) * NANOSECONDS, reset=True, moves=True),
    Stamp("pause", lambda now, rng: now + int(rng.integers(100, 2000)) * NANOSECONDS, reset=True, moves=True),
    Stamp("a little late", lambda now, rng: now - int(rng.integers(1, 50 * NANOSECONDS)), Fate.LATE),
    Stamp("the same stamp again", lambda now, rng: now, Fate.DUPLICATE),
    Stamp("negative seconds", lambda now, rng: -int(rng.integers(1, 2**30 * NANOSECONDS)), reset=True),
    Stamp("largest stamp", lambda now, rng: 2**31 * NANOSECONDS - 1, reset=True),
    Stamp("smallest stamp", lambda now, rng: -(2**31) * NANOSECONDS, reset=True),
    Stamp("no stamp", lambda now, rng: 0),
)
"""What clocks do. Each is a good frame."""
OVERFLOWS = (1_000_000_000, 1_999_999_999, 2**31, 2**32 - 1)
OVERFLOW = "nanoseconds beyond a second"
OVERFLOW_TOLD = "nanoseconds of a stamp are"


class Deck:
    """Kinds in an order of chance, each once before any comes again."""

    def __init__(self, kinds: Sequence[Kind | Stamp | str], rng: Rng) -> None:
        self._kinds, self._rng = list(kinds), rng
        self._left: list[Kind | Stamp | str] = []

    def draw(self) -> Kind | Stamp | str:
        """The next kind."""
        if not self._left:
            self._left = list(self._kinds)
            self._rng.shuffle(self._left)
        return self._left.pop()


@dataclass
class Script:
    """One camera's messages. Those that DDS can read must arrive in order, and each of them."""

    camera: str
    rng: Rng
    hostile: int = 0
    """Hostile messages so far: all but good and odd frames."""
    now_ns: int = START_NS
    _started: bool = False
    _reset_due: bool = False
    _shape: tuple[int, ...] = ()
    _frame_id: str = FRAME_ID
    _decks: tuple[Deck, Deck] = field(init=False)

    def __post_init__(self) -> None:
        """Shuffle."""
        hostile, odd = kinds(self.camera)
        self._decks = Deck((*hostile, *STAMPS, OVERFLOW), self.rng), Deck(odd, self.rng)
        self._shape = self.good_frame().image.shape  # type: ignore[union-attr]  # A good frame has one.

    def round(self) -> Iterator[Sent]:
        """None to two hostile messages, some odd ones, and a good frame."""
        for _ in range(int(self.rng.integers(3)) if self._started else 0):
            self.hostile += 1
            drawn = self._decks[0].draw()
            if isinstance(drawn, Stamp):  # Of a refused message, the stamp may not have been looked at.
                yield self.good()
            yield self._hostile(drawn)
            if self._reset_due:  # What a stamp means is known only after one that makes sense.
                yield self.good()
            if self.rng.random() < ODD_SHARE:
                odd = self._decks[1].draw()
                assert isinstance(odd, Kind)
                yield self._of_kind(odd)
        self._started = True
        yield self.good()

    def good(self) -> Sent:
        """The next good frame."""
        return self._timed(GOOD, self.good_frame())

    def good_frame(self) -> Made:
        """A good frame without a stamp."""
        pixels = picture(self.rng)
        if self.camera == RAW_CAMERA:
            return Made(rgb8(pixels), pixels)
        data = encoded(pixels, ".jpg")
        return Made(compressed(data), by_opencv(data))

    def _hostile(self, drawn: Kind | Stamp | str) -> Sent:
        if isinstance(drawn, Kind):
            return self._of_kind(drawn)
        made = self.good_frame()
        if isinstance(drawn, Stamp):
            return self._timed(drawn.name, made, drawn)
        sent = self._timed(OVERFLOW, Made(made.message))
        assert not isinstance(sent.message, bytes)
        sent.message.header.stamp.nanosec = int(self.rng.choice(OVERFLOWS))
        return sent

    def _of_kind(self, kind: Kind) -> Sent:
        made = kind.make(self.rng)
        if isinstance(made.message, bytes):
            return Sent(kind.name, made.message, kind.fate(made))
        return self._timed(kind.name, made)

    def _timed(self, name: str, made: Made, stamp: Stamp | None = None) -> Sent:
        """Stamp a message; by the rate of the camera where nothing else is said."""
        message, image = made.message, made.image
        assert not isinstance(message, bytes)
        stamp_ns = self.now_ns + INTERVAL_NS if stamp is None else stamp.make(self.now_ns, self.rng)
        fate = (Fate.REFUSED if image is None else Fate.TAKEN) if stamp is None else stamp.fate
        set_stamp(message, stamp_ns)
        if stamp is None or stamp.moves:
            self.now_ns = stamp_ns
        if fate is not Fate.TAKEN or image is None:
            return Sent(name, message, fate, stamp_ns)
        frame_id = message.header.frame_id
        reset = (
            self._reset_due
            or (stamp is not None and stamp.reset)
            or image.shape != self._shape
            or frame_id != self._frame_id
        )
        self._reset_due = stamp is not None and stamp.reset and not stamp.moves
        self._shape, self._frame_id = image.shape, frame_id
        return Sent(name, message, fate, stamp_ns, image, reset)


def kinds(camera: str) -> tuple[tuple[Kind, ...], tuple[Kind, ...]]:
    """The hostile and the odd kinds of a camera, but for those of stamps."""
    if camera == RAW_CAMERA:
        return (*RAW, *RAW_WIRE), RAW_ODD
    return (*FILES, *COMPRESSED_WIRE), COMPRESSED_ODD


def told(camera: str) -> dict[str, str]:
    """By kind, a text that a line of the log must hold after one was refused."""
    return {**{kind.name: kind.told for kind in kinds(camera)[0] if kind.told}, OVERFLOW: OVERFLOW_TOLD}
