"""Do functions read keys, values and folded texts from where memory holds them, however they are arranged?"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from faulty_networks import GroupedAttention
from torch import nn

import eden

pytestmark = pytest.mark.usefixtures("one_thread")
ERRORS = eden.Uniform(0.05)


def texts(samples: int, positions: int) -> torch.Tensor:
    return torch.randn(samples, positions, 8, generator=torch.Generator().manual_seed(10 * samples + positions))


def in_steps(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a model gives for each position after what it was given for those before."""
    past, found = None, []
    for position in range(x.shape[1]):
        y, past = model(x[:, position : position + 1], past, keep=True)
        found.append(y)
    return torch.cat(found, 1)


@pytest.mark.parametrize("batch", ["restart", "contiguous"])
@pytest.mark.parametrize("kind", GroupedAttention.KINDS)
def test_a_token_keeps_its_cells_while_a_sequence_grows(kind, batch):
    torch.manual_seed(1)
    model = GroupedAttention(kind).eval()
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8", batch=batch))
    eden.calibrate_(model, [texts(4, 6)])
    held = model.held
    sizes = {name: info.bytes for name, info in eden.operands(model).items()}
    # Two heads of four numbers for each of six positions, whatever the arrangement in which they are read.
    assert {name: sizes[name] for name in held} == dict.fromkeys(held, 6 * 2 * 4)
    rows = {row.name: row.note for row in eden.coverage(model, sample=texts(4, 3)).rows}
    assert all(rows[name].endswith("; 8 bytes for each position") for name in held)
    eden.set_errors_(model, {name: None for name in sizes if name not in held})
    x = texts(3, 6)
    with torch.no_grad(), eden.clean(model):
        exact = model(x)
    with torch.no_grad():
        whole = model(x)
        scale = float(exact.abs().max())
        assert float((whole - exact).abs().max()) > 0.1 * scale
        # To within what one code more or less makes, where sums of another order round to it.
        assert torch.allclose(in_steps(model, x), whole, atol=0.02 * scale)
        if batch == "restart":
            assert torch.allclose(model(x[1:2]), whole[1:2], atol=0.02 * scale)


def test_keys_lie_by_position_then_by_head():
    class Scores(nn.Module):
        def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
            return queries @ keys.transpose(-2, -1)

    model = nn.ModuleDict({"first": nn.Linear(4, 4), "scores": Scores()})
    keys, unit = torch.rand(3, 2, 5, 4), torch.eye(4).expand(3, 2, 4, 4)

    def run(network: nn.ModuleDict, keys: torch.Tensor) -> torch.Tensor:
        network["first"](keys)
        return network["scores"](torch.eye(4).expand(len(keys), 2, 4, 4), keys)

    eden.inject_(model, eden.Faults(inputs=ERRORS))
    eden.calibrate_(model, [keys], forward_fn=run)
    eden.set_errors_(model, {"scores.product0.first": None})
    place = eden.operands(model)["scores.product0.second"].address
    expected = eden.corrupt(keys.transpose(1, 2).contiguous(), ERRORS, address=place, batch_dim=0)
    found = model["scores"](unit, keys).transpose(-2, -1)
    assert torch.equal(found.nan_to_num(), expected.transpose(1, 2).nan_to_num())
    assert not torch.equal(found, keys)


def test_texts_of_any_length_are_folded_for_a_product():
    class Columns(nn.Module):
        def __init__(self, fold: Callable[[torch.Tensor], torch.Tensor]) -> None:
            super().__init__()
            self.weight, self.fold = nn.Parameter(torch.rand(8, 4)), fold

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.fold(x) @ self.weight).view(*x.shape[:-1], 4)

    for fold in (lambda x: x.view(-1, 8), lambda x: torch.flatten(x, 0, 1)):
        model = nn.Sequential(nn.Linear(8, 8), Columns(fold)).eval()
        eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8"))
        eden.calibrate_(model, [texts(4, 6)])
        assert eden.operands(model)["1.weight.input"].bytes == 6 * 8
        eden.set_errors_(model, {"0.input": None})
        x = texts(3, 6)
        with torch.no_grad():
            whole = model(x)
            assert torch.allclose(model(x[:, :1]), whole[:, :1], atol=1e-5)
            assert torch.allclose(model(x[:1, :5]), whole[:1, :5], atol=1e-5)


def test_a_transposed_parameter_is_read_through_memory():
    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.weight, self.other = nn.Linear(8, 8), *(nn.Parameter(torch.rand(4, 8)) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x) @ self.weight.T + x @ self.other.mT

    model = Transposed().eval()
    eden.inject_(model, eden.Faults(eden.Uniform(0.0), storage="int8"))
    eden.calibrate_(model, [texts(4, 6)])
    x = texts(2, 6)
    with torch.no_grad():
        exact = model(x)
        for name in ("weight", "other"):
            eden.set_errors_(model, {name: ERRORS})
            assert not torch.equal(model(x), exact)
            eden.set_errors_(model, {name: eden.Uniform(0.0)})


class Held:
    """A layer of a cache as Transformers has it."""

    def __init__(self, sliding: int = 0, length: int = 0) -> None:
        self.is_sliding, self._sliding, self._length = bool(sliding), sliding, length

    def get_seq_length(self) -> int:
        return self._length

    def get_max_length(self) -> int:
        return self._sliding or -1


class Codes(Held):
    """One that keeps codes."""

    def _dequantize(self, codes: Any) -> Any: ...


def test_caches_that_move_their_tokens_or_keep_codes_are_refused():
    torch.manual_seed(1)
    model = GroupedAttention("sdpa").eval()
    model.layer_idx = 1
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8"))
    eden.calibrate_(model, [texts(4, 6)])
    whole = model(texts(2, 3))

    def run(held: Any) -> torch.Tensor:
        return model(texts(2, 3), cache=SimpleNamespace(layers=[Codes(), held]))

    for held in (Held(), Held(8, 7)):
        eden.set_chip_(model, 0)
        assert torch.equal(run(held), whole)
    for held, what in ((Held(8, 8), "Held moves its tokens once they are 8 or more"), (Codes(), "Codes keeps codes")):
        with pytest.raises(ValueError, match=f"^key, value: {what}.*; allowed are caches that keep"):
            run(held)
        with eden.clean(model):
            run(held)
    eden.set_errors_(model, {"key": None, "value": None})
    run(Codes())


def test_layers_inside_read_for_themselves():
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(x, x, x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner = nn.Linear(8, 8), Inner()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(self.first(x))
            return F.scaled_dot_product_attention(y, y, y) @ y.transpose(-2, -1)

    torch.manual_seed(0)
    model = Outer().eval()
    eden.inject_(model, eden.Faults(inputs=ERRORS, storage="int8"))
    eden.calibrate_(model, [texts(4, 6)])
    names = ["first.input", "query", "product0.first", "inner.query"]  # y is one operand, whoever reads it
    infos = eden.operands(model)
    assert {name: infos[name].bytes for name in infos} == dict.fromkeys(names, 6 * 8)
    model(texts(2, 6))
    assert {name: info.loads for name, info in eden.operands(model).items()} == dict.fromkeys(names, 1)
