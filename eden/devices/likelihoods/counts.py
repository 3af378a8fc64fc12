"""What was counted at one operating point: cells that failed, of how many, in how many reads, along which lines."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eden import _core

Axis = Literal["bitline", "wordline"]
StoredValue = Literal["zero", "one", "both"]


def _whole_numbers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is of the type {array.dtype}; allowed are whole numbers")
    if array.ndim != 1:
        raise ValueError(f"{name} has the shape {array.shape}; allowed is one dimension")
    return np.ascontiguousarray(array, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Lines:
    """The cells of every line along one axis, lines without errors included.

    Args:
        cells: int64, one-dimensional: the number of cells of each line; or one int for all.
        failed: int64, one-dimensional: how many of them failed in one read or more.

    Raises:
        TypeError, ValueError: naming the argument, the line, what was found and what is allowed.

    """

    cells: NDArray[np.int64]
    failed: NDArray[np.int64]

    def __post_init__(self) -> None:
        failed = _whole_numbers("failed", self.failed)
        if failed.size == 0:
            raise ValueError("failed holds no lines; allowed is one or more")
        cells = np.asarray(self.cells)
        cells = _whole_numbers("cells", np.full(failed.shape, cells) if cells.ndim == 0 else cells)
        if cells.shape != failed.shape:
            raise ValueError(f"cells has the shape {cells.shape}; allowed is that of failed, {failed.shape}")
        wrong = (cells <= 0) | (failed < 0) | (failed > cells)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"line {i}: {failed[i]} of {cells[i]} cells failed; allowed is 0 to the number of cells")
        for name, array in (("cells", cells), ("failed", failed)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @functools.cached_property
    def likelihood(self) -> _core.LineLikelihood:
        """The likelihood of these lines, which sorts them once."""
        return _core.LineLikelihood(self.cells, self.failed)


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted at one operating point while the cells stored one value.

    Make one with ``of_total``, ``of_lines`` or ``of_cells``.

    Attributes:
        cells: cells that were read.
        failed: those that failed in one read or more.
        reads: reads of each cell.
        failures: reads that failed, of all cells.
        histogram: int64, reads + 1 numbers: the cells that failed in 0, 1, ... of their reads; None for one read.
        bitlines, wordlines: the same cells along lines, if they were counted so.

    """

    cells: int
    failed: int
    reads: int = 1
    failures: int = 0
    histogram: NDArray[np.int64] | None = None
    bitlines: Lines | None = None
    wordlines: Lines | None = None

    @classmethod
    def of_total(cls, errors: int, cells: int) -> Counts:
        """Errors of one read of a number of cells. Raises ValueError unless they are 0 to that number."""
        if not 0 <= errors <= cells or cells < 1:
            raise ValueError(f"errors is {errors}; allowed is 0 to cells ({cells}), which are 1 or more")
        return cls(int(cells), int(errors), failures=int(errors))

    @classmethod
    def of_lines(cls, *, bitlines: Lines | None = None, wordlines: Lines | None = None) -> Counts:
        """Errors of one read, counted along bitlines, wordlines or both.

        Raises:
            ValueError: if neither is given, or if both do not hold the same cells and errors.

        """
        axis = bitlines or wordlines
        if axis is None:
            raise ValueError("neither bitlines nor wordlines are given; allowed is one or both")
        cells, failed = int(axis.cells.sum()), int(axis.failed.sum())
        counts = cls(cells, failed, failures=failed, bitlines=bitlines, wordlines=wordlines)
        counts._check_lines()
        return counts

    @classmethod
    def of_cells(cls, histogram: ArrayLike, *, bitlines: Lines | None = None, wordlines: Lines | None = None) -> Counts:
        """Cells that were each read n times.

        Args:
            histogram: whole numbers, one-dimensional of n + 1: the cells that failed in k = 0, 1, ..., n reads.
            bitlines: the cells of each bitline that failed in one read or more, if counted.
            wordlines: likewise.

        Raises:
            TypeError, ValueError: naming the argument, what was found and what is allowed.

        """
        cells = _whole_numbers("histogram", histogram)
        if cells.size < 2 or (cells < 0).any() or cells.sum() == 0:
            raise ValueError(
                f"histogram is {cells.tolist()}; allowed are the cells that failed in 0, 1, ... reads, at least two "
                "numbers, none below 0 and not all 0"
            )
        counts = cls(
            cells=int(cells.sum()),
            failed=int(cells[1:].sum()),
            reads=cells.size - 1,
            failures=int((cells * np.arange(cells.size)).sum()),
            histogram=cells,
            bitlines=bitlines,
            wordlines=wordlines,
        )
        counts._check_lines()
        return counts

    def _check_lines(self) -> None:
        for name, lines in (("bitlines", self.bitlines), ("wordlines", self.wordlines)):
            if lines is None:
                continue
            cells, failed = int(lines.cells.sum()), int(lines.failed.sum())
            if (cells, failed) != (self.cells, self.failed):
                raise ValueError(
                    f"{name}: {failed} of {cells} cells failed; allowed is the number of all, {self.failed} of "
                    f"{self.cells}"
                )

    def along(self, axis: Axis) -> Lines | None:
        """The lines of an axis, if they were counted."""
        return self.bitlines if axis == "bitline" else self.wordlines
