"""The quality of service that a topic's publishers offered, for whoever plays a bag."""

from __future__ import annotations

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

_FOREVER = QosTime(2147483647, 4294967295)


def offered(depth: int = 1, *, reliable: bool = True, latched: bool = False) -> Qos:
    """What a topic offers.

    Args:
        depth: messages that are kept for whoever is slow.
        reliable: lost ones are sent again.
        latched: the last message holds until the next, and is sent to those who come late.
    """
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        avoid_ros_namespace_conventions=False,
    )
