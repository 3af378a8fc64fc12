"""Is a network run on a batch as its own loop would?"""

from collections import UserDict

import pytest
import torch
from torch import nn

import eden
from eden.faults.forward import arguments_of

X, Y, LABELS = torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 1])


class One(nn.Module):
    def forward(self, x, mask=None): ...


class Two(nn.Module):
    def forward(self, a, b): ...


class Named(nn.Module):
    def forward(self, input_ids=None, labels=None, *, attention_mask=None):
        return input_ids, labels, attention_mask


class Anything(nn.Module):
    def forward(self, *args, **kwargs): ...


BATCHES = [
    (One(), X, ((X,), {})),
    (One(), (X, LABELS), ((X,), {})),
    (One(), [X], ((X,), {})),
    (One(), {"x": X, "label": LABELS}, ((), {"x": X})),
    (One(), ({"x": X}, LABELS), ((), {"x": X})),
    (One(), {"image": X}, (({"image": X},), {})),
    (One(), ([X, Y], [LABELS]), (([X, Y],), {})),
    (Two(), (X, Y, LABELS), ((X, Y), {})),
    (Two(), ((X, Y), LABELS), ((X, Y), {})),
    (Named(), UserDict(input_ids=X, labels=LABELS, idx=Y), ((), {"input_ids": X, "labels": LABELS})),
    (Anything(), {"x": X}, ((), {"x": X})),
    (Anything(), (X, LABELS), ((X,), {})),
    (torch.compile(Two()), (X, Y), ((X, Y), {})),
    (eden.inject_(nn.Sequential(nn.Linear(3, 3)), eden.Faults(eden.Uniform(1e-3)))[0], (X, Y), ((X,), {})),
]


@pytest.mark.parametrize("case", range(len(BATCHES)))
def test_arguments(case):
    model, batch, (args, named) = BATCHES[case]
    found_args, found_named = arguments_of(model, batch)
    assert found_args == args or all(map(torch.equal, found_args, args))
    assert found_named.keys() == named.keys()


def test_too_few_items_are_refused():
    with pytest.raises(ValueError, match="has 1 items; allowed for Two, whose forward has 2 arguments"):
        arguments_of(Two(), (X,))


def test_forward_fn_runs_the_network_everywhere():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
            return self.linear(x * scale)

    def run(model, batch):
        return model(batch["x"], 2.0)

    model = Scaled()
    eden.inject_(model, eden.Faults(eden.Uniform(1e-3), eden.Uniform(1e-3), "int8"))
    eden.calibrate_(model, [{"x": torch.rand(4, 3), "y": LABELS}], forward_fn=run)
    assert eden.operands(model)["linear.input"].bytes == 3
    assert eden.coverage(model, sample={"x": torch.rand(2, 3)}, forward_fn=run).faulty_bytes == 9
    counted = eden.traffic(model, inputs={"x": torch.rand(1, 3)}, forward_fn=run)
    assert counted.operands["linear.input"].bytes == 3
