"""Does the loop that judges placements read what EDEN reads, and does it blame rates that are too high?"""

import sys

import pytest
import torch
import unseen_chips
from torch import nn

import eden

SIGN_MAGNITUDE = {"storage": "int8_sign_magnitude", "input_storage": "uint8", "weight_channels": True}
FAULTS = {
    "two's complement": {"storage": "int8", "correction": "zero"},
    "as computed": {"storage": "int8", "correction": "none"},
    "channels": {**SIGN_MAGNITUDE, "correction": "zero"},
}
ERRORS = {"persist": eden.DataDependent(4e-3, 0.2), "come and go": eden.Uniform(1e-2, failure=0.4)}


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)).eval()


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("errors", ERRORS.values(), ids=ERRORS)
def test_the_loop_reads_the_same_bits_by_code_of_its_own(tmp_path, faults, errors):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, 2, 6, 6, generator=generator)
    model = network()
    state = model.state_dict()
    for value in state.values():
        value.copy_(torch.randn(value.shape, generator=generator))
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, **faults))
    eden.calibrate_(model, [images[:20]])
    eden.save(model, tmp_path / "network.safetensors")
    loop = unseen_chips.PlainNetwork(network(), tmp_path / "network.safetensors")
    # One operand is in two pieces, as a placement may split it.
    sizes = {"0.weight": 6 * 18, "0.input": 72, "3.weight": 960, "3.input": 96}
    memory = {name: ((errors, 2**33 * k, 8 * size),) for k, (name, size) in enumerate(sizes.items())}
    memory["3.weight"] = (errors, 2**36, 8 * 64), (errors, 2**35, 8 * 896)
    eden.set_errors_(model, memory)
    with torch.inference_mode():
        eden.set_chip_(model, 12345)
        read = torch.cat([model(part) for part in images.split(15)])
        assert torch.equal(loop.logits(images, memory, 12345, 15), read)
        with eden.clean(model):
            assert torch.equal(loop.logits(images, {}, 0), model(images))
        assert not torch.equal(loop.logits(images, memory, 12346, 15), read)


def test_it_blames_limits_that_are_too_high(monkeypatch, tmp_path, capsys):
    import tiny_task

    asked = ("--task", f"{tiny_task.__file__}:tiny", "--max-drop", "0.1", "--confidence", "0.8", "--effort", "1.5")
    for factor, status in (("1", 0), ("20", 1)):
        monkeypatch.setattr(sys, "argv", ["unseen_chips.py", *asked, "--chips", "20", "--factor", factor])
        assert unseen_chips.main() == status
        said = capsys.readouterr().out
        assert ": holds\n" in said.partition("as placed: ")[2]
        assert ("does not hold" in said.partition("at the limits: ")[2]) == bool(status)
        # The loop's own score on reliable memory.
        clean, profiled = (part.split()[0] for part in said.split("on reliable memory: ")[1].split(" in the loop, "))
        assert clean == profiled
