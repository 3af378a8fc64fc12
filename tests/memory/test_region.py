"""Do the rows and the table that the operators get say where an operand lies and how weak its lines are?"""

import math

import numpy as np
import pytest
from one_region import one_region

import eden
from eden import _core
from eden.memory.region import Piece, region_rows
from eden.memory.storage import CORRECTIONS

# Places of the fields in a row, csrc/memory/region.h.
END, ADDRESS, MODEL, SPARSE_ZERO, _, DENSE_ZERO, _, FAILURE = range(8)
CORRECTION, TABLE_KIND, TABLE_FIRST, TABLE_LENGTH, ROW_BITS, SUBARRAY_ROWS = range(8, 14)
ENDLESS = 2**63 - 1
SMALL = eden.Geometry(row_bits=128, subarray_rows=32, bank_rows=64, banks=2, ranks=1)


def test_one_piece_of_models_0_and_3_is_the_row_there_was():
    for errors in (None, eden.Uniform(0.1), eden.DataDependent(1e-3, 0.2, 0.5)):
        for correction in CORRECTIONS:
            rows, table = region_rows([(errors, 320, 640)], 640, 32, correction)
            assert rows == [one_region(errors, 320, correction)]
            assert table is None
    assert len(rows[0]) == _core.REGION_FIELDS


@pytest.mark.parametrize("kind", [eden.Bitline, eden.Wordline])
def test_lines(kind):
    population = kind(0.01, 0.2, 0.5, SMALL)
    rows, table = region_rows([(population, 64, 64)], 64, 8, "clamp")
    (row,) = rows
    assert row[END] == ENDLESS
    assert row[ADDRESS] == 64
    assert row[MODEL] == _core.ModelKind.__members__[kind.KIND].value
    assert row[FAILURE] == -(2**63)  # one half of 2^64
    assert row[CORRECTION] == _core.Correction.clamp.value
    assert row[TABLE_KIND] == _core.TableKind.population.value
    assert row[TABLE_FIRST : TABLE_FIRST + 4] == [0, _core.line_bin_begins().size - 1, 128, 32]
    assert table is not None
    assert table.dtype == np.int64
    assert table.size == 2 * row[TABLE_LENGTH]
    for pair, probability in zip(table.reshape(-1, 2), population.line_probabilities(), strict=True):
        cell = _core.make_region(probability, 0.0, 1.0, 0, _core.Correction.none)
        assert pair.tolist() == [cell[SPARSE_ZERO], cell[DENSE_ZERO]]
    measured = kind.measured([0.0, 0.25, 0.5], 0.5, SMALL)
    rows, table = region_rows([(measured, 0, 64)], 64, 8)
    assert rows[0][TABLE_KIND] == _core.TableKind.measured.value
    assert rows[0][TABLE_LENGTH] == 3
    assert table is not None
    assert table[:2].tolist() == [0, 0]
    assert table[5] == -1  # always


def test_map():
    errors = eden.CellMap([7, 3], [True, False], [True, True], 64, 0.25)
    rows, table = region_rows([(errors, 0, 64)], 64, 8)
    assert rows[0][MODEL] == _core.ModelKind.map.value
    assert rows[0][FAILURE] == 2**62
    assert rows[0][TABLE_FIRST : TABLE_FIRST + 2] == [0, 2]
    assert table is not None
    assert table.tolist() == [3 << 2 | 2, 7 << 2 | 3]
    rows, table = region_rows([(eden.CellMap([], True, True, 64), 0, 64)], 64, 8)
    assert rows[0][TABLE_LENGTH] == 0
    assert table is not None
    assert table.size == 0


