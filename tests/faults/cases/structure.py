"""Networks of many forms."""

import copy

import torch
import torch.nn.functional as F
from faults.cases.oracle import ERRORS, SEED, Oracle, convolutional, network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import Tensor, nn

import eden
from eden.faults.faulty_layers import faulty_layers

GROUP = "Networks"
X = numbers(5, 8)


@case(GROUP)
def layers() -> None:
    """Linear layers, weights and inputs in int8."""
    plain = network()
    right(put(copy.deepcopy(plain), X), plain, X, gradients=True)


@case(GROUP)
def images() -> None:
    """Convolutions, normalization and a linear layer."""
    plain, x = convolutional().eval(), numbers(3, 3, 8, 8)
    right(put(copy.deepcopy(plain), x), plain, x, gradients=True)


@case(GROUP)
def frozen() -> None:
    """Layers without gradients: read through memory, and no gradient comes of it."""
    plain = network()
    plain[0].requires_grad_(False)
    model = put(copy.deepcopy(plain), X)
    right(model, plain, X, gradients=True)
    assert model[0].weight.grad is None


class Twice(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first = layer
        self.second = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


@case(GROUP)
def shared_module() -> None:
    """One layer called twice in a forward: one operand, read twice."""
    plain = Twice(network()[0])
    model = put(copy.deepcopy(plain), X)
    assert list(eden.operands(model)) == ["first.weight", "first.input"]
    right(model, plain, X, gradients=True)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens))


TOKENS = torch.arange(10).reshape(2, 5)


@case(GROUP)
def tied() -> None:
    """A table tied to the head: one operand."""
    plain = Tied()
    model = put(copy.deepcopy(plain), TOKENS)
    assert list(eden.operands(model)) == ["table.weight", "head.input"] or len(eden.operands(model)) == 2
    right(model, plain, TOKENS, gradients=True)


class Shared(nn.Module):
    """A table that is never called beside one that is, as T5 has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.table = nn.Embedding(11, 8), nn.Embedding(11, 8)
        self.head = nn.Linear(8, 4)
        self.table.weight = self.shared.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens))


@case(GROUP)
def tied_and_never_called() -> None:
    """A table that is never called, tied to one that is: one operand, read by that one."""
    plain = Shared()
    model = put(copy.deepcopy(plain), TOKENS)
    assert list(eden.operands(model)) == ["head.weight", "head.input", "shared.weight"]
    right(model, plain, TOKENS, gradients=True)


@case(GROUP)
def two_networks() -> None:
    """A layer that two networks have, one of them put under faults: the other reads the same memory."""
    plain = network()
    model = copy.deepcopy(plain)
    other = nn.Sequential(model[0])
    put(model, X)
    oracle = Oracle(other, nn.Sequential(plain[0]))
    same(other(X), oracle(X))


@case(GROUP)
def sliced() -> None:
    """A slice of a network under faults, which shares its layers."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    right(model[:2], plain[:2], X)


@case(GROUP)
def inner_first() -> None:
    """inject_ of a part, then of the whole: the whole's faults hold."""
    plain = nn.Sequential(network(), nn.Linear(4, 4))
    model = copy.deepcopy(plain)
    eden.inject_(model[0], eden.Faults(eden.Uniform(0.3)))
    right(put(model, X), plain, X)


@case(GROUP)
def inner_last() -> None:
    """inject_ of the whole, then of a part: the part has the new faults, named as the part names them."""
    plain = nn.Sequential(network(), nn.Linear(4, 4))
    model = put(copy.deepcopy(plain), X)
    put(model[0], X, eden.Uniform(0.1))
    right(model[0], plain[0], X)


@case(GROUP)
def injected_twice() -> None:
    """inject_ twice: the same as once, ranges kept."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8", seed=SEED))
    right(model, plain, X)


@case(GROUP)
def removed_and_injected() -> None:
    """remove_, then inject_: the same reads as before."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    before = model(X)
    eden.remove_(model)
    assert not faulty_layers(model)
    same(model(X), plain(X))
    same(put(model, X)(X), before)


@case(GROUP)
def in_a_list() -> None:
    """Layers in a Python list, which torch does not find either: named by coverage with all that they read."""

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.others = [nn.Linear(8, 8)]

        def forward(self, x: Tensor) -> Tensor:
            return self.others[0](self.first(x))

    model = put(Hidden(), X)
    found = eden.coverage(model, sample=X)
    assert any(row.kind in ("function", "input") and row.bytes for row in found.reliable), found
    assert found.input_share is not None
    assert found.input_share < 0.6


