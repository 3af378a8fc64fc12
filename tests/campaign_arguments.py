"""What a test says of a campaign by name, as the arguments that ``fit`` and ``readers.read`` take it in."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from eden.measurements.campaign import POINT_FIELDS, Condition
from eden.measurements.tested import Tested

TESTED = tuple(entry.name for entry in fields(Tested))


def grouped(given: Mapping[str, Any]) -> dict[str, Any]:
    """``trcd`` and the like are of the nominal point; ``at`` is a mapping, and ``pattern`` belongs to it."""
    rest = dict(given)
    at, pattern = rest.pop("at", None) or {}, rest.pop("pattern", None)
    if at or pattern:
        rest["at"] = replace(Condition.of(at), pattern=pattern)
    for argument, kind, names in (("tested", Tested, TESTED), ("nominal", Condition, POINT_FIELDS)):
        own = {name: rest.pop(name) for name in names if name in rest}
        if own:
            rest[argument] = kind(**own)
    return rest
