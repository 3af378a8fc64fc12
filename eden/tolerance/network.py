"""A network under faults as what a search asks: searched, or tested as it is placed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

from torch import nn

from eden import _core
from eden.faults.borrow import borrowed
from eden.faults.calibration import ranges
from eden.faults.chips import set_chip_
from eden.faults.digests import SamplesDigest, described, memory_digest, network_digest
from eden.faults.faulty_layers import faulty_layers
from eden.faults.forward import ForwardFn, TargetFn
from eden.faults.memories import OperandInfo, operands, scalable_errors, set_scaled_errors_
from eden.faults.metrics import Metric
from eden.faults.network import model_device
from eden.faults.reads import Reads
from eden.faults.reliable import clean
from eden.faults.samples import Samples
from eden.faults.scorer import CorpusMetric, Scorer, Scores, pairs_of
from eden.tolerance.question import Searched
from eden.tolerance.reuse import Reuse
from eden.tolerance.tolerance import FLOOR


def check_searchable(infos: Mapping[str, OperandInfo], model: nn.Module) -> dict[str, OperandInfo]:
    """Those of a network's operands that have errors.

    Raises:
        ValueError: if there are none, or the size or the rates of one of them are not known or too low.
    """
    if any(layer.eden_faults.reliable for layer in faulty_layers(model).values()):
        raise ValueError("the network is on reliable memory; profile it outside of eden.clean")
    errors = scalable_errors(model)
    searched = {name: info for name, info in infos.items() if name in errors}
    if not searched:
        raise ValueError(f"none of the {len(infos)} operands has an error model; set one with eden.set_errors_")
    unknown = [name for name, info in searched.items() if info.bytes is None]
    if unknown:
        raise ValueError(f"the size of {', '.join(unknown)} is not known; call eden.calibrate_ first")
    for name, one in errors.items():
        if one.highest_ber < FLOOR:
            raise ValueError(f"operand {name!r}: its highest BER is {one.highest_ber}; allowed is {FLOOR} or more")
    return searched


def weights_of(weigh: Any, searched: Mapping[str, OperandInfo], moved: Mapping[str, float]) -> dict[str, float]:
    """What a factor in each operand's rate is worth (``Search.weigh``); ``moved`` are bytes by inference."""
    if weigh == "bytes":
        return {name: float(info.bytes or 0) for name, info in searched.items()}
    if weigh == "energy":
        return {name: moved[name] for name in searched}
    for name in searched.keys() ^ weigh.keys():
        if name in searched:
            raise ValueError(f"weigh lacks operand {name!r}; allowed is a number for each of {len(searched)} operands")
        raise ValueError(f"weigh names {name!r}, which is no operand with an error model")
    return {name: float(weigh[name]) for name in searched}


def moved_bytes(infos: Mapping[str, OperandInfo]) -> dict[str, float]:
    """Bytes that an inference moves for each operand between processor and DRAM, as a CPU does."""
    from eden.costs.count_traffic import traffic

    return {name: moved.read_bytes + moved.written_bytes for name, moved in traffic(infos).operands.items()}


def check_reference(reference: nn.Module | None) -> None:
    """Raise ValueError for a network from which drops cannot be counted, since nothing of it is read from memory."""
    if reference is not None and not faulty_layers(reference):
        raise ValueError(
            f"reference is a {type(reference).__name__} without a layer under faults; allowed is a network after "
            "eden.inject_, such as a copy of the one that is asked about, taken before it was boosted"
        )


