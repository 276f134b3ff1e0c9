"""Messages with the fields of their ROS types, where there is no ROS: what bags give, and what topics give."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field


@dataclass
class Time:
    sec: int = 0
    nanosec: int = 0


@dataclass
class Header:
    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@dataclass
class Image:
    header: Header = field(default_factory=Header)
    height: int = 0
    width: int = 0
    encoding: str = ""
    is_bigendian: int = 0
    step: int = 0
    data: array = field(default_factory=lambda: array("B"))


@dataclass
class CompressedImage:
    header: Header = field(default_factory=Header)
    format: str = ""
    data: array = field(default_factory=lambda: array("B"))
