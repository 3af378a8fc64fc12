"""What memory holds of a feature map that functions get in another arrangement.

Heads of keys and values that are repeated for the queries of a group lie in memory once; keys that are transposed for a
product, and texts whose tokens are folded into one dimension for it, lie there as they were made. Only a function mode
sees that: a tensor does not tell what it was made from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_Again = Callable[[Tensor], Tensor]

_Functions = frozenset[Callable[..., Any]]
_TRANSPOSE: _Functions = frozenset(
    [torch.transpose, torch.swapaxes, torch.swapdims, Tensor.transpose, Tensor.swapaxes, Tensor.swapdims]
)
_PERMUTE: _Functions = frozenset([torch.permute, Tensor.permute])
_REPEAT: _Functions = frozenset([torch.repeat_interleave, Tensor.repeat_interleave])
_WIDEN: _Functions = frozenset([torch.unsqueeze, Tensor.unsqueeze])
_EXPAND: _Functions = frozenset([torch.broadcast_to, Tensor.broadcast_to, Tensor.expand, Tensor.expand_as])
_RESHAPE: _Functions = frozenset([torch.reshape, torch.flatten, Tensor.reshape, Tensor.view, Tensor.flatten])


class Arranged:
    """Follows, in one call of a module, which tensors are others in another arrangement."""

    def __init__(self) -> None:
        self._wide: list[tuple[Tensor, Tensor, _Again]] = []  # with dimensions of one entry, perhaps expanded
        self._repeated: list[tuple[Tensor, Tensor, _Again]] = []
        self._turned: list[tuple[Tensor, Tensor, _Again]] = []
        self._folded: list[tuple[Tensor, Tensor, _Again]] = []

    def note(self, function: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        """A function was called, and this is what it gave."""
        if not args or not isinstance(args[0], Tensor) or not isinstance(result, Tensor):
            return
        x, rest = args[0], args[1:]

        def again(y: Tensor) -> Tensor:
            made: Tensor = function(y, *rest, **kwargs)
            return made

        if _turns(function, x, rest, kwargs):
            self._turned.append((result, x, again))
        elif function in _REPEAT:
            self._repeated.append((result, x, again))
        elif function in _WIDEN or (function is Tensor.__getitem__ and _widens(rest[0])):
            self._wide.append((result, x, again))
        elif function in _EXPAND:
            held, before = _found(x, self._wide)
            if held is not x:
                self._wide.append((result, held, lambda y: again(before(y))))
        elif function in _RESHAPE:
            held, before = _found(x, self._wide)
            if held is not x and result.dim() == held.dim() and result.numel() > held.numel():
                self._repeated.append((result, held, lambda y: again(before(y))))
            elif _folds(x, result):
                self._folded.append((result, x, again))

    def source(self, x: Tensor, turned: bool = True) -> tuple[Tensor, _Again]:
        """What memory holds of a tensor, and how the tensor is made of it.

        Args:
            x: as a function gets it.
            turned: whether the last two dimensions of what memory holds may be exchanged in it.
        """
        x, turn = _found(x, self._turned) if turned else (x, _as_it_is)
        x, fold = _found(x, self._folded)
        x, repeat = _found(x, self._repeated)
        return x, lambda y: turn(fold(repeat(y)))


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _found(x: Tensor, made: list[tuple[Tensor, Tensor, _Again]]) -> tuple[Tensor, _Again]:
    for result, held, again in made:
        if result is x:
            return held, again
    return x, _as_it_is


def _folds(x: Tensor, result: Tensor) -> bool:
    """Whether rows or matrices of a tensor were folded into fewer dimensions, with their order."""
    kept = 1 if result.dim() == 2 else 2
    return result.dim() < x.dim() and result.shape[-kept:] == x.shape[-kept:]


def _turns(function: Any, x: Tensor, rest: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a function exchanges the last two dimensions of a tensor."""
    if x.dim() < 3:
        return False
    if function == Tensor.mT.__get__:  # type: ignore[attr-defined]
        return True
    if function in _PERMUTE:
        dims = rest[0] if len(rest) == 1 else rest or kwargs.get("dims", ())
        order = [dim % x.dim() for dim in dims]
        return order == [*range(x.dim() - 2), x.dim() - 1, x.dim() - 2]
    if function not in _TRANSPOSE:
        return False
    dims = (*rest, *kwargs.values())
    return {dim % x.dim() for dim in dims} == {x.dim() - 2, x.dim() - 1}


def _widens(index: Any) -> bool:
    """Whether an index gives the whole tensor with more dimensions."""
    index = index if isinstance(index, tuple) else (index,)
    kinds = {type(each) for each in index}
    whole = all(each == slice(None) for each in index if isinstance(each, slice))
    return whole and type(None) in kinds and kinds <= {type(None), type(Ellipsis), slice}
