"""Are codes charged from the profile to the account: limits of their own, the bytes and the energy of check bits?"""

import copy

import pytest
import torch
from chain import Device, FittedPoint, Partition, Point, tolerance
from test_accounts import HAND
from tiny_profile import CLASSES, FEATURES, loader, make_data, make_network, profile
from torch import nn

import eden
from eden.boosting.recipe import Recipe
from eden.costs.energy import Currents
from eden.memory.errors import Uniform

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = {"storage": "int8_sign_magnitude", "input_storage": "uint8"}
SECDED = {"storage": "int8_sign_magnitude_secded", "input_storage": "uint8_secded"}
TRIPLED = {"storage": "int8_sign_tripled", "input_storage": "uint8"}
FAST = {
    "max_drop": 0.05,
    "confidence": 0.8,
    "progress": False,
    "effort": 1.5,
    "coarse_only": True,
    "population": "samples",
}


def stored(model: nn.Module, sample: torch.Tensor, **storages: str) -> nn.Module:
    model = copy.deepcopy(model).eval()
    eden.inject_(model, eden.Faults.int8(Uniform(1e-3), **storages))
    return eden.calibrate_(model, [sample])


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 10))


IMAGE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def of_limit(model: nn.Module, limit: float) -> eden.Tolerance:
    infos = eden.operands(model)
    fields = {"bytes": {n: i.bytes for n, i in infos.items()}, "kinds": {n: i.kind for n, i in infos.items()}}
    return tolerance(dict.fromkeys(infos, limit), model=Uniform(limit), **fields)


