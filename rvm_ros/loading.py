"""From a node's parameters to what its cameras' frames go through. No node is touched: it may run in any thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rvm_model.camera_heads import CameraHeads, HeadsConfig
from rvm_model.engines import BY_NAME, EngineInfo, EnginePool, SharedEngine, choose_engine
from rvm_model.heads.clusters import ClusterConfig
from rvm_model.heads.propagation import PropagationConfig
from rvm_model.heads.readout import load_readout
from rvm_model.perception import Perception
from rvm_model.weights import weights_config

THREADS = torch.get_num_threads()
"""What torch takes by itself: one for each physical core."""


@dataclass(frozen=True)
class Loaded:
    """Engines that are ready to run, and the heads on their features, by camera."""

    perceptions: dict[str, Perception]
    """One for all cameras of an input size."""
    heads: dict[str, CameraHeads]

    def info(self, camera: str) -> EngineInfo:
        """The engine of a camera."""
        return self.perceptions[camera].engine.info


def load(
    cameras: tuple[str, ...],
    values: Mapping[str, Any],
    tell: Callable[[str], object],
    pool: EnginePool | None = None,
) -> Loaded:
    """Load, build where that is asked for, and try the engines.

    Args:
        cameras: their names.
        values: the node's parameters by name.
        tell: takes sentences on what is done, where that takes long or is not what the user may expect.
        pool: shares engines with other nodes of this process.

    Raises:
        FileNotFoundError: no such weights or folder.
        ValueError: the parameters do not fit each other, these weights, or this machine.
    """
    torch.set_num_threads(values["threads"] or THREADS)
    by_size: dict[tuple[int, int] | None, list[str]] = {}  # None: an exported engine's.
    for camera in cameras:
        # An exported engine has one size for all, whatever the parameters say; one that they ask for is compared below.
        size = _size(camera, values) if values["engine"] in BY_NAME else None
        by_size.setdefault(size, []).append(camera)
    perceptions: dict[str, Perception] = {}
    for size, group in by_size.items():
        engine = choose_engine(
            values["engine"],
            model=values["model"],
            size=size,
            device=values["device"],
            threads=values["threads"],
            cameras=len(group),
            build_if_missing=values["build_if_missing"],
            tell=tell,
            pool=pool,
        )
        if isinstance(engine, SharedEngine) and engine.given > 1:
            tell("engine: shared with another node of this process, which loaded it")
        info, count = engine.info, len(group)
        if info.cameras is not None and info.cameras < count:
            raise ValueError(
                f"engine: got {count} in the parameter cameras, expected at most {info.cameras}; export with --cameras "
                f"{count}"
            )
        for camera in group:
            own = tuple(values[f"{camera}.image_size"])
            if any(own) and own != (info.height, info.width):
                raise ValueError(
                    f"{camera}.image_size: got {list(own)}, but the engine's input is {info.height}x{info.width}; "
                    "leave it out, or export an engine of that size"
                )
        perception = Perception(engine)
        perception.warm_up(count)
        perceptions |= dict.fromkeys(group, perception)
    infos = {camera: perceptions[camera].engine.info for camera in cameras}
    devices = {info.device for info in infos.values()} if values["readout"] else set()
    readouts = {device: load_readout(values["readout"], device=device) for device in devices}
    config = heads_config(values)
    heads = {camera: CameraHeads(info, config, readouts.get(info.device)) for camera, info in infos.items()}
    return Loaded(perceptions, heads)


def heads_config(values: Mapping[str, Any]) -> HeadsConfig:
    """How the heads read features, by the node's parameters."""
    return HeadsConfig(
        clusters=ClusterConfig(clusters=values["clusters"], seed=values["cluster_seed"]),
        objects=PropagationConfig(context=values["propagation_context"], radius=values["propagation_radius"]),
        segmentation=values["segmentation"],
        prompt_history=values["prompt_history"],
        overlay_alpha=values["overlay_alpha"],
        picture_height=values["picture_height"],
    )


def carry(old: Loaded, new: Loaded) -> list[str]:
    """Let new engines go on from the states of old ones, where a state means the same to both.

    Returns:
        The cameras that go on; the others have no past.
    """
    carried = []
    for camera, perception in new.perceptions.items():
        before, after = old.info(camera), new.info(camera)
        if (before.weights, before.height, before.width) != (after.weights, after.height, after.width):
            continue
        states = old.perceptions[camera].states
        if (state := states.get(camera)) is not None:
            perception.states.put(camera, state, states.age(camera))
        new.heads[camera].recall(old.heads[camera].remember())
        carried.append(camera)
    return carried


def described(loaded: Loaded) -> str:
    """The engines in words."""
    infos = {id(perception): perception.engine.info for perception in loaded.perceptions.values()}
    return "; ".join(
        f"{info.kind} {info.arithmetic} on {info.place}, {torch.get_num_threads()} threads, input "
        f"{info.height}x{info.width}, features {info.grid[0]}x{info.grid[1]}x{info.dim}, weights {info.weights}"
        for info in infos.values()
    )


def _size(camera: str, values: Mapping[str, Any]) -> tuple[int, int]:
    """Of a camera's frames for the engine: its own, that of all cameras, or else the network's."""
    for name in (f"{camera}.image_size", "image_size"):
        height, width = (int(side) for side in values[name])
        if height and width:
            return height, width
        if height or width:
            raise ValueError(f"{name}: got [{height}, {width}], expected height and width, or 0, 0 for none of its own")
    return weights_config(values["model"]).image_size
