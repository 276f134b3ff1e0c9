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
    within = sizes.position_range and sizes.pixels(sizes.position_range)
    run_size = "model.run_size" if config.run_size else "model.run_size, which is null and as model.init has it"
    for name, size, limit in (
        ("model.size", config.size, within),
        (run_size, sizes.image_size, sizes.position_limit),
    ):
        if limit is not None and (size[0] > limit[0] or size[1] > limit[1]):
            raise ValueError(
                f"{name}: got {size[0]}x{size[1]}, expected at most {limit[0]}x{limit[1]}, beyond which it learns "
                "of no place; give a smaller one, or enlarge model.position_range, which is in patches"
            )


def network_sizes(config: ModelConfig) -> RVMConfig:
    """Sizes of the network that `make_network` makes."""
    return config.scratch() if config.init is None else _trained_at(weights_config(config.init), config)


def _trained_at(sizes: RVMConfig, config: ModelConfig) -> RVMConfig:
    sizes, grid = config.with_overrides(sizes), sizes.grid(*config.size)
    if config.position_code == "anew":
        return dataclasses.replace(sizes, base_grid=grid, trained_grid=None)
    return dataclasses.replace(sizes, trained_grid=None if grid == sizes.base_grid else grid)