def blocks(words: int) -> int:
    """Bytes of words of a byte under SECDED: nine for every eight that were begun."""
    return 9 * -(-words // 8)


def test_check_bits_are_bytes_wherever_bytes_are_counted():
    plain, coded, tripled = (stored(convolutions(), IMAGE, **how) for how in (PLAIN, SECDED, TRIPLED))
    sizes = {name: info.bytes for name, info in eden.operands(plain).items()}
    assert {name: info.bytes for name, info in eden.operands(tripled).items()} == sizes
    assert {name: info.bytes for name, info in eden.operands(coded).items()} == {
        name: blocks(size) for name, size in sizes.items()
    }
    assert sum(row.bytes for row in eden.coverage(coded).faulty) == sum(map(blocks, sizes.values()))
    for platform in ("cpu", "tpu"):
        expected, found, same = (
            eden.traffic(one, platform, inputs=IMAGE, repeated=False) for one in (plain, coded, tripled)
        )
        assert same.operands == expected.operands
        for name, moved in found.operands.items():
            # What an array asks for is a part of an operand; a cache moves whole ones.
            times = moved.bytes / sizes[name]
            assert moved.read_bytes == pytest.approx(times * expected.operands[name].read_bytes)
            assert moved.written_bytes == pytest.approx(times * expected.operands[name].written_bytes)


def test_what_a_code_saves_by_hand():
    """A weight of 64,000 words is 1,125 bursts where whole words are 1,000; see docs/explanation/accounting.md."""
    model = nn.Sequential(nn.Linear(640, 100))
    sample = torch.rand(1, 640, generator=torch.Generator().manual_seed(2))
    coded = stored(model, sample, **SECDED)
    eden.set_errors_(coded, {"0.input": None})
    moved = eden.traffic(coded, HAND)
    assert {name: one.read_bytes for name, one in moved.operands.items()}["0.weight"] == 72_000
    point = FittedPoint(vdd=1.2, trcd=7.5, errors=Uniform(1e-3))
    memory = Device(
        partitions=(Partition("bank0", points=(point,)), Partition("bank1", nominal=True)), nominal=Point(vdd=1.5)
    )
    alone = {"0.weight": moved.operands["0.weight"]}
    moved = moved.model_copy(update={"operands": alone})
    limits = tolerance({"0.weight": 3e-3}, size=72_000, model=Uniform(3e-3))
    apart = eden.Constraints(shared_vdd="partition")
    placement = eden.place(limits, memory, eden.ExactSolver(platform=HAND), moved, constraints=apart)
    assert placement.partitions["bank0"].used_bytes == 72_000
    (account,) = eden.account([moved], placement, (HAND,)).platforms.values()
    within = Currents.builtin("ddr3-1600")
    activations, volts = 562.5, 1.2 / 1.5
    nominal_ns = 1125 * 5 / 0.25 + 0.4 * activations * 37.5
    placed_ns = nominal_ns - 0.4 * activations * 5
    standby = 0.54 + within.unit("refresh")
    accesses = activations * 14.25 + 1125 * 5.7
    assert (account.nominal_ns, account.placed_ns) == pytest.approx((nominal_ns, placed_ns))
    assert account.nominal_nj == pytest.approx(accesses + 1125 * 1.84 + nominal_ns * standby)
    placed_nj = accesses * volts + 1125 * 1.84 + placed_ns * standby * (1 + volts) / 2
    assert account.placed_nj == pytest.approx(placed_nj)
    # Whole words within specification take 8/9 of it; what is saved of those is what a code is worth.
    assert account.nominal_nj == pytest.approx(9 / 8 * 30_096.731, rel=1e-6)


def test_what_is_not_corrected_is_clamped_and_not_eight_zeros():
    assert eden.Faults.int8(Uniform(1e-3), **SECDED).correction == "clamp"
    assert eden.Faults.int8(Uniform(1e-3), **SECDED, correction="zero").correction == "zero"
    assert eden.Faults.int8(Uniform(1e-3), **TRIPLED).correction == "zero"


def test_check_bits_take_room():
    plain, coded = (stored(convolutions(), IMAGE, **how) for how in (PLAIN, SECDED))
    rows = sorted(-(-info.bytes // 64) * 64 for info in eden.operands(plain).values())
    fast = FittedPoint(trcd=7.5, errors=Uniform(1e-3))
    bank = Partition("bank0", sum(rows), points=(fast,))
    memory = Device(partitions=(bank,))
    assert eden.place(of_limit(plain, 0.01), memory).partitions["bank0"].operating_point.trcd == 7.5
    with pytest.raises(ValueError, match=r"bytes"):
        eden.place(of_limit(coded, 0.01), memory)
    with pytest.raises(ValueError, match=r"bytes"):
        eden.place(of_limit(coded, 0.01), memory, traffic=eden.traffic(plain, repeated=False))


def test_a_code_has_limits_of_its_own():
    found = {}
    for name, how in (("plain", PLAIN), ("secded", SECDED), ("tripled", TRIPLED)):
        model = make_network(Uniform(1e-3)).eval()
        eden.inject_(model, eden.Faults.int8(Uniform(1e-3), **how))
        eden.calibrate_(model, loader())
        found[name] = profile(model, loader(), **FAST)
        assert found[name].bytes == {n: i.bytes for n, i in eden.operands(model).items()}
        assert found[name].storage["0.weight"] == how["storage"]
    assert found["secded"].coarse > 1.5 * found["plain"].coarse


@pytest.mark.parametrize("how", [SECDED, TRIPLED])
def test_a_curriculum_trains_under_a_code_and_its_file_keeps_it(how, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(FEATURES, 24), nn.ReLU(), nn.Linear(24, CLASSES))
    eden.train(model, make_data(), Recipe(epochs=6, learning_rate=0.1, batch_size=20))
    eden.inject_(model, eden.Faults.int8(Uniform(0.02), **how))
    eden.calibrate_(model, loader())
    curriculum = eden.Curriculum(model, max_drop=0.02, validation=loader(), epochs=4)
    eden.train(model, make_data(), Recipe.boosting(4), curriculum)
    assert curriculum.tried
    eden.save(model, tmp_path / "network.safetensors")
    other = nn.Sequential(nn.Linear(FEATURES, 24), nn.ReLU(), nn.Linear(24, CLASSES))
    eden.load_(other, tmp_path / "network.safetensors")
    assert {n: i.storage for n, i in eden.operands(other).items()} == {
        n: i.storage for n, i in eden.operands(model).items()
    }
    x = make_data().tensors[0][:50]
    assert torch.equal(model.eval()(x), other.eval()(x))
