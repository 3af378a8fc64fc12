"""Does the account say what the loads did, and does it leave them as they are?"""

import pytest
import torch
from torch import Tensor, nn

import eden
from eden.faults.counting import counting


def _network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 10)).eval()
    return model, torch.randn(4, 3, 8, 8)


@pytest.mark.parametrize("storage", ["float32", "int8", "bfloat16", "int4", "sign"])
def test_realized_is_near_requested_at_every_bit(storage: str) -> None:
    model, x = _network()
    errors = eden.DataDependent(ber_zero=0.02, ber_one=0.2, failure=0.5)
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage=storage, seed=3))
    if storage != "float32":
        eden.calibrate_(model, [(x, None)])
    with counting(model) as account, torch.no_grad():
        model(x)
    counts = account["3.weight"]
    bits = eden.memory.storage.STORAGE_BITS[storage]
    assert counts.cells.shape == (bits, 2)
    assert counts.cells.sum(1).tolist() == [10240] * bits
    assert counts.requested is not None
    # A weight is read once, so its counts are binomial; 6 standard deviations over at most 64 counts: one seed in 8e6.
    rates = torch.tensor([0.02, 0.2], dtype=torch.float64)
    deviation = (counts.cells * rates * (1 - rates)).sqrt()
    assert ((counts.realized - counts.requested).abs() <= 6 * deviation + 1e-9).all()
    assert counts.realized.sum() > 0
    assert account["0.input"].cells.sum() == x.numel() * bits


def test_counts_are_the_flips_of_the_operator() -> None:
    model, x = _network()
    eden.inject_(model, eden.Faults(weights=eden.Uniform(1e-2), seed=3))
    weight = model[3].weight.detach()
    with counting(model) as account, torch.no_grad():
        model(x)
        model(x)
    address = eden.operands(model)["3.weight"].address
    read = eden.corrupt(weight, eden.Uniform(1e-2), seed=3, address=address)
    different = weight.view(torch.int32) ^ read.view(torch.int32)
    per_bit = [2 * int((different >> bit & 1).sum()) for bit in range(32)]
    assert account["3.weight"].realized.sum(1).tolist() == per_bit
    rows = {row.name: row for row in eden.coverage(model, account).rows}
    assert rows["3.weight"].flips is not None
    assert rows["3.weight"].flips.summary in str(eden.coverage(model, account))
    assert rows["0.bias"].flips is None


def test_counting_changes_nothing_and_ends() -> None:
    model, x = _network()
    eden.inject_(model, eden.Faults(weights=eden.Uniform(1e-3), inputs=eden.Uniform(1e-3, failure=0.5)))
    twin, _ = _network()
    eden.inject_(twin, eden.Faults(weights=eden.Uniform(1e-3), inputs=eden.Uniform(1e-3, failure=0.5)))
    with torch.no_grad():
        with counting(model) as account:
            first = model(x)
        before = account["0.input"].cells.sum()
        assert torch.equal(first.view(torch.int32), twin(x).view(torch.int32))
        assert torch.equal(model(x).view(torch.int32), twin(x).view(torch.int32))
    assert account["0.input"].cells.sum() == before > 0


def test_counting_twice_or_nothing_is_refused() -> None:
    model, _ = _network()
    with pytest.raises(ValueError, match="no layer under faults"), counting(model):
        pass
    eden.inject_(model, eden.Faults(weights=eden.Uniform(1e-3)))
    with counting(model), pytest.raises(RuntimeError, match="already"), counting(model):
        pass


class _Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(16, 8)
        self.key = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.query(x) + self.key(x)


def test_every_layer_that_reads_a_shared_operand_counts() -> None:
    model, x = _Shared().eval(), torch.randn(5, 16)
    eden.inject_(model, eden.Faults(inputs=eden.Uniform(0.1)))
    eden.calibrate_(model, [(x, None)])
    with counting(model) as account, torch.no_grad():
        model(x)
    assert list(account) == ["query.input"]
    assert account["query.input"].cells.sum() == 2 * x.numel() * 32
