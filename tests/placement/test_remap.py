"""Are operands of a known chip read from where the map says, rotated as it says, and never from worse cells?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import tolerance as made
from faulty_networks import reads
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.devices.device import Device
from eden.memory.cell_map import CellMap
from eden.placement.constraints import Constraints
from eden.placement.harm import word_harm
from eden.placement.map_file import MemoryMap
from eden.placement.mapping import memory_map
from eden.placement.placement import Placement
from eden.tolerance.verification import Verification

pytestmark = pytest.mark.usefixtures("one_thread")

_ROW_BITS = 4096


def device(folder: Path, seed: int, bers: Sequence[float] = (0.01,) * 4, repeats: int = 1, rows: int = 96) -> Device:
    """A chip as ``eden.fit`` knows it: four banks of 48 KiB after a reliable one, each cell weak at 7.5 ns or not."""
    random = np.random.default_rng(seed)
    lines = ["trcd,pattern,bank,row,bit,repeat"]
    for bank, ber in enumerate(bers, 1):
        for pattern in ("0x00", "0xff"):
            for place in np.flatnonzero(random.random(rows * _ROW_BITS) < ber).tolist():
                failed = np.flatnonzero(random.random(repeats) < (0.5 if repeats > 1 else 1.0))
                lines += [f"7.5,{pattern},{bank},{place // _ROW_BITS},{place % _ROW_BITS},{again}" for again in failed]
    (folder / "flips.csv").write_text("\n".join(lines) + "\n")
    tested = eden.Tested(banks=range(1, 1 + len(bers)), rows=rows, row_bits=_ROW_BITS, repeats=repeats)
    geometry = eden.Geometry(banks=1 + len(bers), bank_rows=rows, row_bits=_ROW_BITS, subarray_rows=rows)
    return eden.fit(
        folder / "flips.csv",
        tested=tested,
        geometry=geometry,
        nominal=eden.Condition(trcd=12.5, temperature=50),
        cell_map=True,
        partitions="bank",
        reliable="bank0",
    )


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 30), nn.Linear(30, 10)
        ).eval()


INPUTS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def faulty(storage: str, planes: Any = None) -> nn.Module:
    model = network()
    eden.inject_(model, eden.Faults(eden.Uniform(0.01), eden.Uniform(0.01), storage, planes=planes))
    return eden.calibrate_(model, [INPUTS])


def tolerance(model: nn.Module, limit: float = 0.05) -> eden.Tolerance:
    infos = eden.operands(model)
    told = {key: {name: getattr(info, key) for name, info in infos.items()} for key in ("bytes", "kind", "storage")}
    return made(dict.fromkeys(infos, limit), bytes=told["bytes"], kinds=told["kind"], storage=told["storage"])


def placed(model: nn.Module, home: Device, **constraints: Any) -> Placement:
    return eden.place(tolerance(model), home, constraints=Constraints(**{"remap": True, **constraints}))


def bits_of(value: NDArray[Any], storage: str, low: float, high: float) -> tuple[NDArray[Any], float]:
    """Words [elements, bits], the lowest first, and the step of codes."""
    if storage == "float32":
        return (value.view(np.uint32)[:, None] >> np.arange(32, dtype=np.uint32)) & 1, 1.0
    step = float(np.float32(max(abs(low), abs(high))) / np.float32(127))
    codes = np.clip(np.rint(value / np.float32(step)), -127, 127).astype(np.int64)
    return ((codes & 255)[:, None] >> np.arange(8)) & 1, step


def values_of(bits: NDArray[Any], storage: str, step: float) -> NDArray[Any]:
    if storage == "float32":
        words = (bits.astype(np.uint32) << np.arange(32, dtype=np.uint32)).sum(1).astype(np.uint32)
        return words.view(np.float32)
    codes = (bits << np.arange(8)).sum(1).astype(np.uint8).view(np.int8)
    return codes.astype(np.float32) * np.float32(step)


@pytest.mark.parametrize("storage", ["int8", "float32"])
def test_a_reader_of_the_map_alone_reads_the_same_bits(storage: str, tmp_path: Path) -> None:
    """It writes words into an image of the bank as the file says, flips its weak cells, and reads them back."""
    home = device(tmp_path, 1)
    model = faulty(storage)
    placement = placed(model, home)
    memory_map(model, placement, home).save(path := tmp_path / "map.json")
    told = json.loads(path.read_text())
    eden.inject_(fresh := network(), MemoryMap.load(path))
    rotated = flipped = 0
    for name, (value, read) in reads(fresh, INPUTS).items():
        operand = told["operands"][name]
        sample = value if operand["kind"] == "weight" else value[0]
        low, high = operand["low"], operand["high"]
        bits, step = bits_of(sample.numpy().ravel(), storage, low, high)
        (piece,) = operand["pieces"]
        bank = told["partitions"][piece["partition"]]
        width = bits.shape[1]
        first = piece["address"] - bank["address"]
        turned = piece.get("rotation")
        unit = 8 * turned["unit_bytes"] if turned else 512
        image = np.zeros(8 * bank["capacity_bytes"], dtype=np.int64)
        places = np.zeros(bits.shape, dtype=np.int64)
        for i in range(len(bits)):
            rotation = int(turned["by_unit"][i * width // unit], 32) if turned else 0
            rotated += rotation > 0
            for b in range(width):
                places[i, b] = first + i * width + (b + rotation) % width
        image[places] = bits
        for cell, values in bank["errors"].get("cells", []):
            image[cell] ^= str(image[cell]) in values
        found = values_of(image[places], storage, step)
        flipped += int((image[places] != bits).sum())
        got = read if operand["kind"] == "weight" else read[0]
        np.testing.assert_array_equal(found.view(np.uint32), got.numpy().ravel().view(np.uint32), err_msg=name)
    assert rotated > 100
    assert flipped > 100


@pytest.mark.parametrize("seed", range(6))
def test_it_is_never_worse_than_without(seed: int, tmp_path: Path) -> None:
    """By the sum over operands of the harm of the bits that lie in weak cells, counted one by one."""
    storage, planes = (
        ("int8", None),
        ("int8_sign_magnitude", None),
        ("bfloat16", None),
        ("int4", None),
        ("int8", ["7", "6:4", "3:0"]),
        ("int8_secded", None),
    )[seed]
    random = np.random.default_rng(seed)
    home = device(tmp_path, seed, random.choice([1e-4, 3e-3, 0.02], 4))
    model = faulty(storage, planes)
    before, after = (placed(model, home, remap=remap) for remap in (False, True))

    def harm(placement: Placement) -> float:
        total = 0.0
        for name in placement.operands:
            errors, first, bits = placement.memory[name][0]
            if isinstance(errors, CellMap):
                zero, one = map(np.array, word_harm(storage, name, 512))
                at = slice(*np.searchsorted(errors.cells, (first, first + bits)))
                place = (errors.cells[at] - first) % len(zero)
                weighed = (zero[place] * errors.flips_zero[at]).sum() + (one[place] * errors.flips_one[at]).sum()
                total += weighed / (bits / len(zero) * (zero.sum() + one.sum()))
        return total

    assert harm(after) <= harm(before)
    if storage == "int8" and planes is None:
        assert harm(after) < 0.25 * harm(before)
        assert any("is 0.1" in note for note in after.notes)
    assert after.ber == before.ber
    again = Placement.model_validate_json(after.model_dump_json())
    assert again == after == placed(model, home)
    eden.inject_(faulty(storage, planes), after)(INPUTS)


def test_split_operands_and_reads_that_fail_at_times(tmp_path: Path) -> None:
    model = faulty("float32")
    home = device(tmp_path, 2, repeats=8, rows=32)
    placement = placed(model, home, split=True)
    assert any(
        len(one.pieces) > 1 and any(piece.rotation for piece in one.pieces) for one in placement.operands.values()
    )
    eden.inject_(model, placement)
    first, second = (reads(model, INPUTS)["3.weight"][1] for _ in range(2))
    assert not torch.equal(first, second)


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    model = faulty("int8")
    with pytest.raises(ValueError, match=r"remap is True, and no partition of .* has a cell map"):
        placed(model, Device.builtin("ddr3-b33"))
    home = device(tmp_path, 1)
    placement = placed(model, home)
    name, operand = next((name, one) for name, one in placement.operands.items() if one.rotation)
    assert operand.rotation is not None
    units = len(operand.rotation.by_unit)
    for changed, message in (
        (
            {"by_unit": "0" * (units + 1)},
            rf"rotation of operand {name} has {units + 1} units of 64 bytes; allowed .* {units}",
        ),
        ({"by_unit": "8" * units}, "has the digit '8'; allowed in words of 8 bits are 0 to 7"),
        ({"word_bits": 3}, "units of 64 bytes; allowed are whole words of 3 bits"),
    ):
        wrong = operand.model_copy(update={"rotation": operand.rotation.model_copy(update=changed)})
        with pytest.raises(ValueError, match=message):
            Placement.model_validate({**dict(placement), "operands": {**placement.operands, name: wrong}})
    elsewhere = {
        part: one.model_copy(update={"errors": eden.Uniform(one.errors.ber)})
        for part, one in placement.partitions.items()
    }
    with pytest.raises(ValueError, match="has an equivalent BER and lies in no cell map"):
        Placement.model_validate({**dict(placement), "partitions": elsewhere})
    found = memory_map(model, placement, home)
    flat = {part: one.model_copy(update={"errors": eden.Uniform(0.01)}) for part, one in found.partitions.items()}
    with pytest.raises(ValueError, match="error model is Uniform; allowed is a CellMap"):
        MemoryMap.model_validate({**dict(found), "partitions": flat})
    table = found.csv().splitlines()
    assert table[0].endswith(",word_bits,rotation_unit_bytes,rotation_by_unit")
    mapped = found.operands[name]
    turned = mapped.pieces[0].model_copy(update={"rotation": operand.rotation.model_copy(update={"word_bits": 16})})
    with pytest.raises(ValueError, match="is rotated in words of 16 bits; allowed in int8 are those of 8"):
        MemoryMap.model_validate(
            {**dict(found), "operands": {**found.operands, name: mapped.model_copy(update={"pieces": (turned,)})}}
        )


def test_what_is_certified_is_said_to_be_of_this_chip(tmp_path: Path) -> None:
    model, home = faulty("int8"), device(tmp_path, 4)
    placement = placed(model, home)
    assert "meets the cells of one chip, as it was measured" in placement.caution
    data = TensorDataset(torch.rand(64, 3, 8, 8), torch.zeros(64, dtype=torch.int64))
    with torch.no_grad():
        data.tensors[1].copy_(eden.remove_(faulty("int8"))(data.tensors[0]).argmax(1))
    found = eden.certify(model, DataLoader(data, 32), max_drop=0.3, confidence=0.8, placement=placement, progress=False)
    assert found.one_chip
    assert "reads of this one chip, as it was measured" in found.statement
    assert "fresh reads" in found.statement
    assert Verification.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("solver", ["greedy", "exact"])
def test_a_point_is_tolerated_by_the_rate_that_rotated_words_meet(solver: Any, tmp_path: Path) -> None:
    model, home = faulty("int8"), device(tmp_path, 4)
    wanted = tolerance(model, 0.005)  # half of the rate at 7.5 ns
    before, after = (
        eden.place(wanted, home, solver=solver, constraints=Constraints(remap=remap)) for remap in (False, True)
    )
    assert set(before.ber.values()) == {0.0}
    assert max(after.ber.values()) > 0.008
    for name, operand in after.operands.items():
        if operand.ber > operand.limit:
            assert operand.equivalent_ber is not None
            assert 0.0 <= operand.equivalent_ber <= operand.limit
            errors, first, bits = after.memory[name][0]
            zero, one = map(np.array, word_harm("int8", name, 512))
            at = slice(*np.searchsorted(errors.cells, (first, first + bits)))  # type: ignore[union-attr]
            place = (errors.cells[at] - first) % 8  # type: ignore[union-attr]
            found = (zero[place] * errors.flips_zero[at] + one[place] * errors.flips_one[at]).sum()  # type: ignore[union-attr]
            assert operand.equivalent_ber == pytest.approx(found / (bits / 8 * (zero.sum() + one.sum())))
    low = {name: one.model_copy(update={"limit": 1e-9}) for name, one in after.operands.items()}
    with pytest.raises(ValueError, match=r"meets a BER of .*; allowed is its limit 1e-09"):
        Placement.model_validate({**dict(after), "operands": low})
