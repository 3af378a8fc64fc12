"""Are planes placed, moved, mapped and counted as operands are, and never worse than whole words?"""

import random

import pytest
import torch
from chain import tolerance
from test_mapping import calibrated, inputs, network, small_device

import eden
from eden.costs.planes import by_plane, whole_operands
from eden.placement.map_file import MemoryMap
from eden.placement.mapping import memory_map

pytestmark = pytest.mark.usefixtures("one_thread")


def of_limits(model, limit):
    infos = eden.operands(model)
    return tolerance(
        {name: limit(info) for name, info in infos.items()},
        bytes={name: info.bytes for name, info in infos.items()},
        kinds={name: info.kind for name, info in infos.items()},
    )


def test_a_placed_network_is_mapped_and_read_back(tmp_path):
    model = calibrated(planes={"weight": ["7", "6:0"], "input": "search"})
    device = small_device(64)
    placement = eden.place(of_limits(model, lambda info: 1e-9 if 7 in info.plane else 0.05), device)
    homes = {name: placement.partitions[one.partition].errors.ber for name, one in placement.operands.items()}
    assert all((homes[name] == 0.0) == (7 in info.plane) for name, info in eden.operands(model).items())
    eden.inject_(model, placement)
    expected = model(inputs())
    found = memory_map(model, placement, device)
    found.save(tmp_path / "map.json")
    other = eden.inject_(network().eval(), MemoryMap.load(tmp_path / "map.json"))
    assert torch.equal(other(inputs()), expected)
    assert {n: i.bytes for n, i in eden.operands(other).items()} == {
        n: i.bytes for n, i in eden.operands(model).items()
    }
    broken = {name: one for name, one in found.operands.items() if name != "0.weight[7]"}
    with pytest.raises(ValueError, match=r"the planes of operand 0\.weight are 6:0"):
        MemoryMap.model_validate({**dict(found), "operands": broken})


@pytest.mark.parametrize("platform", ["cpu", "eyeriss"])
def test_planes_share_what_whole_words_move(platform):
    whole, planes = calibrated(), calibrated(planes=["7", "6:5", "4:0"])
    for how in ({}, {"inputs": inputs(1)}):
        expected, found = (eden.traffic(model, platform, repeated=False, **how) for model in (whole, planes))
        assert expected.operands.keys() == whole_operands(found.operands).keys()
        for name, info in eden.operands(planes).items():
            words, moved = expected.operands[info.operand], found.operands[name]
            share = info.bytes / sum(i.bytes for i in eden.operands(planes).values() if i.operand == info.operand)
            assert moved.bytes == info.bytes
            assert moved.read_bytes == pytest.approx(words.read_bytes * share, rel=0.02)
            assert moved.fits_on_chip == words.fits_on_chip
    assert by_plane(expected, whole_operands(expected.operands)) is expected


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_planes_are_never_worse_than_whole_words(solver):
    """Random limits: planes may tolerate more than the least tolerant one, which whole words have to follow."""
    model, rng, better = calibrated(planes=["7", "6:5", "4:0"]), random.Random(4), 0
    device = small_device(64)
    for _ in range(6):
        limits = {name: 10.0 ** rng.uniform(-6, -0.5) for name in eden.operands(model)}
        operand = {name: info.operand for name, info in eden.operands(model).items()}
        lowest = {name: min(limits[n] for n in limits if operand[n] == operand[name]) for name in limits}
        traffic = eden.traffic(model, "cpu", repeated=False)
        values = []
        for of in (limits, lowest):
            placed = eden.place(of_limits(model, lambda info, of=of: of[info.name]), device, solver, traffic)
            values.append(1.0 - eden.savings(traffic, placed, platform="cpu").energy_reduction)
        assert values[0] <= values[1] * (1.0 + 1e-6)
        better += values[0] < values[1]
    assert better > 0
