"""The network that a configuration asks for, at the start of its training."""

from __future__ import annotations

import dataclasses

import torch

from rvm_model.config import RVMConfig
from rvm_model.rvm import RVM
from rvm_model.weights import load_weights, seeded, weights_config
from rvm_training.pretraining.config import ModelConfig
from rvm_training.pretraining.initialization import align


def make_network(config: ModelConfig, seed: int) -> RVM:
    """The network at the start of training: random weights by the seed, or those of `init`.

    Raises:
        ValueError: the initial weights have no decoder, another aggregator than asked for, or a position code that does
            not have the places asked for.
    """
    _check_positions(config)
    if config.init is None:
        network = seeded(config.scratch(), seed)
        if config.initialization == "aligned":
            align(network, seed)
        return network
    network, _ = load_weights(config.init)
    if network.decoder is None:
        raise ValueError(
            f"model.init: {config.init} has no decoder, and pretraining reconstructs pixels; take a checkpoint with one"
        )
    if network.config.aggregator != config.aggregator:
        raise ValueError(f"model.init: got the aggregator {network.config.aggregator}, expected {config.aggregator}")
    # Made again, for the parts that keep sizes of their own.
    with torch.device("meta"):
        again = RVM(_trained_at(network.config, config))
    again.load_state_dict(network.state_dict(), assign=True)
    return again


def _check_positions(config: ModelConfig) -> None:
    sizes = network_sizes(config)
    if config.position_range is not None and sizes.position != "axes":
        raise ValueError(
            f"model.position_range: got {list(config.position_range)} for a position code that is {sizes.position}, "
            "expected null, or position: axes among model.sizes"
        )
    limit = sizes.position_limit
    for name, (height, width) in (("model.size", config.size), ("model.run_size", sizes.image_size)):
        if limit is not None and (height > limit[0] or width > limit[1]):
            raise ValueError(
                f"{name}: got {height}x{width}, expected at most {limit[0]}x{limit[1]}, beyond which it learns "
                "of no place; enlarge model.position_range, which is in patches"
            )


def network_sizes(config: ModelConfig) -> RVMConfig:
    """Sizes of the network that `make_network` makes."""
    return config.scratch() if config.init is None else _trained_at(weights_config(config.init), config)


def _trained_at(sizes: RVMConfig, config: ModelConfig) -> RVMConfig:
    sizes, grid = config.with_overrides(sizes), sizes.grid(*config.size)
    if config.position_code == "anew":
        return dataclasses.replace(sizes, base_grid=grid, trained_grid=None)
    return dataclasses.replace(sizes, trained_grid=None if grid == sizes.base_grid else grid)
