"""Is bad input refused by name, wherever it enters, and is nothing broken by it?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from operator_grid import operator_arguments
from torch import Tensor

import eden
from eden.memory.errors import ErrorModel

UNIFORM, LINES = eden.Uniform(0.1), eden.Bitline(0.1, 0.1)
MAP = eden.CellMap(range(0, 4000, 7), True, True, 4000)
X = torch.ones(10)
NUMBER = torch.int64

# Places of the fields in csrc/memory/region.h.
END, ADDRESS, MODEL, SPARSE, DENSE, CORRECTION = 0, 1, 2, 3, 5, 8
TABLE_KIND, TABLE_FIRST, TABLE_LENGTH, ROW_BITS, SUBARRAY_ROWS = range(9, 14)

OPERATORS: dict[str, Callable[..., Any]] = {
    "corrupt": torch.ops.eden.corrupt,
    "corrupt_": torch.ops.eden.corrupt_,
    "corrupt_out": lambda **given: torch.ops.eden.corrupt_out(**given, out=torch.empty_like(X)),
    "count_flips": torch.ops.eden.count_flips,
}


def meta(shape: tuple[int, ...] = (), dtype: torch.dtype = NUMBER) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


SCALED = {"storage": 1, "scale": torch.ones(1)}
ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"x": X.double()}, "x has a dtype that no storage holds"),
    ({"x": X.bool()}, "x has a dtype"),
    ({"x": X + 0j}, "x has a dtype"),
    ({"x": X.long()}, "x has a dtype"),
    ({"x": X.int()}, "x has a dtype that this storage cannot hold"),
    ({"x": None}, "x is None"),
    ({"x": X.to_sparse()}, "Sparse"),
    ({"x": meta((10,), torch.float32)}, "region is on cpu; allowed is the device of x, meta"),
    ({"region": None}, "region is None"),
    ({"region": torch.zeros(14)}, "region must be contiguous and of its fixed dtype"),
    ({"region": torch.zeros(1, 28, dtype=NUMBER)[:, ::2]}, "region must be contiguous"),
    ({"region": torch.zeros(13, dtype=NUMBER)}, "region has 13 elements; allowed are rows of 14"),
    ({"region": torch.zeros(0, 14, dtype=NUMBER)}, "region has 0 elements"),
    ({"region": meta((1, 14))}, "region is on meta"),
    ({"table": torch.zeros(4)}, "table must be contiguous"),
    ({"table": meta((4,))}, "table is on meta"),
    ({"chip": torch.zeros(())}, "chip must be contiguous and of its fixed dtype"),
    ({"chip": torch.zeros(2, dtype=NUMBER)}, "chip has 2 elements; allowed is 1"),
    ({"chip": torch.zeros(0, dtype=NUMBER)}, "chip has 0 elements"),
    ({"chip": meta()}, "chip is on meta"),
    ({"access": torch.zeros((), dtype=torch.int32)}, "access must be"),
    ({"access": meta()}, "access is on meta"),
    ({"storage": 1}, "scale is missing"),
    ({"storage": 1, "scale": torch.ones(2)}, "scale has 2 elements; allowed is 1"),
    ({"storage": 1, "scale": torch.ones(1).double()}, "scale must be"),
    ({"storage": 1, "scale": meta((1,), torch.float32)}, "scale is on meta"),
    (SCALED | {"channel_dim": 0}, "scale has 1 elements; allowed is 10"),
    (SCALED | {"zero_point": torch.zeros(1)}, "zero_point must be"),
    (SCALED | {"zero_point": torch.zeros(2, dtype=torch.int32)}, "zero_point has 2 elements"),
    ({"zero_point": torch.zeros(1, dtype=torch.int32)}, "zero_point was given without scale"),
    ({"bounds": torch.zeros(3)}, "bounds has 3 elements; allowed is 2"),
    ({"bounds": torch.zeros(2).double()}, "bounds must be"),
    ({"storage": -1}, "storage is -1, which names no storage"),
    ({"storage": 99}, "storage is 99"),
    ({"storage": 2**40}, "storage is 1099511627776"),
    ({"storage": 10}, "x has a dtype that this storage cannot hold"),
    ({"batch_dim": 1}, "batch_dim is 1, x has 1 dimensions"),
    ({"batch_dim": -2}, "batch_dim is -2"),
    ({"channel_dim": 1}, "channel_dim is 1"),
    ({"channel_dim": -(2**40)}, "channel_dim is -1099511627776"),
    ({"channel_dim": 0, "batch_dim": 0}, "channel_dim is 0"),
]

ROWS: list[tuple[ErrorModel, dict[int, int], str]] = [
    (UNIFORM, {MODEL: 4}, "names no error model; allowed are 0 to 3 .*model 4"),
    (UNIFORM, {MODEL: -(2**63)}, "names no error model"),
    (UNIFORM, {CORRECTION: 3}, "names no correction; allowed are 0 to 2 .*correction 3"),
    (UNIFORM, {ADDRESS: 8}, "cuts an element .*address 8, .*bits of an element 32"),
    (UNIFORM, {ADDRESS: -32}, "lies beyond the last address"),
    (UNIFORM, {ADDRESS: 2**63 - 32}, "lies beyond the last address"),
    (UNIFORM, {END: 33}, "cuts an element"),
    (UNIFORM, {END: 0}, "is the last one and ends before the operand does .*bits of the operand 320"),
    (UNIFORM, {END: 288}, "ends before the operand does .*end 288"),
    (UNIFORM, {SPARSE: -1}, "has a sparse threshold beyond"),
    (UNIFORM, {SPARSE: 5}, "or a dense part before it is reached"),
    (LINES, {MODEL: 3, TABLE_LENGTH: 2**62}, "needs more of the table than there is"),
    (LINES, {TABLE_FIRST: -1}, "needs more of the table .*entries from -1"),
    (LINES, {TABLE_FIRST: 2}, "needs more of the table"),
    (LINES, {TABLE_FIRST: 2**63 - 1}, "needs more of the table"),
    (LINES, {TABLE_LENGTH: 7}, "not as many entries as its kind has .*entries 7"),
    (LINES, {TABLE_KIND: 2}, "not as many entries"),
    (LINES, {TABLE_KIND: 1, TABLE_LENGTH: 0}, "not as many entries"),
    (LINES, {ROW_BITS: 0}, "has rows or subarrays of a size .*row bits 0"),
    (LINES, {ROW_BITS: 100}, "has rows or subarrays"),
    (LINES, {SUBARRAY_ROWS: -32}, "has rows or subarrays .*subarray rows -32"),
    (LINES, {SUBARRAY_ROWS: 2**40}, "has rows or subarrays"),
    (MAP, {TABLE_LENGTH: -1}, "needs more of the table"),
    (MAP, {TABLE_LENGTH: 573}, "needs more of the table .*numbers in the table 572"),
]


def changed_row(errors: ErrorModel, fields: dict[int, int]) -> dict[str, Any]:
    given = operator_arguments(X.clone(), errors)
    for field, value in fields.items():
        given["region"][..., field] = value
    return given


def refused(name: str, given: dict[str, Any], message: str) -> None:
    reliable = X.clone()
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        OPERATORS[name](**given)
    assert torch.equal(X, reliable)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_called_directly_name_the_argument(name: str) -> None:
    for change, message in ARGUMENTS:
        refused(name, operator_arguments(X.clone(), UNIFORM) | change, message)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_called_directly_name_the_region_and_what_is_wrong_with_it(name: str) -> None:
    # Thrown as std::invalid_argument by the core, below torch.
    for errors, fields, message in ROWS:
        with pytest.raises(ValueError, match=f"region 0 .*{message}"):
            OPERATORS[name](**changed_row(errors, fields))
    with pytest.raises(ValueError, match=r"region 0 needs more of the table .*numbers in the table 0"):
        OPERATORS[name](**operator_arguments(X.clone(), LINES) | {"table": None})
    pieces = operator_arguments(X.clone(), [(UNIFORM, 0, 64), (None, 0, 64), (UNIFORM, 0, 192)])
    pieces["region"] = pieces["region"].clone()
    pieces["region"][1, END] = 32
    with pytest.raises(ValueError, match="region 1 ends before it begins"):
        OPERATORS[name](**pieces)


def test_a_refused_region_changes_nothing_and_the_next_read_is_right() -> None:
    expected = eden.corrupt(X, UNIFORM)
    x = X.clone()
    given = changed_row(UNIFORM, {ADDRESS: 8}) | {"x": x}
    with pytest.raises(ValueError, match="region 0"):
        torch.ops.eden.corrupt_(**given)
    assert torch.equal(x, X)
    assert torch.equal(eden.corrupt(x, UNIFORM).view(torch.int32), expected.view(torch.int32))
    leaf = X.clone().requires_grad_()  # by way of autograd
    with pytest.raises(ValueError, match="region 0 cuts an element"):
        torch.ops.eden.corrupt(**given | {"x": leaf})


def test_entries_of_a_map_that_are_out_of_order_do_no_harm() -> None:
    given = operator_arguments(torch.ones(100), MAP)
    for table in (given["table"].flip(0).contiguous(), -given["table"], torch.full_like(given["table"], -(2**63))):
        assert torch.ops.eden.corrupt(**given | {"table": table}).shape == (100,)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(9), "out must have the shape, dtype and device of x"),
        (torch.empty(10, dtype=torch.int32), "out must have the shape"),
        (meta((10,), torch.float32), "out is on meta"),
        (torch.empty(10).to_sparse(), "Sparse"),
        (torch.empty(1).expand(10), "has elements that share memory"),
    ],
    ids=["shape", "dtype", "device", "layout", "overlap"],
)
def test_a_bad_out_of_the_operator(out: Tensor, message: str) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        torch.ops.eden.corrupt_out(**operator_arguments(X, UNIFORM), out=out)


def test_access_numbers_that_are_none() -> None:
    for bad in (torch.tensor(1.0), torch.tensor(1, dtype=torch.int32), torch.tensor([1]).to_sparse()):
        with pytest.raises(RuntimeError, match="advance"):
            torch.ops.eden.advance_(bad)


INT8 = {"storage": "int8", "scale": 0.1}
BOUNDED = {"correction": "zero", "bounds": (-1.0, 1.0)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"x": X.to_mkldnn()}, TypeError, r"x has the layout torch\._mkldnn"),
        ({"x": torch.ones(3, 3).to_sparse_csr()}, TypeError, r"x has the layout torch\.sparse_csr"),
        ({"x": torch.nested.nested_tensor([X, X])}, TypeError, "x is a nested tensor"),
        ({"seed": meta()}, ValueError, "seed is on meta; allowed is the device of x, cpu"),
        ({"seed": torch.tensor([1]).to_sparse()}, TypeError, "seed has the layout"),
        ({"access": meta()}, ValueError, "access is on meta"),
        ({"access": 2**63}, ValueError, "access is 9223372036854775808"),
        ({"access": 2**54}, ValueError, r"access is 18014398509481984; allowed is 0 to 2\^54 - 1"),
        ({"out": X.to_sparse()}, TypeError, "out has the layout"),
        ({"out": torch.nested.nested_tensor([X, X])}, TypeError, "out is a nested tensor"),
        ({"out": meta((10,), torch.float32)}, ValueError, "out has shape .* device meta"),
        (INT8 | {"scale": torch.ones(1).to_sparse()}, TypeError, "scale has the layout"),
        (INT8 | {"scale": meta((1,), torch.float32)}, ValueError, "scale is on meta"),
        (INT8 | {"scale": float("nan")}, ValueError, "scale is nan"),
        (INT8 | {"scale": 1e39}, ValueError, "scale is 1e[+]39; allowed is 0 to 3.4"),
        (INT8 | {"scale": 10**400}, ValueError, "scale is 1000"),
        (INT8 | {"zero_point": meta((1,), torch.int32)}, ValueError, "zero_point is on meta"),
        (BOUNDED | {"bounds": torch.ones(2).to_sparse()}, TypeError, "bounds has the layout"),
        (BOUNDED | {"bounds": meta((2,), torch.float32)}, ValueError, "bounds is on meta"),
        (BOUNDED | {"bounds": (0, 10**400)}, ValueError, "bounds holds 1000"),
        (BOUNDED | {"bounds": (float("nan"), 1.0)}, ValueError, "bounds is"),
        ({"errors": eden.Uniform}, TypeError, "errors is a ABCMeta"),
        ({"errors": [(UNIFORM, 0, 2**70)]}, ValueError, r"address of pieces\[0\] is 0, of 1180591620717411303424 bits"),
        ({"errors": [("uniform", 0, 320)]}, TypeError, r"errors of pieces\[0\] is a str"),
    ],
)
def test_functions_name_the_argument(options: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"x": X.clone(), "errors": UNIFORM} | options
    with pytest.raises(error, match=message):
        eden.corrupt(**given)
    if "out" not in given:
        with pytest.raises(error, match=message):
            eden.corrupt_(**given)


def test_a_device_without_operators_is_named() -> None:
    with torch._subclasses.FakeTensorMode():
        x = torch.empty(3, device="xpu")
        with pytest.raises(TypeError, match="x is on xpu:0; allowed are cpu and cuda"):
            eden.corrupt(x, UNIFORM)