class PlacedNetwork:
    """A network whose operands' errors stay as they are.

    Args:
        model: the network.
        samples: what it is scored on.
        metric: scores its outputs.
        lower_is_better: whether 1 minus the metric is the score.
        forward_fn: as in ``eden.profile``.
        target_fn: likewise.
    """

    reuse: Reuse | None = None

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        metric: str | Metric | CorpusMetric,
        lower_is_better: bool,
        forward_fn: ForwardFn | None = None,
        target_fn: TargetFn | None = None,
    ) -> None:
        self.model, self.infos = model, operands(model)
        self.reads = Reads(model)
        self._pair_of = pairs_of(model, self.reads, forward_fn, target_fn)
        self.scorer = Scorer(self._pair, samples, metric, model_device(model), lower_is_better)
        self._data = SamplesDigest()

    def _pair(self, batch: Any) -> tuple[Any, Any]:
        if self.reuse is not None:
            self.reuse.begin_forward()
        return self._pair_of(batch)

    def borrowed(self) -> contextlib.AbstractContextManager[None]:
        """Evaluation mode for a moment, everything afterwards as it was."""
        return borrowed(self.model)

    def clean_scores(self) -> Scores:
        """Scores of all samples on reliable memory. Raises ValueError for operands that are not read from memory."""
        with clean(self.model):
            self.reads.begin()
            found = self.scorer.scores(range(len(self.scorer.samples)), "on reliable memory", self._data)
            self.reads.end()
        self.reads.check()
        self.reads.forget()
        return found

    def borrowed_clean_scores(self) -> Scores:
        """The same, of a network that is not borrowed yet."""
        with self.borrowed():
            return self.clean_scores()

    def put_at(self, trial: _core.Trial) -> None:
        """Put the network where a trial asks for it."""
        set_chip_(self.model, trial.chip)
        self.reads.begin()

    def observed(self) -> None:
        """A trial's observation was made."""
        self.reads.end()

    def check_read(self) -> None:
        """Raise ValueError for operands that the observations have not read through their memory."""
        self.reads.check()

    @functools.cached_property
    def made_of(self) -> dict[str, str]:
        """SHA-256 of the network and of the samples that were scored."""
        return {"network": network_digest(self.model), "data": self._data.hexdigest()}

    @property
    def memory(self) -> str:
        """SHA-256 of where its operands lie, with their errors."""
        return memory_digest({name: info.errors for name, info in self.infos.items()})

    def fingerprint(self) -> dict[str, Any]:
        """What a journal names it by: operands, ranges, layers, state and the samples that were scored."""
        return {
            "chunk": self.scorer.chunk,
            "operands": [
                [name, info.kind, info.bytes, info.storage, info.address, described(info.errors)]
                for name, info in self.infos.items()
            ],
            "layers": {
                name: [layer.eden_faults.batch_dim, *(operand.correction for operand in layer.eden_faults.operands())]
                for name, layer in faulty_layers(self.model).items()
            },
            "ranges": {name: list(bounds) for name, bounds in ranges(self.model).items()},
            "samples": len(self.scorer.samples),
            **self.made_of,
        }


class SearchedNetwork(PlacedNetwork):
    """A network whose operands are brought to the rates that a search asks for.

    Args:
        model: the network, and the others as of ``PlacedNetwork``.
        samples: see there.
        metric: see there.
        lower_is_better: see there.
        weigh: what a factor in an operand's rate is worth (``Search.weigh``).
        forward_fn: as of ``PlacedNetwork``.
        target_fn: likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        metric: str | Metric | CorpusMetric,
        lower_is_better: bool,
        weigh: Any,
        forward_fn: ForwardFn | None = None,
        target_fn: TargetFn | None = None,
    ) -> None:
        super().__init__(model, samples, metric, lower_is_better, forward_fn, target_fn)
        self.infos = check_searchable(self.infos, self.model)
        moved = moved_bytes(self.infos) if weigh == "energy" else {}
        self.searched = Searched(self.infos, scalable_errors(self.model), weights_of(weigh, self.infos, moved))
        self._rates: list[float] | None = None

    def put_at(self, trial: _core.Trial) -> None:
        """Put the operands at the trial's rates, on its chip."""
        if trial.rates != self._rates:
            rates = zip(self.searched.errors.items(), trial.rates, strict=True)
            set_scaled_errors_(self.model, {name: errors.scaled(rate) for (name, errors), rate in rates})
        self._rates = trial.rates
        super().put_at(trial)
        if self.reuse is not None:
            self.reuse.begin_trial(trial.chip, trial.draw_seed, trial.rates, trial.operand)
