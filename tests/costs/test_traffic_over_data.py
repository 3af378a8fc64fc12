"""Are parts of a network that samples skip neither read, nor flipped, nor paid for?"""

import math

import pytest
import torch
from chain import device, tolerance
from gated_networks import Gated, in_memory, samples
from torch.utils.data import TensorDataset

import eden
from eden.costs.platforms import PLATFORMS
from eden.costs.traffic_file import Traffic
from eden.faults.chips import accesses
from eden.faults.counting import counting

BLOCK = ("block.weight", "block.input")


def data(opening: int, others: int) -> TensorDataset:
    return TensorDataset(samples(opening, others), torch.zeros(opening + others, dtype=torch.int64))


@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("platform", ["eyeriss", "cpu"])
def test_operands_move_what_they_move_on_average(called, platform, tmp_path):
    network = in_memory(Gated(called=called))
    found = eden.traffic(network, platform, data=data(1, 3), repeated=False)
    opened, closed = (eden.traffic(network, platform, inputs=x, repeated=False) for x in samples(1, 1).split(1))
    assert not set(BLOCK) & closed.operands.keys()
    for name, moved in found.operands.items():
        share = 0.25 if name in BLOCK else 1.0
        # A cache gives maps back itself.
        assert found.loads[name] == (0.0 if platform == "cpu" and moved.kind == "input" else share)
        assert moved.read_bytes == share * opened.operands[name].read_bytes
        assert moved.written_bytes == share * opened.operands[name].written_bytes
    more = opened.crossing_bytes - closed.crossing_bytes
    assert found.spread_bytes == pytest.approx(math.sqrt(0.25 * 0.75) * more)
    assert "loaded by" in found.table()
    assert "Counted over 4 samples" in found.table()
    found.save(tmp_path / "traffic.json")
    assert Traffic.load(tmp_path / "traffic.json") == found


def test_a_weight_that_samples_share_is_read_if_one_of_them_needs_it():
    network = in_memory(Gated())
    alone = eden.traffic(network, "eyeriss", inputs=samples(1, 0))
    found = eden.traffic(network, "eyeriss", batch=2, data=data(1, 3))
    size = alone.operands["block.weight"].bytes
    assert found.operands["block.weight"].read_bytes == size / 2 / 2, "one of two pairs reads it for both"
    assert found.operands["block.input"].read_bytes == alone.operands["block.input"].read_bytes / 4


def test_planes_and_energy_have_their_spread():
    planes = in_memory(Gated(), planes=["7", "6:0"])
    found = eden.traffic(planes, "eyeriss", data=data(1, 1))
    whole = eden.traffic(in_memory(Gated()), "eyeriss", data=data(1, 1))
    assert found.loads["block.weight[7]"] == 0.5
    assert found.spread_bytes == pytest.approx(whole.spread_bytes)
    sizes = {name: info.bytes for name, info in eden.operands(in_memory(Gated())).items()}
    limits = tolerance(dict.fromkeys(sizes, 1e-3)).model_copy(update={"bytes": sizes})
    placement = eden.place(limits, device(), traffic=whole)
    saved = eden.savings(whole, placement)
    each = [eden.savings(whole.along(path), placement) for path in whole.paths]
    assert saved.placed_nj == pytest.approx(sum(one.placed_nj for one in each) / 2)
    assert saved.spread is not None
    assert saved.spread.nominal_nj == pytest.approx(abs(each[0].nominal_nj - each[1].nominal_nj) / 2)
    assert saved.spread.placed_nj == pytest.approx(abs(each[0].placed_nj - each[1].placed_nj) / 2)
    assert "deviation" in saved.table()
    assert eden.account([whole], placement, [PLATFORMS["eyeriss"]]).platforms["eyeriss"].spread == saved.spread


def test_what_is_skipped_is_neither_read_nor_flipped():
    network = in_memory(Gated(), 0.3, failure=0.5)
    with counting(network) as account:
        network(samples(0, 5))
        assert all(int(account[name].cells.sum()) == 0 for name in BLOCK)
        assert int(account["stem.weight"].cells.sum()) == 8 * 36
        assert accesses(network)["block"] == [0, 0]
        assert accesses(network)["stem"] == [0, 1]
        network(samples(2, 5))
        assert int(account["block.input"].cells.sum()) == 2 * 8 * 4 * 36
    # A sample that skips is what it is without the block.
    eden.set_chip_(network, 0)
    mixed = network(samples(2, 3))
    eden.set_chip_(network, 0)
    assert torch.equal(mixed[2:], network(samples(2, 3)[2:]))


@pytest.mark.parametrize("called", [True, False])
def test_a_gate_that_is_never_open_is_refused_by_name(called):
    with pytest.raises(ValueError, match="block: never called in a forward pass"):
        in_memory(Gated(9.0, called))
    network = in_memory(Gated(called=called))
    closed = data(0, 4)
    with pytest.raises(ValueError, match=r"block\.input, block\.weight: never read for any of 4 samples"):
        eden.traffic(network, "eyeriss", data=closed)
    for step in (lambda: eden.evaluate(network, closed, chips=2), lambda: eden.profile(network, closed, max_drop=0.5)):
        with pytest.raises(ValueError, match=r"block\.weight, block\.input: never read in a forward pass"):
            step()
    eden.remove_(network)
    with pytest.raises(ValueError, match="block: never read for any of 4 samples"):
        eden.traffic(network, "eyeriss", data=closed)
    with pytest.raises(ValueError, match="data is given beside inputs"):
        eden.traffic(network, "eyeriss", inputs=samples(1, 0), data=closed)


def test_a_package_of_gates_is_refused(tmp_path):
    with pytest.raises(ValueError, match="block reads as many samples as a gate lets through"):
        eden.export(in_memory(Gated()), samples(2, 2), tmp_path / "gated.pt2")
    assert not list(tmp_path.iterdir())
