"""Linear layers whose weight is sparse: memory holds its values, and the indices that say where they belong.

A flipped index is what its bits say: another feature, or another row's connections. One that names what is not there is
implausible, as a value out of its range is, and is corrected likewise; so no read goes beyond an operand.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eden.common.torch_internals import autocasts, outside_of_graphs
from eden.faults.layers.registry import BIAS, Role, layer, present

_TILE = 256
"""Samples that are multiplied together: their features stay in a core's cache while all rows use them."""


class SparseLinear(nn.Module):
    """A linear layer of a weight in compressed sparse rows (CSR): ``x @ weight.T + bias``.

    Its operands under faults are ``values``, ``columns`` and ``rows``, beside ``input``. Of indices memory keeps int32,
    whatever the storage of the values. ``Faults.correction`` holds for an index, too, which is implausible where it
    names no feature, or bounds a row outside of the values or longer than the longest row: "clamp" takes the nearest
    that is plausible; "zero" leaves the connection, or the row's connections, out, and so does "none", since nothing is
    there to be read.

    Args:
        weight: float32, float16 or bfloat16 of shape (out_features, in_features) and the layout torch.sparse_csr, of
            one connection or more; others are made into one by ``to_sparse_csr()``. It is copied.
        bias: of shape (out_features,), or None. It is copied.

    Attributes:
        values: Parameter of the weight's dtype and shape (connections,), row after row.
        columns: int32 buffer of the same shape, which feature each connection reads.
        rows: int32 buffer of shape (out_features + 1,), where each row begins, and where the last one ends.
        bias: Parameter, or None.

    Raises:
        TypeError: for a weight of another type, layout or dtype.
        ValueError: for a weight of another number of dimensions, without connections, or whose indices are not those of
            CSR (columns in ascending order in each row, each once), or a bias of another shape.
    """

    values: nn.Parameter
    columns: Tensor
    rows: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        if not isinstance(weight, Tensor) or weight.layout is not torch.sparse_csr:
            found = f"of the layout {weight.layout}" if isinstance(weight, Tensor) else f"a {type(weight).__name__}"
            raise TypeError(f"weight is {found}; allowed is torch.sparse_csr: weight.to_sparse_csr() makes one")
        if weight.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise TypeError(f"weight is {weight.dtype}; allowed are torch.float32, torch.float16 and torch.bfloat16")
        indices, values = (weight.crow_indices(), weight.col_indices()), weight.values()
        if weight.dim() != 2 or values.dim() != 1 or not 0 < values.numel() < 2**31 or max(weight.shape) >= 2**31:
            raise ValueError(
                f"weight has the shape {tuple(weight.shape)} and {values.numel()} connections; allowed are two "
                "dimensions and 1 to 2^31 - 1 connections"
            )
        try:
            torch.sparse_csr_tensor(*indices, values.detach(), weight.shape, check_invariants=True)
        except RuntimeError as error:
            raise ValueError(f"weight is no matrix in compressed rows: {str(error).splitlines()[0]}") from error
        if bias is not None and (not isinstance(bias, Tensor) or bias.shape != weight.shape[:1]):
            kind = str(tuple(bias.shape)) if isinstance(bias, Tensor) else type(bias).__name__
            raise ValueError(f"bias is {kind}; allowed is a tensor of the shape ({weight.shape[0]},), or None")
        self.out_features, self.in_features = weight.shape
        self.values = nn.Parameter(values.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.register_buffer("columns", indices[1].to(torch.int32, copy=True))
        self.register_buffer("rows", indices[0].to(torch.int32, copy=True))

    @property
    def weight(self) -> Tensor:
        """The weight, of the layout torch.sparse_csr, int32 indices and the gradient of ``values``."""
        shape = self.out_features, self.in_features
        return torch.sparse_csr_tensor(self.rows, self.columns, self.values, shape, check_invariants=False)

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output.

        Args:
            input: of shape (..., in_features) and the dtype of ``values``.

        Returns:
            Of shape (..., out_features); a batch of two dimensions lies feature by feature, as such layers read it.

        Raises:
            ValueError: for another number of features, or indices that are not those of such a layer.
        """
        self.check_indices()
        return _multiply(self, input, self.values, self.columns, self.rows, self.bias)

    def check_indices(self) -> None:
        """Raise ValueError, naming it, for indices that somebody exchanged for ones that fit no such layer."""
        connections = self.values.numel()
        for name, size in (("columns", (connections,)), ("rows", (self.out_features + 1,))):
            held = getattr(self, name)
            if held.dtype != torch.int32 or held.shape != size:
                raise ValueError(
                    f"{name} is {held.dtype} of the shape {tuple(held.shape)}; allowed is torch.int32 of {size}"
                )
        if self.values.is_meta:
            return
        low, high = (int(end) for end in torch.aminmax(self.columns))
        if low < 0 or high >= self.in_features:
            raise ValueError(f"columns are {low} to {high}; allowed are 0 to {self.in_features - 1}")
        first, last, shortest = int(self.rows[0]), int(self.rows[-1]), int(self.rows.diff().min())
        if first != 0 or last != connections or shortest < 0:
            raise ValueError(
                f"rows begin at {first}, end at {last} and have {shortest} connections or more; allowed are 0, "
                f"{connections} and 0 or more"
            )

    def extra_repr(self) -> str:
        """Sizes, as nn.Linear shows them."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, connections={self.values.numel()}, bias={self.bias is not None}"


def _sparse_roles(layer: Any) -> list[Role]:
    indices = [Role(name, "weight", indices=True) for name in ("columns", "rows")]
    return [Role("values", "weight"), *indices, Role("input", "input"), *present(layer, BIAS)]


@layer(SparseLinear, roles=_sparse_roles, generation=3)
def _sparse(layer: Any, input: Tensor) -> Tensor:
    values, columns, rows = (layer.eden_read(name, getattr(layer, name)) for name in ("values", "columns", "rows"))
    x = layer.eden_read("input", input)
    return _multiply(layer, x, values, columns, rows, layer.eden_read("bias", layer.bias))


# What indices say decides how much is multiplied: no graph of a compiler holds that.
@outside_of_graphs
def _multiply(
    layer: SparseLinear, x: Tensor, values: Tensor, columns: Tensor, rows: Tensor, bias: Tensor | None
) -> Tensor:
    """The layer's output from what was read of it."""
    if x.dim() == 0 or x.shape[-1] != layer.in_features:
        raise ValueError(f"input has the shape {tuple(x.shape)}; allowed is (..., {layer.in_features})")
    if autocasts():
        x = x.to(values.dtype)
    if x.numel() == 0:
        return x[..., :1].expand(*x.shape[:-1], layer.out_features)
    batch = x.reshape(-1, layer.in_features).t()
    values, columns, rows = _plausible(layer, values, columns, rows, batch)
    tiles = []
    for tile in torch.split(batch, _TILE, 1):
        # A bag for each row is its product, by a kernel several times as fast as that of torch.sparse.
        product = F.embedding_bag(
            columns, tile.contiguous(), rows, mode="sum", per_sample_weights=values, include_last_offset=True
        )
        tiles.append(product if bias is None else product.add_(bias[:, None]))
    output = tiles[0] if len(tiles) == 1 else torch.cat(tiles, 1)
    return output.t().reshape(*x.shape[:-1], layer.out_features)


def _plausible(
    layer: SparseLinear, values: Tensor, columns: Tensor, rows: Tensor, features: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The connections that indices as read from memory give: their values, columns, and where rows begin and end."""
    if not torch.equal(rows, layer.rows):
        count, longest = columns.numel(), int(layer.rows.diff().max())
        begin, end = rows[:-1].long(), rows[1:].long()
        if _clamps(layer, "rows"):
            begin, end = begin.clamp(0, count), end.clamp(0, count)
            end = torch.minimum(end, begin + longest)
        inside = (begin >= 0) & (begin <= end) & (end <= count) & (end - begin <= longest)
        taken = torch.where(inside, end - begin, 0)
        entries = torch.arange(int(taken.sum()), device=rows.device)
        entries += torch.repeat_interleave(begin - taken.cumsum(0) + taken, taken)
        values, columns, rows = values[entries], columns[entries], F.pad(taken.cumsum(0), (1, 0)).int()
    nearest = columns.clamp(0, layer.in_features - 1)
    if torch.equal(nearest, columns) or _clamps(layer, "columns"):
        return values, nearest, rows
    outside = nearest != columns
    if bool(features[[0, -1]].isfinite().all()):  # times 0 they are 0, as what is left out is
        return values.masked_fill(outside, 0.0), nearest, rows
    rows = F.pad((~outside).cumsum(0), (1, 0))[rows.long()].int()
    return values[~outside], columns[~outside], rows


def _clamps(layer: Any, role: str) -> bool:
    operand = layer.eden_faults.by_role.get(role) if hasattr(layer, "eden_faults") else None
    return operand is not None and operand.correction == "clamp"
