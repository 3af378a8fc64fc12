"""Write the schemas that ship with the package, from the definitions of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic

from eden.accounting.account import Account, Pareto
from eden.accounting.savings import Savings
from eden.app.recipe import RetrainRecipe
from eden.app.run import Rounds, RunRecipe
from eden.common.files import VersionedFile, write_text
from eden.costs.energy import RankPower
from eden.costs.platforms import Platform
from eden.costs.traffic import Traffic
from eden.devices.device import Device
from eden.placement.memory_map import MemoryMap
from eden.placement.place import Placement
from eden.reporting.page import AccuracyCurves
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification

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
