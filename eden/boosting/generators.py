"""The global random generators: their states, and numbers of their own for an epoch."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from eden.boosting.recipe import Recipe


def random_states() -> dict[str, Any]:
    """The states of torch's generators, of NumPy's and of Python's global ones."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Bring the generators to where ``random_states`` found them."""
    torch.set_rng_state(states["torch"])
    # As many as there are here: a run can go on where there are fewer GPUs, or none.
    for index, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
        torch.cuda.set_rng_state(state, index)
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])


@contextlib.contextmanager
def own_generators(recipe: Recipe, epoch: int, device: torch.device, *more: int) -> Iterator[None]:
    """Numbers of the seed, the epoch and what else is given, for what draws from global generators.

    They are as before afterwards.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    others = np.random.get_state(), random.getstate()
    seeds = np.random.SeedSequence((recipe.seed, epoch, *more))
    seed = int(seeds.generate_state(1, np.uint64)[0])
    try:
        for generator in generators:
            generator.manual_seed(seed)
        np.random.seed(seeds.generate_state(4))
        random.seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        np.random.set_state(others[0])
        random.setstate(others[1])
