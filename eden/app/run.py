"""``eden run``: network, boost, tolerance, placement, verification, and again, from one recipe (docs/how-to/run.md)."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from eden.accounting.accounts import account
from eden.accounting.results import Account, Pareto, ParetoPoint, Savings
from eden.app.paths import RUN_FILES
from eden.app.rounds import OnTestSet, Round, Rounds
from eden.app.run_recipe import RunRecipe
from eden.app.run_stages import RunStages
from eden.app.steps import threads_of
from eden.app.tasks import load_task
from eden.common.extras import require
from eden.common.folder import claimed
from eden.common.provenance import Provenance
from eden.faults import inject
from eden.faults.checkpoint import save
from eden.faults.memories import operands
from eden.memory.errors import ErrorModel
from eden.placement.map_file import MemoryMap
from eden.placement.mapping import memory_map
from eden.placement.placement import Placement
from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.page import ReportError, report
from eden.reporting.sections.placement import point_shares
from eden.tolerance.evaluation import OverChips, clean_accuracy, evaluate
from eden.tolerance.question import SearchError
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification

_TIGHTER = 0.5
_NAMED = {"baseline": "network before boosting", "boosted": "boosted network"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run ends with: the network and all that is known of it, as in the files of its folder."""

    model: nn.Module
    tolerance: Tolerance
    placement: Placement
    verification: Verification
    savings: Savings
    memory_map: MemoryMap
    account: Account
    rounds: Rounds
    report: Path


def tightened(tolerance: Tolerance, factor: float) -> Tolerance:
    """A tolerance with all limits multiplied, so that networks placed by it meet fewer errors.

    Args:
        tolerance: whose certificates remain those of its own limits.
        factor: above 0, up to 1.

    """
    from eden.tolerance.tolerance import FLOOR

    limits = {name: max(FLOOR, limit * factor) for name, limit in tolerance.limits.items()}
    models = {
        name: ErrorModel.from_dict(spec).scaled(limits[name]).to_dict() for name, spec in tolerance.error_models.items()
    }
    found = tolerance.model_copy(
        update={"limits": limits, "error_models": models, "coarse": max(FLOOR, tolerance.coarse * factor)}
    )
    return found.made_from(tolerance=tolerance, settings={"limits_factor": factor})


class Certified(NamedTuple):
    """A placement that is certified, with what it was made from."""

    network: Path
    tolerance: Tolerance
    placement: Placement
    verification: Verification


