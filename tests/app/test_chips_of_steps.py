"""Do any two steps ever see the same chip, whatever their seeds are?

``PYTHONPATH=tests python tests/app/test_chips_of_steps.py`` prints how many chips each pair of steps has in common.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import tiny_profile
import tiny_task
import torch

import eden
from eden.common.provenance import DrawnChips, Provenance
from eden.common.tables import text_table
from eden.faults.chips import chips_of, draw_chip
from eden.faults.faulty_layers import FaultyLayer
from eden.faults.normalization import reestimate_
from eden.tolerance.evaluation import at_rates, evaluate

SEEDS = (0, 1, -1, draw_chip(0, "verification", 0), draw_chip(0, "confirmation", 0), 2**63 - 1)
"""Equal ones, neighbours, and ones that are chips themselves."""

LAYERS, RATE = 2, 1e-4
SEARCH = eden.Search(batch_size=16, effort=1.5)


@contextlib.contextmanager
def recorded() -> Iterator[set[int]]:
    """The chips that layers read from in the block."""
    seen: set[int] = set()
    whole = FaultyLayer._eden_chip_and_access

    def told(layer: FaultyLayer) -> Any:
        chip, access = whole(layer)
        if not layer.eden_faults.reliable:
            seen.add(int(chip))
        return chip, access

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FaultyLayer, "_eden_chip_and_access", told)
        yield seen


def network() -> torch.nn.Module:
    return eden.set_errors_(
        model := tiny_profile.make_network(), dict.fromkeys(eden.operands(model), eden.Uniform(RATE))
    )


def train(seed: int, chips: Any) -> None:
    """Some steps of a curriculum, and batch-norm statistics under its errors."""
    model = tiny_task.network()
    errors = eden.Uniform(RATE)
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage="int8"))
    x, y = tiny_task.data()[0][:50]
    eden.calibrate_(model, [x])
    model.train()
    eden.Curriculum(model, RATE, 1, chips=chips, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    reestimate_(model, [x], 2, seed)


def seen_by(provenance: Provenance | None) -> tuple[DrawnChips, ...]:
    assert provenance is not None
    return provenance.chips


def profile(seed: int, attempt: int = 1) -> tuple[DrawnChips, ...]:
    given = {**tiny_profile.FAST, "search": SEARCH, "seed": seed, "attempt": attempt}
    return seen_by(eden.profile(network(), tiny_profile.loader(), **given).provenance)


def certify(seed: int, attempt: int = 1) -> tuple[DrawnChips, ...]:
    given = {**tiny_profile.FAST, "search": SEARCH, "seed": seed, "attempt": attempt}
    return seen_by(eden.certify(network(), tiny_profile.loader(), **given).provenance)


def show(seed: int) -> tuple[DrawnChips, ...]:
    return seen_by(evaluate(network(), tiny_profile.loader(), chips=20, seed=seed).provenance)


def draw_curves(seed: int) -> tuple[DrawnChips, ...]:
    found = at_rates(network(), tiny_profile.make_data(), [1e-3, 1e-2], 20, seed)
    return seen_by(found[1e-3].provenance)


STEPS: Mapping[str, Callable[[int], tuple[DrawnChips, ...] | None]] = {
    "train on fresh chips": lambda seed: train(seed, "fresh"),
    "profile": profile,
    "profile again": lambda seed: profile(seed, 2),
    "certify": certify,
    "certify again": lambda seed: certify(seed, 2),
    "evaluate": show,
    "curves": draw_curves,
}


def chips_by_step() -> dict[str, set[int]]:
    """The chips that each step sees, over all seeds. What a result says of them is what was read."""
    found: dict[str, set[int]] = defaultdict(set)
    for name, step in STEPS.items():
        for seed in SEEDS:
            with recorded() as seen:
                told = step(seed)
            if told is not None:
                assert {chip for drawn in told for chip in chips_of(drawn)} == seen, (name, seed)
                assert {drawn.seed for drawn in told} == {seed}
            # Of equal purposes, chips of other seeds are others but for one in 2^60.
            assert not found[name] & seen
            found[name] |= seen
    return {**found, "named by hand": set(range(-1000, 1000))}


def overlaps(found: Mapping[str, set[int]]) -> str:
    names = list(found)
    rows = [
        [one, f"{len(found[one])}", *(f"{len(found[one] & found[other])}" for other in names[:number])]
        for number, one in enumerate(names)
    ]
    width = max(map(len, rows))
    return text_table(["step", "chips", *names[:-1]], [row + [""] * (width - len(row)) for row in rows])


@pytest.mark.usefixtures("one_thread")
def test_no_two_steps_see_a_chip() -> None:
    found = chips_by_step()
    assert all(len(chips) >= 20 for chips in found.values())
    for one, other in itertools.combinations(found, 2):
        assert not found[one] & found[other], f"{one}, {other}"


@pytest.mark.parametrize("purpose", ["search", "confirmation", "steering", "verification", "evaluation", "curves"])
def test_what_networks_are_judged_on_is_not_trained_on(purpose: str) -> None:
    chip = draw_chip(3, purpose, 7)
    with pytest.raises(
        ValueError, match=rf"chips\[1\] is {chip}, a chip that is drawn for the purpose '{purpose}'; allow"
    ):
        train(0, [draw_chip(0, "training", 0), chip])
    model = eden.set_chip_(network(), chip)
    before = {name: info.errors for name, info in eden.operands(model).items()}
    with pytest.raises(ValueError, match=rf"the chip of the network is {chip}, a chip that is drawn for"):
        eden.Curriculum(model, RATE, 1, chips="one")
    assert {name: info.errors for name, info in eden.operands(model).items()} == before


def test_an_attempt_is_one_of_a_seed() -> None:
    with pytest.raises(ValueError, match="attempt is 0; allowed is 1 or more"):
        certify(0, 0)
    with pytest.raises(ValueError, match="attempt is 8193; allowed is 1 to 8192"):
        profile(0, 8193)
    with pytest.raises(ValueError, match=r"index is 1152921504606846976; allowed is 0 to 2\^60 - 1"):
        draw_chip(0, "training", 2**60)


if __name__ == "__main__":
    print(overlaps(chips_by_step()))
