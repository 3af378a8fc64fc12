"""Does a map say where every bit lies, is it read back from there, and are its files refused when damaged?"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty_networks import reads
from torch import nn

import eden
from eden.common.files import FileError
from eden.devices.device import Device
from eden.devices.partition import FittedPoint
from eden.faults.faulty_layers import FaultyLayer
from eden.memory.errors import DataDependent
from eden.memory.lines import Bitline
from eden.memory.storage import measure_range
from eden.placement.constraints import Constraints
from eden.placement.map_file import MemoryMap
from eden.placement.mapping import memory_map
from eden.placement.placement import Placement

pytestmark = pytest.mark.usefixtures("one_thread")


def small_device(kilobytes: int = 16) -> Device:
    """Module b33 with banks that a network fills, each at nominal or at its mildest point with errors, raised to 2%."""
    whole = Device.builtin("ddr3-b33")

    def raised(point: FittedPoint) -> FittedPoint:
        model = point.errors.scaled(0.02)
        return point.model_copy(update={"errors": model, "zero": (model.ber_zero,) * 2, "one": (model.ber_one,) * 2})

    partitions = []
    for part in whole.partitions:
        faulty = [point for point in part.points if point.errors.ber > 0.0 and point.trp == 12.5][:1]
        points = (part.points[0], *(raised(point) for point in faulty))
        partitions.append(part.model_copy(update={"capacity_bytes": kilobytes * 1024, "points": points, "curves": ()}))
    return whole._changed({"partitions": tuple(partitions), "voltage": None})


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 200), nn.Linear(200, 10))


def inputs(samples: int = 4) -> torch.Tensor:
    return torch.rand(samples, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def calibrated(storage: str = "int8", **faults: Any) -> nn.Module:
    model = network().eval()
    errors = DataDependent(0.01, 0.03)
    eden.inject_(model, eden.Faults(errors, errors, storage, **faults))
    eden.calibrate_(model, [inputs(20)])
    return model


def tolerance(model: nn.Module, limit: float = 0.05) -> eden.Tolerance:
    from chain import tolerance as made

    infos = eden.operands(model)
    return made(
        dict.fromkeys(infos, limit),
        bytes={name: info.bytes for name, info in infos.items()},
        kinds={name: info.kind for name, info in infos.items()},
    )


def placed(model: nn.Module, device: Device, **constraints: Any) -> Placement:
    constraints = {"split": True, **constraints}
    return eden.place(tolerance(model), device, eden.ExactSolver(gap=0.005), constraints=Constraints(**constraints))


@pytest.mark.parametrize("storage", ["int8", "int8_sign_magnitude", "float32", "bfloat16", "int4"])
def test_what_is_read_is_what_corrupt_gives_at_these_addresses(storage: str, tmp_path: Path) -> None:
    device = small_device(64 if storage == "float32" else 32 if storage == "bfloat16" else 16)
    model = calibrated(storage)
    placement = placed(model, device)
    path = tmp_path / "map.json"
    memory_map(model, placement, device).save(path)
    found = MemoryMap.load(path)
    fresh = network().eval()  # neither under faults nor calibrated
    assert eden.inject_(fresh, found) is fresh
    eden.set_chip_(fresh, 11)
    got = reads(fresh, inputs())
    assert set(got) == set(placement.operands) == set(found.operands)
    flipped = 0
    for name, (value, read) in got.items():
        operand = found.operands[name]
        pieces = [
            (found.partitions[piece.partition].errors, piece.address_bits, 8 * piece.bytes) for piece in operand.pieces
        ]
        scale = None
        if storage.startswith("int"):
            ends = torch.tensor([operand.low, operand.high]) if operand.kind == "input" else value
            scale = measure_range(ends, storage, False, False, -1)[0]

        def corrupted(where: list[Any]) -> torch.Tensor:
            batch_dim = 0 if operand.kind == "input" else None  # noqa: B023 - called in this round
            return eden.corrupt(value, where, seed=11, storage=storage, scale=scale, batch_dim=batch_dim)  # noqa: B023

        torch.testing.assert_close(read, corrupted(pieces), rtol=0, atol=0, equal_nan=True)
        flipped += int((read != corrupted([(None, *place) for _, *place in pieces])).sum())
        if pieces[0][0].ber > 0.0 and read.numel() > 1000:
            # Nowhere else: at other addresses the same chip flips other bits.
            assert not torch.equal(read, corrupted([(errors, at + 512, bits) for errors, at, bits in pieces]))
    assert flipped > 100


def test_split_operands_lie_in_banks_of_one_point() -> None:
    model, device = calibrated(), small_device()
    found = memory_map(model, placed(model, device), device)
    pieces = {name: operand.pieces for name, operand in found.operands.items()}
    assert len(pieces["3.weight"]) > 1  # 57,600 bytes in banks of 16 KiB
    for mine in pieces.values():
        points = {found.partitions[piece.partition].operating_point for piece in mine}
        assert len(points) == 1
        for piece in mine:
            home = found.partitions[piece.partition]
            assert home.address_bits <= piece.address_bits
            assert piece.address_bits + 8 * piece.bytes <= home.address_bits + 8 * home.capacity_bytes
            bank = int(piece.partition.removeprefix("bank"))
            assert device.geometry.locate(piece.address_bits).bank == bank
            assert device.geometry.locate(piece.address_bits + 8 * piece.bytes - 1).bank == bank


def test_rows_are_the_starts_where_asked_for() -> None:
    model, device = calibrated(), small_device(64)
    found = memory_map(model, placed(model, device, alignment="row"), device)
    assert all(
        piece.address_bits % device.geometry.row_bits == 0 for one in found.operands.values() for piece in one.pieces
    )
    whole = memory_map(model, placed(model, device), device)
    assert any(piece.address_bits % device.geometry.row_bits for one in whole.operands.values() for piece in one.pieces)
    with pytest.raises(ValueError, match=r"alignment is 'rows'; allowed is a number of bytes, or 'row'"):
        placed(model, device, alignment="rows")
    shifted = device.partitions[1].model_copy(update={"address": device.partitions[1].address + 512})
    inside = device._changed({"partitions": (device.partitions[0], shifted, *device.partitions[2:])})
    with pytest.raises(ValueError, match=r"alignment is 'row', and partition bank1 begins at bit \d+, inside a row"):
        placed(model, inside, alignment="row")


def test_the_real_geometry_decides_what_shares_a_bitline() -> None:
    device = small_device()
    model = calibrated()
    placement = placed(model, device)
    bitlines = Bitline(0.02, 0.3, geometry=device.geometry)
    lined = placement.model_copy(
        update={
            "partitions": {
                name: part.model_copy(update={"errors": bitlines if part.used_bytes else part.errors})
                for name, part in placement.partitions.items()
            },
            "operands": {
                name: operand.model_copy(update={"ber": 0.02}) for name, operand in placement.operands.items()
            },
        }
    )
    eden.inject_(model, lined)
    got = reads(model, inputs())
    value, read = got["3.weight"]
    scale = measure_range(value, "int8", False, False, -1)[0]
    assert torch.equal(read, eden.corrupt(value, list(lined.memory["3.weight"]), storage="int8", scale=scale))
    # Of one subarray's rows: a bitline that fails in one row fails in others, which uniform cells would not.
    address = lined.memory["3.weight"][0][1]
    assert device.geometry.locate(address).bank == int(lined.operands["3.weight"].partition.removeprefix("bank"))


def test_a_placement_alone_moves_what_is_under_faults() -> None:
    model, device = calibrated(correction="zero"), small_device()
    placement = placed(model, device)
    assert eden.inject_(model, placement) is model
    assert {name: info.errors for name, info in eden.operands(model).items()} == placement.memory
    by_map = network().eval()
    eden.inject_(by_map, memory_map(model, placement, device))
    for one, other in zip(reads(model, inputs()).values(), reads(by_map, inputs()).values(), strict=True):
        torch.testing.assert_close(one[1], other[1], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"call eden.inject_ first"):
        eden.inject_(network(), placement)
    older = placement.model_copy(
        update={
            "partitions": {
                name: p.model_copy(update={"address_bits": None}) for name, p in placement.partitions.items()
            }
        }
    )
    with pytest.raises(ValueError, match="has no address; allowed is a placement that this version"):
        eden.inject_(model, older)


def test_layers_that_share_an_operand_share_its_cells() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.first(x) + self.second(x)
            return out

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Tied().eval()

    model, device = made(), small_device()
    errors = DataDependent(0.01, 0.03)
    eden.inject_(model, eden.Faults(errors, errors, "int8"))
    eden.calibrate_(model, [torch.rand(5, 8, generator=torch.Generator().manual_seed(1))])
    found = memory_map(model, placed(model, device), device)
    assert {name: operand.readers for name, operand in found.operands.items()} == {
        "first.weight": ("first.weight", "second.weight"),
        "first.input": ("first.input", "second.input"),
    }
    fresh = eden.inject_(made(), found)
    assert {name: info.layers for name, info in eden.operands(fresh).items()} == {
        "first.weight": ("first", "second"),
        "first.input": ("first", "second"),
    }


def test_the_table_for_a_controller(tmp_path: Path) -> None:
    model, device = calibrated(), small_device()
    found = memory_map(model, placed(model, device), device)
    found.save_csv(tmp_path / "map.csv")
    text = (tmp_path / "map.csv").read_text()
    assert text == found.csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == (
        "operand,kind,piece,offset_bytes,partition,address_bits,address_bytes,bytes,rank,bank,row,column_bit,last_rank,"
        "last_bank,last_row,last_column_bit,storage,low,high,vdd_v,trcd_ns,trp_ns,temperature_c,refresh_interval_ms,"
        "ber_zero,ber_one"
    )
    assert [int(row["address_bits"]) for row in rows] == sorted(int(row["address_bits"]) for row in rows)
    assert len(rows) == sum(len(operand.pieces) for operand in found.operands.values())
    for row in rows:
        operand = found.operands[row["operand"]]
        piece = operand.pieces[int(row["piece"])]
        home = found.partitions[piece.partition]
        assert (int(row["address_bits"]), int(row["address_bytes"])) == (piece.address_bits, piece.address_bits // 8)
        assert int(row["bytes"]) == piece.bytes
        assert int(row["offset_bytes"]) == sum(p.bytes for p in operand.pieces[: int(row["piece"])])
        assert (float(row["low"]), float(row["high"]), row["storage"]) == (operand.low, operand.high, operand.storage)
        point = home.operating_point
        assert (float(row["vdd_v"]), float(row["trcd_ns"]), float(row["trp_ns"])) == (point.vdd, point.trcd, point.trp)
        assert (float(row["ber_zero"]), float(row["ber_one"])) == (home.errors.ber_zero, home.errors.ber_one)
        cell = device.geometry.locate(piece.address_bits)
        assert (int(row["rank"]), int(row["bank"])) == (cell.rank, cell.bank)
        assert int(row["row"]) == cell.subarray * device.geometry.subarray_rows + cell.wordline
        assert int(row["column_bit"]) == cell.bitline


def test_maps_of_other_networks_and_devices_are_refused() -> None:
    model, device = calibrated(), small_device()
    placement = placed(model, device)
    found = memory_map(model, placement, device)
    with pytest.raises(ValueError, match=r"the placement is of device 'ddr3-b33'; allowed is 'ddr3-b3'"):
        memory_map(model, placement, Device.builtin("ddr3-b3"))
    with pytest.raises(ValueError, match=r"operand 0.weight of the map: the network has no 0.weight"):
        eden.inject_(nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), found)
    wider = network()
    wider[4] = nn.Linear(200, 12)
    with pytest.raises(ValueError, match=r"operand 4.weight has 2000 elements in the map and 2400 in the network"):
        eden.inject_(wider, found)
    assert not any(isinstance(layer, FaultyLayer) for layer in wider.modules())
    with pytest.raises(ValueError, match="filter_fn is given; allowed with a map"):
        eden.inject_(network(), found, lambda name, layer: True)
    uncalibrated = eden.inject_(network(), eden.Faults(inputs=DataDependent(0.01, 0.03), storage="int8"))
    with pytest.raises(ValueError, match=r"range and size of 0.input are not known; call eden.calibrate_ first"):
        memory_map(uncalibrated, placement, device)
    alone = calibrated("int4")
    with pytest.raises(ValueError, match=r"0.weight has 216 bytes in the placement and 108 in the network"):
        memory_map(alone, placement, device)


def test_points_outside_of_the_curve_are_refused_by_name() -> None:
    model, device = calibrated(), small_device()
    placement = placed(model, device)
    (name,) = [name for name, part in placement.partitions.items() if part.used_bytes][:1]

    def moved(**point: float) -> Placement:
        def update(part: Any) -> Any:
            at = part.operating_point.model_copy(update=point if part.used_bytes else {})
            return part.model_copy(update={"operating_point": at})

        return placement.model_copy(
            update={"partitions": {one: update(part) for one, part in placement.partitions.items()}}
        )

    with pytest.raises(ValueError, match=r"partition bank\d: trcd is 1.0 ns; allowed for bank\d at .* is .* to 12.5"):
        memory_map(model, moved(trcd=1.0), device)
    with pytest.raises(ValueError, match=r"partition bank\d: vdd is 1.0 V; allowed for bank\d"):
        memory_map(model, moved(vdd=1.0), device)
    harsher = placement.model_copy(
        update={
            "partitions": {
                **placement.partitions,
                name: placement.partitions[name].model_copy(update={"errors": DataDependent(1e-6, 1e-6)}),
            }
        }
    )
    with pytest.raises(
        ValueError, match=rf"partition {name}: at .* stored zeros have the BER .*; the placement states"
    ):
        memory_map(model, harsher, device)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda b: b["operands"]["0.weight"]["pieces"][0].update(address=7), "allowed are multiples of 512"),
        (lambda b: b["operands"]["0.weight"]["pieces"][0].update(partition="bank9"), "is in partition 'bank9'"),
        (lambda b: b["operands"]["0.weight"]["pieces"][0].update(address=2**33), r"allowed in bank\d are"),
        (lambda b: b["operands"]["0.weight"].update(bytes=5), "has 5 bytes; allowed for 216 elements of int8 is 216"),
        (lambda b: b["operands"]["0.weight"].update(storage="int3"), "storage is 'int3'"),
        (lambda b: b["operands"]["0.weight"].update(correction="guess"), "correction is 'guess'"),
        (lambda b: b["operands"]["0.weight"].update(low=9.0), "low is 9.0, above high"),
        (lambda b: b["operands"]["0.weight"].update(readers=["0.input"]), "reads both"),
        (lambda b: b.update(random_layout=1), "random_layout is 1"),
        (lambda b: b.update(version=2), "version: found 2"),
        (lambda b: b["partitions"]["bank1"].update(address=0), r"begins at bit 0, inside bank|begins at bit 0"),
        (lambda b: b["operands"].update({"copy": dict(b["operands"]["0.weight"], readers=["x"])}), "inside operand"),
    ],
)
def test_damaged_files_are_refused(change: Callable[[Any], Any], problem: str, tmp_path: Path) -> None:
    model, device = calibrated(), small_device()
    path = tmp_path / "map.json"
    memory_map(model, placed(model, device), device).save(path)
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))
    with pytest.raises(FileError, match=problem):
        MemoryMap.load(path)