class _Run:
    """A run under way: its rounds, and what it ends with."""

    def __init__(self, stages: RunStages, started: float) -> None:
        self.stages, self.recipe, self.say, self.started = stages, stages.recipe, stages.say, started
        self.lacks: ReportError | None = None
        self.curves: list[AccuracyCurves] = []
        self.before: float | None = None
        self.earned: float | None = 0.0  # by what is tolerated before boosting, a share of the DRAM's energy
        self.tolerance: Tolerance | None = None
        errors = stages.errors
        self.say(
            f"memory {stages.device.name}: boosting for BER {errors.ber_zero:.2g} of zeros, {errors.ber_one:.2g} of "
            "ones"
        )
        self.baseline, self.first = stages.networks()
        self.reference, self.why = self.first, ""
        if self.recipe.certify.reference == "baseline":
            self.reference = self.baseline
            gain = stages.gain(self.baseline, self.first)
            self.why = f"{gain}"
            self.say(f"{gain}: the rounds start from the {_NAMED[gain.better]}")
            if gain.better == "baseline":
                self.first = self.baseline
        self.done: list[Round] = []
        if self.recipe.comparison.chips:
            self.compare(self.baseline)

    def compare(self, network: Path) -> None:
        """What the network tolerates before boosting, and its accuracy against the bit error rate."""
        drop = self.recipe.profile.max_drop
        try:
            found = self.stages.tolerance(network, "before", drop, None, coarse_only=True)
            self.before = found.coarse
            self.earned = self.stages.by_one_rate(network, found, "before").energy_by_tolerance
            tolerates = f"BER {self.before:.2g} in all operands"
        except SearchError as error:
            tolerates = f"nothing: {error}"
        self.say(f"before boosting it tolerates {tolerates} (drop at most {drop:.1%})")
        self.curves.append(self.stages.curves(network, "before/accuracy.json", "baseline", self.before))

    def other(self, network: Path) -> Path | None:
        """The network that drops are counted from, None where it is the one in question."""
        return None if self.reference == network else self.reference

    def objective(self, saved: Savings) -> float:
        """What rounds are compared by, 1 within specification."""
        wanted = self.recipe.place
        weight = {"energy": 1.0, "latency": 0.0, "weighted": wanted.energy_weight}[wanted.objective]
        return weight * (1.0 - saved.energy_reduction) + (1.0 - weight) / (1.0 + saved.speedup)

    def round(self, number: int, network: Path) -> tuple[Round, Certified | None]:
        """Profile, place and verify; what was found, and what is certified."""
        folder = f"round-{number}"
        model = self.stages.load(network)
        tolerance = self.tolerance = self.stages.tolerance(
            network, folder, self.recipe.profile.max_drop, self.other(network)
        )
        own = clean_accuracy(model, self.stages.validation)
        planes = any(info.plane for info in operands(model).values())
        lowest, highest = min(tolerance.limits.values()), max(tolerance.limits.values())
        self.say(
            f"tolerates BER {tolerance.coarse:.2g} in all operands; {lowest:.2g} to {highest:.2g} operand by "
            f"operand; {own:.2%} on reliable memory"
        )
        before: Placement | None = None
        for tightening in range(self.recipe.certify.tightenings + 1):
            factor = _TIGHTER**tightening
            attempt = f"{folder}/attempt-{tightening + 1}"
            limits = tolerance if tightening == 0 else tightened(tolerance, factor)
            placement = self.stages.placement(network, limits, attempt)
            if before is not None and placement.memory == before.memory:
                continue  # what was not certified once is not asked again
            before = placement
            found = self.stages.verification(network, placement, self.reference, attempt)
            self.say(found.statement)
            saved = self.stages.saved(model, placement) if found.certified else None
            certificate = found.certificate
            result = Round(
                number=number,
                coarse=tolerance.coarse,
                own_accuracy=own,
                attempts=tightening + 1,
                limits_factor=factor,
                planes=planes,
                certified=found.certified,
                mean_drop=None if certificate is None else certificate.mean_drop,
                upper_bound=None if certificate is None else certificate.upper_bound,
                objective=None if saved is None else self.objective(saved),
                energy_reduction=None if saved is None else saved.energy_reduction,
                speedup=None if saved is None else saved.speedup,
            )
            if saved is not None:
                self.say(
                    f"objective {result.objective:.4f}: {saved.energy_reduction:z.2%} of the DRAM energy saved, "
                    f"{saved.speedup:z.2%} faster on {self.recipe.place.platform}"
                )
                return result, Certified(network, tolerance, placement, found)
        return result, None

    def rounds(self) -> tuple[int, str, dict[int, Certified]]:
        """All rounds: the one that is taken, why there are no more, and what is certified by round.

        A network whose operands lie in planes of bits is placed with whole words, too; the better one goes on. Where no
        placement of the boosted network is certified, those of the one before boosting follow.
        """
        try:
            return self.rounds_from(self.candidates(self.first), 1)
        except SearchError as error:
            if self.first == self.reference:
                raise
            self.why = f"{self.why}; then the boosted one was not placed: {error}"
            self.say(f"the boosted network is not placed: {error}; the rounds go on from the {_NAMED['baseline']}")
            start = 1 + len(self.candidates(self.first))
            self.first = self.baseline
            return self.rounds_from(self.candidates(self.first), start)

    def candidates(self, network: Path) -> list[Path]:
        """The network; where its operands lie in planes of bits, after the same with whole words."""
        whole = self.stages.in_whole_words(network)
        return [network] if whole is None else [whole, network]

    def rounds_from(self, networks: Sequence[Path], start: int) -> tuple[int, str, dict[int, Certified]]:
        """As ``rounds``, from a number on: of each network, then of the best, tuned again while that helps."""
        most, gain = self.recipe.rounds.most, self.recipe.rounds.least_gain
        certified: dict[int, Certified] = {}
        taken, lowest, last = 0, math.inf, start + len(networks) + most - 2
        network, following = networks[0], [*networks[1:]]
        for number in range(start, last + 1):
            tuned = number - start >= len(networks)
            self.say(f"round {number} of {last}{', with whole words' if following else ''}")
            failure, why, improved = None, "", False
            try:
                found, chosen = self.round(number, network)
            except SearchError as error:
                failure, why = error, f"the network of round {number} tolerates nothing: {error}"
            else:
                self.done.append(found)
                if chosen is None or found.objective is None:
                    why = f"the placement of round {number} is not certified"
                    failure = SearchError(
                        f"no placement is certified, with limits down to {found.limits_factor:g} of those profiled; "
                        "allowed are a larger profile.max_drop, more certify.tightenings, or "
                        "certify.reference='boosted', which counts drops from the network after boosting"
                    )
                else:
                    certified[number] = chosen
                    improved = found.objective < lowest * (1.0 - gain)
                    # Planes of bits have to pay; tuning need not.
                    if improved or (tuned and found.objective < lowest):
                        taken, lowest = number, found.objective
            if following:
                network = following.pop(0)
                continue
            if failure is not None and not taken:
                raise failure
            if failure is not None and tuned:
                return taken, why, certified
            if number == last:
                return taken, "no more were asked for", certified
            if not improved and tuned:
                return taken, f"round {number} does not lower the objective by {gain:.2%}", certified
            best = certified[taken]
            found_network = self.stages.tuned(best.network, best.placement, number + 1)
            if found_network is None:
                return taken, "the placement makes no errors to tune the network for", certified
            network = found_network
        raise AssertionError("unreachable: the last round returns")

    def pareto(self, network: Path, taken: ParetoPoint, over: OverChips) -> Pareto | None:
        """Energy against accuracy over the drops that the recipe lists, or None where it lists none."""
        wanted = self.recipe.account.max_drops
        if not wanted:
            return None
        points = {taken.max_drop: taken}
        for drop in sorted(set(wanted) - set(points)):
            self.say(f"a drop of {drop:g}")
            folder = f"pareto/drop-{drop:g}"
            tolerance = self.stages.tolerance(network, folder, drop, self.other(network))
            placement = self.stages.placement(network, tolerance, folder)
            points[drop], _ = self.point(self.stages.load(network), tolerance, placement, drop)
        chips, confidence = self.recipe.certify.chips, self.recipe.profile.confidence
        assert over.clean is not None
        assert over.provenance is not None  # of evaluate
        made = over.provenance
        return Pareto(
            device=self.stages.device.name,
            platform=self.recipe.place.platform,
            reference_accuracy=over.clean,
            chips=chips,
            confidence=confidence,
            points=tuple(points[drop] for drop in sorted(points)),
            provenance=Provenance.made(made.without("memory"), chips=made.chips, device=self.stages.device),
        )

    def point(
        self, model: nn.Module, tolerance: Tolerance, placement: Placement, drop: float
    ) -> tuple[ParetoPoint, OverChips]:
        """What a placement saves, and its accuracy on chips that nothing has used."""
        saved = self.stages.saved(model, placement)
        over = evaluate(
            model,
            self.stages.validation,
            errors=placement.memory,
            chips=self.recipe.certify.chips,
            seed=self.recipe.seed,
        )
        point = ParetoPoint(
            max_drop=drop,
            coarse=tolerance.coarse,
            energy_reduction=saved.energy_reduction,
            energy_reduction_range=saved.energy_reduction_range,
            speedup=saved.speedup,
            speedup_range=saved.speedup_range,
            free=saved.free,
            accuracy=over.mean,
            worst=over.worst,
        )
        return point, over

    def tested(self, model: nn.Module, placement: Placement) -> OnTestSet | None:
        """The placed network on the task's test set, which no step before has seen."""
        test_set = self.stages.test_set
        if test_set is None:
            return None
        chips = self.recipe.certify.chips
        over = evaluate(model, test_set, errors=placement.memory, chips=chips, seed=self.recipe.seed)
        return OnTestSet(
            samples=len(test_set),
            reference_accuracy=clean_accuracy(self.stages.load(self.reference), test_set),
            accuracy=over.mean,
            worst=over.worst,
        )

    def finish(self) -> Outcome:
        """The rounds, and the files of the one that is taken."""
        try:
            taken, why, certified = self.rounds()
        except SearchError as error:
            raise SearchError(f"{error}; what was found until then is in {self.unfinished()}") from error
        network, tolerance, placement, verification = certified[taken]
        model = self.stages.load(network)
        chips = self.recipe.certify.chips
        found, over = self.point(model, tolerance, placement, self.recipe.profile.max_drop)
        wanted = self.recipe.place
        accounts = account(
            [self.stages.traffic(model, name) for name in self.recipe.account.platforms],
            placement,
            self.recipe.account.platforms,
            wanted.currents,
            wanted.vdd_law,
        )
        pareto = self.pareto(network, found, over)
        rounds = Rounds(
            task=self.stages.task.name,
            device=self.stages.device.name,
            objective=self.recipe.place.objective,
            platform=self.recipe.place.platform,
            max_drop=self.recipe.profile.max_drop,
            confidence=self.recipe.certify.confidence,
            reference=self.recipe.certify.reference or "",
            reference_accuracy=verification.reference_accuracy,
            taken=taken,
            why=why,
            accuracy=found.accuracy,
            worst=found.worst,
            chips=chips,
            network="boosted" if self.first != self.baseline or self.recipe.network is not None else "baseline",
            network_why=self.why,
            rounds=tuple(self.done),
            test=self.tested(model, placement),
            provenance=Provenance.made(
                *(placement.provenance, verification.provenance, over.provenance),
                chips=() if over.provenance is None else over.provenance.chips,
                placement=placement,
            ),
        )
        unboosted = rounds.network == "baseline"
        if self.recipe.comparison.chips and network != self.baseline:
            curves = f"round-{taken}/accuracy.json"
            self.curves.append(self.stages.curves(network, curves, "boosted", tolerance.coarse))
            before, after = self.curves
            self.say(_gained(before, after, self.recipe.profile.max_drop))
            alike = self.stages.by_one_rate(network, tolerance, f"round-{taken}")
            if alike.free is not None and alike.energy_by_tolerance is not None and self.earned is not None:
                self.say(
                    f"of the DRAM energy, {alike.free.energy_reduction:.2%} is free; tolerance adds {self.earned:z.2%} "
                    f"before boosting and {alike.energy_by_tolerance:z.2%} after, by one rate for all operands"
                )
        saved = self.stages.saved(model, placement)
        inject.inject_(model, placement)
        mapped = memory_map(model, placement, self.stages.device)
        out = self.stages.out

        def write() -> None:
            save(model, out / "network.safetensors")
            mapped.save_csv(out / "memory-map.csv")
            rounds.save(out / "rounds.json")
            self.report(
                tolerance=tolerance,
                placement=placement,
                savings=saved,
                title=f"{self.stages.task.name} on {self.stages.device.name}{', not boosted' if unboosted else ''}",
                memory_map=mapped,
                account=accounts,
                pareto=pareto,
                verification=verification,
            )

        self.stages.results(write)
        self.say(rounds.table())
        self.say(accounts.summary())
        if pareto is not None:
            self.say(pareto.table())
        size = sum(operand.bytes for operand in placement.operands.values())
        shares = "; ".join(
            f"{share / size:.0%} of bytes at {point}" for point, share in point_shares(placement).items()
        )
        energy_low, energy_high = saved.energy_reduction_range
        speedup_low, speedup_high = saved.speedup_range
        self.say(
            f"placed: {shares}; accuracy {found.accuracy:.2%} over {chips} chips that nothing else used "
            f"(worst {found.worst:.2%})"
        )
        if rounds.test is not None:
            self.say(
                f"on the {rounds.test.samples} samples of the test set, which no step before saw: accuracy "
                f"{rounds.test.accuracy:.2%} (worst {rounds.test.worst:.2%}); the reference has "
                f"{rounds.test.reference_accuracy:.2%} on reliable memory"
            )
        self.say(
            f"saved on {wanted.platform}: {saved.energy_reduction:.1%} of the DRAM energy ({energy_low:.1%} to "
            f"{energy_high:.1%} by what is assumed), {saved.speedup:.1%} faster ({speedup_low:.1%} to "
            f"{speedup_high:.1%})"
        )
        self.say(f"of the energy: {saved.energy_split}")
        self.say(f"done in {time.monotonic() - self.started:.0f} s; report: {self.page}")
        if self.lacks is not None:
            raise self.lacks
        return Outcome(model, tolerance, placement, verification, saved, mapped, accounts, rounds, self.page)

    def unfinished(self) -> Path:
        """The report of a run that ends without a certified placement: what is known before the placement."""
        title = f"{self.stages.task.name} on {self.stages.device.name}, not placed"
        self.stages.results(lambda: self.report(tolerance=self.tolerance, title=title))
        return self.page

    def report(self, **parts: Any) -> None:
        """Write the page of what was found; what it lacks is told last."""
        try:
            accuracy = AccuracyCurves.joined(self.curves)
            self.page = report(self.stages.out, device=self.stages.device, accuracy=accuracy, **parts)
        except ReportError as error:
            self.lacks, self.page = error, error.page