@case(GROUP)
def plain_attribute() -> None:
    """A weight that is a plain tensor attribute: named by coverage."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.w = numbers(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(self.first(x), self.w)

    rows = eden.coverage(put(Plain(), X), sample=X)
    assert any(row.bytes for row in rows.reliable if row.kind in ("function", "buffer")), rows


@case(GROUP)
def added_later() -> None:
    """A layer that was put into the network after inject_: named, with the reason."""
    model = put(network(), X)
    model.append(nn.Linear(4, 2))
    rows = {row.name: row for row in eden.coverage(model, sample=X).reliable}
    assert not rows["3.weight"].chosen, rows["3.weight"]
    assert "filter_fn" not in rows["3.weight"].note, rows["3.weight"].note


@case(GROUP)
def replaced_later() -> None:
    """A head that is replaced after inject_: named, with the reason, until inject_ is called again."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    model[2] = copy.deepcopy(plain[2])
    rows = {row.name: row for row in eden.coverage(model, sample=X).reliable}
    assert not rows["2.weight"].chosen
    assert "filter_fn" not in rows["2.weight"].note, rows["2.weight"]
    right(put(model, X), plain, X)


@case(GROUP)
def renamed_later() -> None:
    """A layer that is moved to another name after inject_: its operand keeps name and cells until the next inject_."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    before = model(X)
    moved = nn.Sequential(nn.Identity(), *model)
    assert list(eden.operands(moved)) == list(eden.operands(model))
    same(moved(X), before)
    put(moved, X)
    assert list(eden.operands(moved)) == ["1.weight", "1.input", "3.weight", "3.input"]
    same(moved(X), before)


@case(GROUP)
def larger_table() -> None:
    """A weight that grows after inject_, as resized token embeddings do."""
    plain = Tied()
    model = put(copy.deepcopy(plain), TOKENS)
    more = nn.Parameter(torch.cat([plain.table.weight.detach(), numbers(3, 8)]))
    for each in (plain, model):
        each.table.weight = each.head.weight = nn.Parameter(more.detach().clone())
    right(model, plain, TOKENS)


@case(GROUP)
def flat_parameters() -> None:
    """Parameters that are views of one piece of memory: coverage tells them apart."""

    class Past(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat = torch.zeros(2 * 64)
            self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
            for index, layer in enumerate((self.first, self.second)):
                layer.weight.data = self.flat[64 * index : 64 * (index + 1)].view(8, 8).copy_(numbers(8, 8, seed=index))
            del self.flat

        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.aten.mm(self.first(x), self.second.weight.detach().clone().t())

    model = eden.inject_(Past(), eden.Faults(ERRORS))
    rows = {row.name: row for row in eden.coverage(model, sample=X).rows}
    assert rows["first.weight"].faulty, rows
    assert "beside" not in rows["first.weight"].note, rows
    assert not rows["second.weight"].faulty, rows


@case(GROUP)
def own_forward() -> None:
    """A subclass of Linear with a forward of its own: what its functions read is read through memory."""

    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight) * 2

    model = eden.inject_(nn.Sequential(nn.Linear(8, 8), Own(8, 4)), eden.Faults(ERRORS))
    eden.calibrate_(model, [X])
    assert "1.weight" in eden.operands(model)
    read = eden.corrupt(model[1].weight, ERRORS, address=eden.operands(model)["1.weight"].address)
    with torch.no_grad():
        same(model(X), F.linear(model[0](X), read) * 2)


@case(GROUP)
def nothing() -> Refused:
    """A network without any layer."""
    return refused("inject_", ValueError, lambda: put(nn.Sequential(nn.ReLU()), X), "no layer to put under faults")


@case(GROUP)
def never_called() -> Refused:
    """A layer that no forward pass calls."""
    model = nn.Module()
    model.used, model.unused = nn.Linear(8, 8), nn.Linear(8, 8)
    model.forward = lambda x: model.used(x)
    return refused("calibrate_", ValueError, lambda: put(model, X), "unused")


@case(GROUP)
def skipped() -> None:
    """A layer that is skipped in some passes, as stochastic depth does."""

    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.extra, self.calls = network(), nn.Linear(4, 4), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x = self.body(x)
            return self.extra(x) if self.calls % 2 else x

    plain = Skips()
    model = put(copy.deepcopy(plain), X)
    model.calls = plain.calls = 0
    oracle = Oracle(model, plain)
    for _ in range(4):
        same(model(X), oracle(X))


@case(GROUP)
def part_alone() -> None:
    """inject_ of a part, calibrate_ of the whole: what the part's functions read is under faults, the rest is named."""

    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.w = nn.Linear(8, 8), nn.Parameter(numbers(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(self.body(x), self.w)

    whole = nn.Sequential(Functions(), Functions()).eval()
    eden.inject_(whole[0], eden.Faults(ERRORS, ERRORS, "int8"))
    eden.calibrate_(whole, [X])
    assert "0.w" in eden.operands(whole)
    assert not any(x.startswith("1.") for x in eden.operands(whole))
    notes = {row.name: row.note for row in eden.coverage(whole, sample=X).reliable}
    assert notes["1.body.weight"] == "inject_ was called for 0 alone"
    assert "1.w" in notes
