"""What a case is: a piece of other people's torch code around a network under faults, and what has to come of it."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Refused:
    """What came of a case that is no use: which call refuses it, and in what words."""

    call: str
    message: str

    def __str__(self) -> str:
        return f"refused at `{self.call}`: {self.message}"


@dataclasses.dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        group: heading that it stands under.
        name: the function's.
        what: its docstring.
        libraries: packages that it needs beside torch.
        run: does it; returns None where all is right, or what refused it.
    """

    group: str
    name: str
    what: str
    libraries: tuple[str, ...]
    run: Callable[[], Refused | None]

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that it needs and that are not installed."""
        return tuple(name for name in self.libraries if importlib.util.find_spec(name) is None)

    def outcome(self) -> str:
        """What came of it, in a row of the table."""
        found = self.run()
        return "right" if found is None else str(found)


CASES: list[Case] = []


def case(group: str, *libraries: str) -> Callable[[Callable[[], Refused | None]], Callable[[], Refused | None]]:
    """Register a case, told by its docstring."""

    def register(run: Callable[[], Refused | None]) -> Callable[[], Refused | None]:
        CASES.append(Case(group, run.__name__, " ".join((run.__doc__ or "").split()).rstrip("."), libraries, run))
        return run

    return register


def refused(call: str, kind: type[Exception], function: Callable[[], object], *names: str) -> Refused:
    """What refuses a case: the exception of a function, which has to name certain things."""
    try:
        function()
    except kind as error:
        message = str(error).strip()
    else:
        raise AssertionError(f"{call} refuses nothing")
    for name in names:
        assert name in message, f"{name!r} is not in {message!r}"
    return Refused(call, message)