def _gained(before: AccuracyCurves, after: AccuracyCurves, drop: float) -> str:
    """What boosting gains at the lowest rate of both curves at which the network before it loses more than the drop.

    Not by the certified rates, of which each is as far below what is tolerated as its confirmation left it.
    """
    was, now = ({point.ber: point for point in curve.points} for curve in (before, after))
    common = sorted(set(was) & set(now))
    lossy = [ber for ber in common if was[common[0]].mean - was[ber].mean > drop]
    if not lossy:
        return f"the network before boosting loses no more than {drop:.1%} at any rate that was tried"
    point = now[lossy[0]]
    return (
        f"at BER {point.ber:g} in all operands: accuracy {point.mean:.1%}, before boosting {was[point.ber].mean:.1%} "
        f"(means over {point.chips} chips)"
    )


def run(
    recipe: RunRecipe,
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Do all of a recipe: train, boost, profile, place, verify; tune under the placement, and again while it improves.

    Every stage keeps its file in the folder; a run that was killed at any moment goes on with ``resume`` to the same
    answer. What a stage was made from is kept with it: where that has changed, ``resume`` makes it again, searches and
    tests on chips that none before them has seen.

    Args:
        recipe: what to do.
        folder: where everything goes (docs/reference/files.md).
        resume: go on with the run in the folder, if there is one, by this recipe.
        force: begin anew in place of the run there. With neither, a folder that holds one is refused.
        say: told in sentences what was found.

    Returns:
        What is known of the round that was taken: the lowest objective of those certified.

    Raises:
        FileError: for a folder or file that cannot be used, that was altered or put there, or in which another run
            works.
        ValueError: for what the recipe gives and the task or the device refuses, before anything is computed.
        SearchError: if no rate keeps the accuracy drop, or no placement is certified; what is known then is in the
            report.
        TrainingError: if a training cannot go on.
        ImportError: with the remedy, where the extra "report" is not installed, before anything is computed.

    """
    started = time.monotonic()
    require("report")  # the page comes last, and what it draws with is asked for first
    task = load_task(recipe.task)
    with threads_of(task), claimed(folder, RUN_FILES, resume=resume, force=force) as claim:
        # What can be refused is looked at before the earlier run goes.
        stages = RunStages(recipe.resolved(task), task, claim.path, say)
        claim.clear()
        stages.start()
        return _Run(stages, started).finish()
