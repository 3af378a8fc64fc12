"""What a result was made from, by SHA-256, and the check that results belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic

from eden.common.files import Record, VersionedFile

_Whole = Annotated[int, pydantic.Field(ge=0)]
Sha256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]

COMPARED = ("device", "network", "data", "tolerance", "placement", "memory")
"""What results that belong together have in common. They may be counted for different platforms, traffics and so on."""

SHOWN = 12
"""Digits of a SHA-256 that messages and pages show."""


class DrawnChips(Record):
    """Chips that a step has seen: ``eden.faults.chips.draw_chip(seed, purpose, k)`` for ``count`` values of k."""

    purpose: Literal["training", "search", "confirmation", "steering", "verification", "evaluation", "curves"]
    """Chips of different purposes differ, whatever their seeds are."""
    seed: int
    """What they are drawn from."""
    first: _Whole
    """The first k."""
    count: _Whole
    """How many follow one another."""


class Provenance(Record):
    """What a result was made from, and how."""

    of: dict[str, Sha256]
    """By what it is, its SHA-256: "device", "tolerance" and other results by their content; "network" by its weights
    and by how memory keeps its operands; "reference" likewise; "data" by its samples; "memory" by the cells and errors
    of each operand; "package" by its file. What those were made from is among it."""
    chips: tuple[DrawnChips, ...] = ()
    """All that were seen."""
    settings: dict[str, Any] = pydantic.Field(default_factory=dict)
    """What was asked for, beside what the result itself says."""
    eden_version: str
    """Version of EDEN that made it."""
    random_layout: int
    """Version of the layout of random numbers; another one's chips are other chips."""

    @classmethod
    def made(cls, *parents: Provenance | None, chips: tuple[DrawnChips, ...] = (), **of: Any) -> Provenance:
        """That of a result made now.

        Args:
            parents: of what it was made from.
            chips: those that were seen.
            of: what it was made from, as digests or as results; what is None is left out. ``settings`` are settings.
        """
        import importlib.metadata

        from eden import _core

        settings = json.loads(json.dumps(of.pop("settings", {})))  # as a file has them
        known = {role: digest for parent in parents if parent is not None for role, digest in parent.of.items()}
        for role, one in of.items():
            if not (one is None or isinstance(one, (str, VersionedFile))):
                raise TypeError(f"{role} is a {type(one).__name__}; allowed is a digest, a result, or None")
        known |= {role: digest_of(one) for role, one in of.items() if one is not None}
        return cls(
            of=known,
            chips=chips,
            settings=settings,
            eden_version=importlib.metadata.version("eden-dram"),
            random_layout=_core.RANDOM_LAYOUT_VERSION,
        )

    def without(self, role: str) -> Provenance:
        """The same, one role left out."""
        return self.model_copy(update={"of": {name: digest for name, digest in self.of.items() if name != role}})


class Result(VersionedFile):
    """A file that says what it was made from."""

    provenance: Provenance | None = None
    """None in files of before it was kept: then nothing is known of what it was made from."""

    def made_from(self, **of: Any) -> Self:
        """The same, said to be made from more, which are given as to ``Provenance.made``."""
        before = self.provenance
        kept = {} if before is None else {"chips": before.chips, "settings": before.settings}
        return self.model_copy(update={"provenance": Provenance.made(before, **{**kept, **of})})

    def check_made_from(self, what: str, **of: Any) -> None:
        """Refuse a result of something else.

        Args:
            what: names the result, such as "placement".
            of: what it is to have been made from, as digests or as results. What is not known is not compared.

        Raises:
            ValueError: naming the first that differs.
        """
        known = {} if self.provenance is None else self.provenance.of
        for role, one in of.items():
            found, here = known.get(role), digest_of(one)
            if found is not None and found != here:
                raise ValueError(
                    f"the {what} was made from another {role}: SHA-256 {found[:SHOWN]}... there, {here[:SHOWN]}... "
                    f"here; allowed is what was made from this {role}"
                )


def digest_of(one: str | VersionedFile) -> str:
    """SHA-256 of a result's content, or the digest itself."""
    if isinstance(one, str):
        return one
    body = {"format": one.FORMAT, "version": one.VERSION, **one.model_dump(mode="json", by_alias=True)}
    return digest_of_json(body)


def digest_of_json(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_together(parts: Mapping[str, VersionedFile]) -> None:
    """Refuse results that do not belong together; a name is the role that others have it by.

    Raises:
        ValueError: naming two of them and what differs.
    """
    made = {name: _by_role(part.provenance if isinstance(part, Result) else None) for name, part in parts.items()}
    # One whose limits were lowered goes by the one that was found, too.
    known = {
        name: (made[name].pop(name, frozenset()) | {digest_of(part)}, "the one given") for name, part in parts.items()
    }
    for name, roles in made.items():
        for role, digests in roles.items():
            there, whose = known.get(role, (digests, f"that of the {name}"))
            if not there & digests:
                raise ValueError(
                    f"the {name} was made from another {role} (SHA-256 {min(digests)[:SHOWN]}...) than {whose} "
                    f"({min(there)[:SHOWN]}...); allowed are results that belong together"
                )
            known[role] = there & digests, whose


def _by_role(provenance: Provenance | None) -> dict[str, frozenset[str]]:
    """The digests of each role; of several networks, such as "network baseline", one is to be the others'."""
    found: dict[str, frozenset[str]] = {}
    for role, digest in {}.items() if provenance is None else provenance.of.items():
        kind = role.partition(" ")[0]
        if kind in COMPARED:
            found[kind] = found.get(kind, frozenset()) | {digest}
    return found
