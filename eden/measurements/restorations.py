"""What the name of a file of PaCRAM's tests says: the tRAS of its restorations, which the file does not state."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from eden.common.files import FileError
from eden.measurements.campaign import Condition

_NAME = re.compile(r"tras_(\d+(?:\.\d+)?)-(\d+)\.ber(?:\.[a-z0-9]+)?\Z")


def named_condition(path: Path, at: Condition) -> tuple[Condition, list[str]]:
    """The condition with the tRAS that a file's name has, ``tras_27-1.ber`` for 27 ns and one restoration, and notes.

    Raises:
        FileError: where ``at`` has another tRAS.

    """
    found = _NAME.match(path.name)
    if found is None:
        missing = "its name tells no tRAS (tras_27-1.ber tells 27 ns): give it, as tras of at"
        return at, [] if at.tras is not None else [missing]
    tras, restorations = float(found[1]), int(found[2])
    if tras <= 0.0 or (at.tras is not None and at.tras != tras):
        given = "above 0" if tras <= 0.0 else f"{at.tras:g} ns, as at says"
        raise FileError(path, f"its name tells a tRAS of {tras:g} ns; allowed is {given}")
    several = "" if restorations == 1 else "s"
    note = f"tRAS {tras:g} ns, as its name tells, in {restorations} restoration{several} before the test"
    return dataclasses.replace(at, tras=tras), [note]
