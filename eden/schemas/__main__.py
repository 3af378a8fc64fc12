"""Write the schemas that ship with the package, from the definitions of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic

from eden.accounting import Savings
from eden.accounts import Account, Pareto
from eden.device import Device
from eden.energy import RankPower
from eden.files import VersionedFile, write_text
from eden.memory_maps import MemoryMap
from eden.movement import Traffic
from eden.placement import Placement
from eden.platforms import Platform
from eden.recipe import RetrainRecipe
from eden.reporting import AccuracyCurves
from eden.run import Rounds, RunRecipe
from eden.tolerance import Tolerance
from eden.verification import Verification

KINDS: tuple[type[VersionedFile], ...] = (
    *(Account, AccuracyCurves, Device, MemoryMap, Pareto, Placement, Platform, RankPower, RetrainRecipe, Rounds),
    *(RunRecipe, Savings, Tolerance, Traffic, Verification),
)
"""The files that have a schema."""


def texts() -> dict[str, str]:
    """The schemas by the names of their files. Which pydantic worded one is said, since another may do so otherwise."""
    comment = {"$comment": f"worded by pydantic {'.'.join(pydantic.VERSION.split('.')[:2])}"}
    return {
        f"{kind.FORMAT.removeprefix('eden-')}.json": json.dumps(comment | kind.json_schema(), indent=2) + "\n"
        for kind in KINDS
    }


def main() -> None:
    """Write every schema beside this module."""
    for name, text in texts().items():
        write_text(Path(__file__).with_name(name), text)


if __name__ == "__main__":
    main()
