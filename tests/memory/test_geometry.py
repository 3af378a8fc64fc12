"""Does every address lie on one cell of the array, and does every impossible one have its name?"""

import dataclasses
import random

import pytest

import eden
from eden.memory.geometry import Location

SMALL = eden.Geometry(row_bits=256, subarray_rows=32, bank_rows=64, banks=2, ranks=3)


def test_every_cell_of_a_small_memory_has_its_own_location():
    cells = range(SMALL.end)
    assert SMALL.end == 3 * SMALL.capacity_bits == 3 * 2 * 64 * 256
    locations = {SMALL.locate(cell): cell for cell in cells}
    assert len(locations) == SMALL.end
    assert all(SMALL.address(*location) == cell for location, cell in locations.items())
    assert SMALL.locate(0) == Location(0, 0, 0, 0, 0)
    assert SMALL.locate(255) == Location(0, 0, 0, 0, 255)
    assert SMALL.locate(256) == Location(0, 0, 0, 1, 0)
    assert SMALL.locate(32 * 256) == Location(0, 0, 1, 0, 0)
    assert SMALL.locate(SMALL.end - 1) == Location(2, 1, 1, 31, 255)


def test_cells_of_a_line_share_its_number():
    lines: dict[tuple[int, ...], set[int]] = {}
    for cell in range(SMALL.end):
        rank, bank, subarray, wordline, bitline = SMALL.locate(cell)
        lines.setdefault((0, rank, bank, subarray, wordline), set()).add(SMALL.wordline_number(cell))
        lines.setdefault((1, rank, bank, subarray, bitline), set()).add(SMALL.bitline_number(cell))
    assert all(len(numbers) == 1 for numbers in lines.values())
    wordlines = [min(numbers) for key, numbers in lines.items() if key[0] == 0]
    bitlines = [min(numbers) for key, numbers in lines.items() if key[0] == 1]
    assert sorted(wordlines) == list(range(3 * 2 * 64))
    assert sorted(bitlines) == list(range(3 * 2 * 2 * 256))


def test_without_a_number_of_ranks_every_address_is_a_cell():
    geometry = eden.Geometry()
    assert geometry.capacity_bits == 8 * 2**30 * 2
    assert geometry.end == 2**63
    numbers = random.Random(0)
    for address in (0, 2**40, 2**63 - 1, *(numbers.randrange(2**63) for _ in range(1000))):
        assert geometry.address(*geometry.locate(address)) == address
    last = geometry.locate(2**63 - 1)
    assert last == (2**29 - 1, 7, 63, 511, 65535)


def test_default_of_address_is_the_first_cell():
    assert SMALL.address() == 0
    assert SMALL.address(bank=1, bitline=3) == 64 * 256 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"row_bits": 100}, "row_bits is 100; allowed is a multiple of 128"),
        ({"row_bits": 0}, "row_bits is 0; allowed is 1 or more"),
        ({"subarray_rows": 48}, "subarray_rows is 48; allowed is a multiple of 32"),
        ({"bank_rows": 1000}, r"bank_rows is 1000; allowed is a multiple of 512 \(subarray_rows\)"),
        ({"banks": 0}, "banks is 0; allowed is 1 or more"),
        ({"ranks": 0}, "ranks is 0; allowed is 1 or more"),
        ({"banks": 2**40}, "banks is 1099511627776; allowed is a memory of less than"),
        ({"ranks": 2**29}, "allowed is a memory of less than"),
    ],
)
def test_impossible_geometries_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        eden.Geometry(**arguments)


@pytest.mark.parametrize("name", ["row_bits", "subarray_rows", "bank_rows", "banks", "ranks"])
@pytest.mark.parametrize("value", [1.5, "128", True])
def test_wrong_types_are_named(name, value):
    with pytest.raises(TypeError, match=f"{name} is a {type(value).__name__}"):
        eden.Geometry(**{name: value})


def test_places_that_are_not_there_are_named():
    for name, value in (("rank", 3), ("bank", 2), ("subarray", 2), ("wordline", 32), ("bitline", 256), ("bank", -1)):
        with pytest.raises(ValueError, match=f"^{name} is {value}; allowed is 0"):
            SMALL.address(**{name: value})
    for address in (-1, SMALL.end):
        for function in (SMALL.locate, SMALL.wordline_number, SMALL.bitline_number):
            with pytest.raises(ValueError, match=f"address is {address}"):
                function(address)
    with pytest.raises(TypeError, match="address is a float"):
        SMALL.locate(1.0)


def test_json_form():
    for geometry in (SMALL, eden.Geometry()):
        assert eden.Geometry.from_dict(geometry.to_dict()) == geometry
    assert eden.Geometry.from_dict({"banks": 4}) == eden.Geometry(banks=4)
    with pytest.raises(ValueError, match="'rows' is no parameter of a geometry; allowed are row_bits"):
        eden.Geometry.from_dict({"rows": 4})
    with pytest.raises(TypeError, match="geometry is a list"):
        eden.Geometry.from_dict([])
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.banks = 4


def test_a_subarray_too_large_for_its_offsets_is_refused() -> None:
    with pytest.raises(ValueError, match="subarray_rows is 16384"):
        eden.Geometry(row_bits=2**17, subarray_rows=2**14, bank_rows=2**14)
