"""The file of what a run of the whole chain found, round by round."""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic

from eden.common.files import Record
from eden.common.provenance import Result
from eden.common.tables import text_table


class Round(Record):
    """What one round found."""

    number: int = pydantic.Field(ge=1)
    """Counted from 1."""
    coarse: float
    """Bit error rate that the whole network tolerates."""
    own_accuracy: float
    """On reliable memory."""
    attempts: int = pydantic.Field(ge=1)
    """Placements that were tried: after one that is not certified, limits are halved."""
    limits_factor: float
    """What the limits of the last one were multiplied with."""
    planes: bool = False
    """Whether operands lay in planes of their bits."""
    certified: bool
    """Whether the last placement that was tried was certified."""
    mean_drop: float | None
    """Observed on the chips of the certificate, from the reference's accuracy on reliable memory."""
    upper_bound: float | None
    """Confidence bound on that."""
    objective: float | None
    """Of the placement that is certified, 1 within specification."""
    energy_reduction: float | None
    """Share of the DRAM's energy that the certified placement saves, at typical assumptions."""
    speedup: float | None
    """Time of an inference within specification over that as placed, less 1."""


class OnTestSet(Record):
    """How the network that was taken does on samples that no step before saw."""

    samples: int = pydantic.Field(ge=1)
    """Samples of the set."""
    reference_accuracy: float
    """Of the reference, on reliable memory."""
    accuracy: float
    """As placed, mean over the chips of ``Rounds.accuracy``."""
    worst: float
    """On the worst of them."""


class Rounds(Result):
    """What a run found, round by round. Saved and loaded as JSON."""

    FORMAT: ClassVar[str] = "eden-rounds"
    VERSION: ClassVar[int] = 1

    task: str
    """Name of the task."""
    device: str
    """Name of the device."""
    objective: str
    """What was lowered: "energy", "latency" or "weighted", at ``platform``."""
    platform: str
    """Name of the platform."""
    max_drop: float
    """Accuracy that may be lost."""
    confidence: float
    """With which the drop of the round that was taken is at most ``max_drop``, all attempts together."""
    reference: str
    """From whose accuracy the drop is counted."""
    reference_accuracy: float
    """Its accuracy on reliable memory."""
    taken: int = pydantic.Field(ge=1)
    """The round whose placement has the lowest objective of those certified."""
    why: str
    """Why there were no more rounds."""
    network: Literal["boosted", "baseline"] = "boosted"
    """What the round that was taken starts from: the boosted network, or the one before boosting."""
    network_why: str = ""
    """Why that one; empty where drops do not count from the network before boosting."""
    accuracy: float
    """As placed, mean over chips used by nothing else."""
    worst: float
    """On the worst of them."""
    chips: int = pydantic.Field(ge=1)
    """Chips that ``accuracy`` is a mean over."""
    rounds: tuple[Round, ...] = pydantic.Field(min_length=1)
    """What each round found."""
    test: OnTestSet | None = None
    """On the task's test set, None where it has none."""

    def table(self) -> str:
        """The rounds as text."""
        header = ("round", "coarse BER", "on reliable memory", "certified", "mean drop", "objective")
        rows = []
        for one in self.rounds:
            cells = [f"{one.number}", f"{one.coarse:.2e}", f"{one.own_accuracy:.2%}", "yes" if one.certified else "no"]
            cells += ["" if value is None else f"{value:.4f}" for value in (one.mean_drop, one.objective)]
            cells += ["" if value is None else f"{value:z.2%}" for value in (one.energy_reduction, one.speedup)]
            rows.append(cells)
        table = text_table((*header, "energy saved", "speedup"), rows)
        told = f"{table}\ntaken: round {self.taken}; {self.why}"
        if any(one.planes for one in self.rounds):
            paid = any(one.planes for one in self.rounds if one.number == self.taken)
            told += f"; planes of bits {'paid' if paid else 'did not pay: words are whole'}"
        if self.network == "baseline":
            told += f"\nplaced is the network before boosting: {self.network_why}"
        return told