def test_pieces_follow_one_another_and_share_tables():
    line, cells = eden.Bitline(0.01, 0.2), eden.CellMap([1, 2, 5], True, True, 4096)
    pieces: list[Piece] = [
        (line, 2**40, 64),
        (cells, 1024, 32),
        (eden.Uniform(0.1), 0, 96),
        (eden.Bitline(0.01, 0.2), 0, 32),
        (eden.CellMap([1, 2, 5], True, True, 4096), 0, 1024),
    ]
    rows, table = region_rows(pieces, 512, 32)
    assert [row[END] for row in rows] == [64, 96, 192, 224, ENDLESS]
    assert [row[ADDRESS] for row in rows] == [2**40, 1024, 0, 0, 0]
    bins = _core.line_bin_begins().size - 1
    assert [rows[i][TABLE_FIRST] for i in (0, 1, 3, 4)] == [0, 2 * bins, 0, 2 * bins]
    assert table is not None
    assert table.size == 2 * bins + 3


def test_an_operand_without_elements_has_a_row():
    rows, _ = region_rows([(eden.Uniform(0.1), 0, 0)], 0, 32)
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("pieces", "bits", "error", "message"),
    [
        ([], 32, ValueError, "pieces is empty"),
        ([(None, 16, 32)], 32, ValueError, r"address of pieces\[0\] is 16; allowed is a multiple of the element's 32"),
        ([(None, 0, 16), (None, 0, 16)], 32, ValueError, r"bits of pieces\[0\] is 16; allowed is a multiple"),
        ([(None, 0, 32), (None, -32, 32)], 64, ValueError, r"address of pieces\[1\] is -32; allowed is 0 or more"),
        ([(None, 0, 32), (None, 0, 32)], 96, ValueError, "pieces hold 64 bits; allowed is what the operand takes, 96"),
        ([(None, 2**63 - 32, 64)], 64, ValueError, "where addresses end"),
        ([(eden.Bitline(0.1, 0.1, geometry=SMALL), 16320, 96)], 96, ValueError, "where the geometry of its model ends"),
        ([(eden.CellMap([], True, True, 64), 32, 64)], 64, ValueError, "ends at 64 or before, where its map ends"),
        ([(None, 0, 32)], 33, ValueError, "bits is 33"),
        ([(None, 0.0, 32)], 32, TypeError, r"address of pieces\[0\] is a float"),
        ([(None, 0, True)], 32, TypeError, r"bits of pieces\[0\] is a bool"),
        ([("uniform", 0, 32)], 32, TypeError, r"errors of pieces\[0\] is a str"),
    ],
)
def test_misplaced_operands_are_named(pieces, bits, error, message):
    with pytest.raises(error, match=message):
        region_rows(pieces, bits, 32)


def test_a_piece_may_end_where_its_memory_ends():
    region_rows([(eden.Wordline(0.1, 0.1, geometry=SMALL), SMALL.end - 64, 64)], 64, 32)
    region_rows([(None, 2**63 - 64, 64)], 64, 32)
    with pytest.raises(ValueError, match="correction is 'drop'"):
        region_rows([(None, 0, 64)], 64, 32, "drop")


def test_the_core_refuses_by_name():
    lines = [_core.ModelKind.bitline, _core.TableKind.measured, 1.0, 0, _core.Correction.none, 0, 1, 128, 32]
    _core.make_lines_region(*lines)
    for place, value, message in (
        (0, _core.ModelKind.cell, "kind is 0"),
        (1, _core.TableKind.population, "table_length is 1; allowed for a population is 1728"),
        (2, 0.0, "failure is 0"),
        (2, math.nan, "failure is nan"),
        (5, -1, "table_first is -1"),
        (6, 0, "table_length is 0"),
        (7, 64, "row_bits is 64; allowed is a multiple of 128"),
        (8, 0, "subarray_rows is 0; allowed is a multiple of 32"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.make_lines_region(*(value if i == place else argument for i, argument in enumerate(lines)))
    for arguments, message in (
        ((1.5, 0, 0, 0), "failure is 1.5"),
        ((1.0, 0, -1, 0), "table_first"),
        ((1.0, 0, 0, -1), "table_l"),
    ):
        failure, address, first, length = arguments
        with pytest.raises(ValueError, match=message):
            _core.make_map_region(failure, address, _core.Correction.none, first, length)
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=rf"probabilities\[1\] is {value}"):
            _core.make_line_table(np.array([0.5, value]))
