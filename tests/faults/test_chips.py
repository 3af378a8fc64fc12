"""Are reads those of the chip and the access?"""

import pytest
import torch
import torch._dynamo.testing
from faulty_networks import images, injected

import eden
from eden.faults import chips


def test_chips_and_accesses():
    model = injected(1e-2)
    x = images()
    first = model(x)
    assert torch.equal(model(x), first), "F = 1: errors persist"
    eden.set_chip_(model, 1)
    assert not torch.equal(model(x), first)
    eden.set_chip_(model, 0)
    assert torch.equal(model(x), first)
    eden.set_errors_(model, {name: eden.Uniform(1e-2, failure=0.5) for name in eden.operands(model)})
    reads = [model(x) for _ in range(2)]
    assert not torch.equal(*reads)
    eden.set_chip_(model, 0)
    again = [model(x) for _ in range(2)]
    eden.set_chip_(model, 0)
    assert all(torch.equal(model(x), expected) for expected in again)


def test_a_chip_is_a_64_bit_integer():
    model = injected()
    for put in (eden.faults.chips.set_chip_, eden.faults.chips.set_training_chip_):
        with pytest.raises(TypeError, match="seed is a float"):
            put(model, 1.7)
        with pytest.raises(ValueError, match="seed is 9223372036854775808"):
            put(model, 2**63)
    assert eden.faults.chips.chip(model) == 0


def test_the_chip_of_a_run_can_be_trained_on_whatever_its_seed():
    for seed in (0, 7, 2**60 - 1, -(2**60)):
        assert chips.chip_of_run(seed) == seed
    for seed in (
        2**60,
        2**63 - 1,
        -(2**63),
        *(chips.draw_chip(1, purpose, 0) for purpose in ("evaluation", "training")),
    ):
        chips.check_trainable("the chip", chips.chip_of_run(seed))
