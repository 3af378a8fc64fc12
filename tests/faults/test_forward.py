"""Is a network run on a batch as its own loop would?"""

import dataclasses
import re
from collections import UserDict

import pytest
import torch
from torch import nn

import eden
from eden.faults.forward import Arguments, target_of

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


class Labelled(nn.Module):
    def forward(self, x, labels): ...


class Decoding(nn.Module):
    def forward(self, input_ids=None, decoder_input_ids=None, labels=None):
        return input_ids, decoder_input_ids, labels


class OfMapping(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]): ...


@dataclasses.dataclass
class Sample:
    x: torch.Tensor
    target: torch.Tensor


NONE = "nothing of it is left"
# A network, a batch, what the network gets by place and by name, and the target or why it cannot be told.
BATCHES = [
    (One(), X, ((X,), {}), NONE),
    (One(), (X, LABELS), ((X,), {}), LABELS),
    (One(), [X], ((X,), {}), NONE),
    (One(), (X, LABELS, Y), ((X,), {}), "2 of its items are left (1, 2)"),
    (One(), {"x": X, "label": LABELS}, ((), {"x": X}), LABELS),
    (One(), {"x": X, "y": LABELS}, ((), {"x": X}), LABELS),
    (One(), {"x": X, "y": LABELS, "id": Y}, ((), {"x": X}), "2 of its items are left ('y', 'id')"),
    (One(), Sample(X, LABELS), ((), {"x": X}), LABELS),
    (One(), ({"x": X}, LABELS), ((), {"x": X}), LABELS),
    (One(), {"image": X}, (({"image": X},), {}), NONE),
    (One(), {"image": X, "label": LABELS}, ((X,), {}), LABELS),
    (OfMapping(), {"image": X, "label": LABELS}, (({"image": X, "label": LABELS},), {}), LABELS),
    (One(), ([X, Y], [LABELS]), (([X, Y],), {}), [LABELS]),
    (Two(), (X, Y, LABELS), ((X, Y), {}), LABELS),
    (Two(), ((X, Y), LABELS), ((X, Y), {}), LABELS),
    (Two(), {"a": X, "b": Y, "start_positions": X, "end_positions": Y}, ((), {"a": X, "b": Y}), {"start_positions": X}),
    (Named(), UserDict(input_ids=X, labels=LABELS, idx=Y), ((), {"input_ids": X}), LABELS),
    (Named(), {"input_ids": X, "attention_mask": Y}, ((), {"input_ids": X, "attention_mask": Y}), NONE),
    (Labelled(), {"x": X, "labels": LABELS}, ((), {"x": X, "labels": LABELS}), LABELS),
    (Decoding(), {"input_ids": X, "labels": LABELS}, ((), {"input_ids": X, "labels": LABELS}), LABELS),
    (
        Decoding(),
        {"input_ids": X, "decoder_input_ids": Y, "labels": X},
        ((), {"input_ids": X, "decoder_input_ids": Y}),
        X,
    ),
    (Anything(), {"x": X, "labels": Y}, ((), {"x": X}), Y),
    (Anything(), (X, LABELS), ((X,), {}), LABELS),
    (torch.compile(Two()), (X, Y), ((X, Y), {}), NONE),
    (eden.inject_(nn.Sequential(nn.Linear(3, 3)), eden.Faults(eden.Uniform(1e-3)))[0], (X, Y), ((X,), {}), Y),
]


@pytest.mark.parametrize("case", range(len(BATCHES)))
def test_what_a_network_gets_and_is_compared_with(case):
    model, batch, (args, named), target = BATCHES[case]
    found = Arguments.of(model, batch)
    assert found.args == args or all(map(torch.equal, found.args, args))
    assert found.named.keys() == named.keys()
    if isinstance(target, str):
        with pytest.raises(ValueError, match=rf"{re.escape(target)} as the target.*target_fn\(batch\)"):
            target_of(model, batch, None, None)
        assert target_of(model, batch, None, lambda batch: 5) == 5
    elif isinstance(target, dict):
        assert target.keys() < target_of(model, batch, None, None).keys()
    else:
        assert target_of(model, batch, None, None) is target or target == target_of(model, batch, None, None)


def test_a_target_beside_a_forward_fn():
    def run(model, batch): ...

    assert target_of(Two(), (X, LABELS), run, None) is LABELS
    assert target_of(Two(), {"x": X, "labels": LABELS}, run, None) is LABELS
    for batch in ((X, Y, LABELS), X):
        with pytest.raises(ValueError, match="forward_fn takes what it likes of it"):
            target_of(Two(), batch, run, None)


def test_too_few_items_are_refused():
    with pytest.raises(ValueError, match="has 1 items; allowed for Two, whose forward has 2 arguments"):
        Arguments.of(Two(), (X,))


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
    pairs = [{"x": torch.rand(4, 3), "labels": torch.tensor([0, 1, 1, 0])}] * 2
    assert eden.evaluate(model, pairs, forward_fn=run, chips=2).clean is not None
    for found in (eden.profile, eden.certify):
        quick = {"max_drop": 0.9, "search": eden.Search(effort=1.5, batch_size=8), "progress": False}
        answer = found(model, pairs, forward_fn=run, metric=of_labels, **quick)
        assert (answer.metric, answer.samples) == ("of_labels", 8)
        inputs = [pair["x"] for pair in pairs]
        answer = found(model, inputs, forward_fn=lambda model, x: model(x, 2.0), target_fn=len, metric=of_4, **quick)
        assert (answer.metric, answer.samples) == ("of_4", 8)


def of_labels(output, target):
    assert (output.shape, target.shape) == ((len(target), 2), (len(output),))
    return torch.ones(len(output))


def of_4(output, target):
    assert target == len(output)
    return torch.ones(len(output))
