"""``eden run``: network, boost, tolerance, placement, verification, and again, from one recipe (docs/how-to/run.md)."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader

from eden.accounting.accounts import account, savings
from eden.accounting.results import Account, Pareto, ParetoPoint, Savings
from eden.app.paths import RUN_FILES
from eden.app.recipe import NAME, find_device
from eden.app.retrain import kept_as, prepared, retrain
from eden.app.rounds import OnTestSet, Round, Rounds
from eden.app.run_recipe import RunRecipe
from eden.app.steps import accuracy_curves, rates_with_progress, threads_of, train_with_progress
from eden.app.tasks import Task, load_task
from eden.boosting.curriculum import Curriculum
from eden.boosting.recipe import Recipe
from eden.common.extras import require
from eden.common.files import FileError, VersionedFile, output_folder
from eden.common.folder import Claim, claimed
from eden.costs.count_traffic import traffic
from eden.devices.device import Device
from eden.faults import inject
from eden.faults.checkpoint import load_, save
from eden.faults.memories import operands, set_errors_
from eden.memory.errors import ErrorModel
from eden.placement.map_file import MemoryMap
from eden.placement.mapping import memory_map
from eden.placement.placement import Placement
from eden.placement.solvers import place
from eden.reporting.accuracy import AccuracyCurves
from eden.reporting.page import ReportError, report
from eden.reporting.sections.placement import point_shares
from eden.tolerance.evaluation import clean_accuracy, evaluate
from eden.tolerance.profile import profile
from eden.tolerance.question import SearchError
from eden.tolerance.search import Search
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification, certify

_Stage = TypeVar("_Stage", bound=VersionedFile)
_TIGHTER = 0.5


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


def _kept(path: Path, kind: type[_Stage], make: Callable[[], _Stage]) -> _Stage:
    """A stage's result: of its file if there is one, else made and written."""
    if path.exists():
        return kind.load(path)
    made = make()
    made.save(path)
    return made


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
    return tolerance.model_copy(
        update={"limits": limits, "error_models": models, "coarse": max(FLOOR, tolerance.coarse * factor)}
    )


class _Run:
    """A run under way: what its stages share."""

    def __init__(self, recipe: RunRecipe, task: Task, out: Path, resume: bool, say: Callable[[str], None]) -> None:
        self.recipe, self.out, self.say, self.resume = recipe, out, say, resume
        self.task = kept_as(task, recipe)
        assert recipe.place.device is not None  # resolved
        self.errors = recipe.errors(recipe.device())
        self.device = find_device(recipe.place.device, recipe.place.margin)
        self.attempts = 0
        self.lacks: ReportError | None = None
        self.started = time.monotonic()

    def start(self, claim: Claim) -> None:
        """Check folder and recipe, and make the networks that the rounds start from."""
        device_file, recipe_file = self.out / "device.json", self.out / NAME
        if self.resume:
            if recipe_file.exists():
                self.recipe.compare(recipe_file)
            if device_file.exists() and Device.load(device_file) != self.device:
                raise FileError(device_file, f"is of another run: here {self.recipe.place.device} is another device")
        # What can be refused is looked at before the earlier run goes.
        self.train_set, self.validation = self.task.sets()
        self.test_set = self.task.test_set()
        if self.recipe.network is None:
            prepared(self.recipe.retraining(), self.task)
        else:
            self.load(Path(self.recipe.network))
        claim.clear()
        self.device.save(device_file)
        self.recipe.save(recipe_file)
        self.say(
            f"memory {self.device.name}: boosting for BER {self.errors.ber_zero:.2g} of zeros, "
            f"{self.errors.ber_one:.2g} of ones"
        )
        before = self.out / "boost" / "baseline.safetensors"
        if self.recipe.network is None:
            self.say(f"training and boosting {self.task.name}")
            retrain(self.recipe.retraining(), self.out / "boost", resume=True, say=self.say)
            self.first = self.out / "boost" / "boosted.safetensors"
        else:
            self.first = Path(self.recipe.network)
        self.reference = self.load(before if self.recipe.certify.reference == "baseline" else self.first)
        self.curves: list[AccuracyCurves] = []
        self.before: float | None = None
        if self.recipe.comparison.chips:
            self.compared(before)

    def compared(self, network: Path) -> None:
        """What the network tolerates before boosting, and its accuracy against the bit error rate."""
        folder = output_folder(self.out / "before")
        model = self.load(network)
        drop = self.recipe.profile.max_drop
        try:
            self.before = self.profiled(model, folder, drop, 1, coarse_only=True).coarse
            tolerates = f"BER {self.before:.2g} in all operands"
        except SearchError as error:
            tolerates = f"nothing: {error}"
        self.say(f"before boosting it tolerates {tolerates} (drop at most {drop:.1%})")
        self.curves.append(self.shown(model, folder / "accuracy.json", "baseline", self.before))

    def shown(self, model: nn.Module, path: Path, label: str, tolerated: float | None) -> AccuracyCurves:
        """A network's accuracy against the bit error rate, measured or read."""
        chips, seed = self.recipe.comparison.chips, self.recipe.seed

        def measure() -> AccuracyCurves:
            found = rates_with_progress(model, self.validation, chips, seed)
            clean = clean_accuracy(model, self.validation)
            return accuracy_curves(label, found, clean, self.task.name, seed, tolerated)

        return _kept(path, AccuracyCurves, measure)

    def load(self, path: Path) -> nn.Module:
        """A network of the task, under the errors that it was boosted for."""
        model = load_(self.task.model(), path)
        set_errors_(model, dict.fromkeys(operands(model), self.errors))
        return model

    def loader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(self.validation, batch_size=self.recipe.profile.samples)

    def profiled(
        self, model: nn.Module, folder: Path, max_drop: float, attempt: int, coarse_only: bool = False
    ) -> Tolerance:
        """The network's tolerance, searched for or read; ``attempt`` is of this search alone in the run."""
        wanted = self.recipe.profile
        return _kept(
            folder / "tolerance.json",
            Tolerance,
            lambda: profile(
                model,
                self.loader(),
                max_drop=max_drop,
                confidence=wanted.confidence,
                seed=self.recipe.seed,
                attempt=attempt,
                # Others than the first have seen the samples that confirm; their files say of which data they are.
                population=wanted.population if attempt == 1 else "samples",
                search=Search(
                    strategy=wanted.strategy,
                    weigh=wanted.weigh,
                    # A coarse rate alone is compared with one beside limits, which has a third of the effort.
                    effort=max(1.5, wanted.effort / 3) if coarse_only else wanted.effort,
                    batch_size=wanted.batch_size,
                    coarse_only=coarse_only,
                ),
                journal=folder / "profile.journal",
                **wanted.criterion(),
            ),
        )

    def placed(self, model: nn.Module, tolerance: Tolerance, path: Path) -> Placement:
        """The placement by a tolerance. It is read where it was found: a solver that runs out of time may differ."""
        wanted = self.recipe.place
        return _kept(
            path,
            Placement,
            lambda: place(
                tolerance,
                self.device,
                self.recipe.solver(),
                traffic(model, platform=wanted.platform),
                wanted.objective,
                constraints=self.recipe.constraints(),
                granularity=wanted.granularity,
                points=wanted.points,
                rates=self.recipe.rates(),
            ),
        )

    def accounted(self, model: nn.Module, placement: Placement) -> Savings:
        """Energy and time of a placement on the platform of the objective."""
        wanted = self.recipe.place
        return savings(model, placement, platform=wanted.platform, currents=wanted.currents, vdd_law=wanted.vdd_law)

    def objective(self, saved: Savings) -> float:
        """What rounds are compared by, 1 within specification."""
        wanted = self.recipe.place
        weight = {"energy": 1.0, "latency": 0.0, "weighted": wanted.energy_weight}[wanted.objective]
        return weight * (1.0 - saved.energy_reduction) + (1.0 - weight) / (1.0 + saved.speedup)

    def verified(self, model: nn.Module, placement: Placement, path: Path) -> Verification:
        """The test of a placed network; every attempt of a run has its part of 1 - confidence."""
        self.attempts += 1
        attempt, wanted = self.attempts, self.recipe.profile

        def test() -> Verification:
            inject.inject_(model, placement)
            try:
                return certify(
                    model,
                    self.loader(),
                    max_drop=wanted.max_drop,
                    confidence=self.recipe.certify.confidence,
                    seed=self.recipe.seed,
                    attempt=attempt,
                    search=Search(effort=self.recipe.certify.effort, batch_size=wanted.batch_size),
                    reference=self.reference,
                    rates=placement.rates,
                    journal=path.with_suffix(".journal"),
                    **wanted.criterion(),
                )
            finally:
                set_errors_(model, dict.fromkeys(operands(model), self.errors))

        return _kept(path, Verification, test)

    def round(self, number: int, network: Path) -> tuple[Round, Path | None]:
        """Profile, place and verify; what was found, and the folder of the attempt that is certified."""
        folder = output_folder(self.out / f"round-{number}")
        self.say(f"round {number} of {self.recipe.rounds.most}")
        model = self.load(network)
        # Networks and placements of later rounds come of what earlier ones found: each search has chips of its own.
        tolerance = self.profiled(model, folder, self.recipe.profile.max_drop, 1 + number)
        own = clean_accuracy(model, self.validation)
        lowest, highest = min(tolerance.limits.values()), max(tolerance.limits.values())
        times = f", {tolerance.coarse / self.before:.1f} times what it did before boosting" if self.before else ""
        self.say(
            f"tolerates BER {tolerance.coarse:.2g} in all operands{times}; {lowest:.2g} to {highest:.2g} operand by "
            f"operand; {own:.2%} on reliable memory"
        )
        before: Placement | None = None
        for tightening in range(self.recipe.certify.tightenings + 1):
            factor = _TIGHTER**tightening
            attempt = output_folder(folder / f"attempt-{tightening + 1}")
            limits = tolerance if tightening == 0 else tightened(tolerance, factor)
            placement = self.placed(model, limits, attempt / "placement.json")
            if before is not None and placement.memory == before.memory:
                continue  # what was not certified once is not asked again
            before = placement
            found = self.verified(model, placement, attempt / "verification.json")
            self.say(found.statement)
            saved = self.accounted(model, placement) if found.certified else None
            certificate = found.certificate
            result = Round(
                number=number,
                coarse=tolerance.coarse,
                own_accuracy=own,
                attempts=tightening + 1,
                limits_factor=factor,
                certified=found.certified,
                mean_drop=None if certificate is None else certificate.mean_drop,
                upper_bound=None if certificate is None else certificate.upper_bound,
                objective=None if saved is None else self.objective(saved),
                energy_reduction=None if saved is None else saved.energy_reduction,
                speedup=None if saved is None else saved.speedup,
            )
            if saved is not None:
                self.say(
                    f"objective {result.objective:.4f}: {saved.energy_reduction:.2%} of the DRAM energy saved, "
                    f"{saved.speedup:.2%} faster on {self.recipe.place.platform}"
                )
                return result, attempt
        return result, None

    def tuned(self, network: Path, placement: Placement, number: int) -> Path | None:
        """The network after some epochs under a placement's errors on fresh chips, or None where there are none."""
        if not any(placement.ber.values()):
            return None
        folder = output_folder(self.out / f"round-{number}")
        path = folder / "network.safetensors"
        if path.exists():
            return path
        wanted = self.recipe.rounds
        model = self.load(network)
        set_errors_(model, placement.errors)
        boost = self.recipe.recipe("boost")
        assert wanted.learning_rate is not None  # resolved
        tuning: Recipe = dataclasses.replace(
            boost,
            epochs=wanted.epochs,
            learning_rate=wanted.learning_rate,
            seed=boost.seed + number,
            clip_percentile=None,
        )
        targets = {name: model_of.ber for name, model_of in placement.errors.items()}
        curriculum = Curriculum(
            model, targets, wanted.epochs, epochs_per_step=wanted.epochs, seed=self.recipe.seed + number
        )
        checkpoint = folder / "tune.safetensors"
        train_with_progress(
            *("tune", model, self.train_set, tuning, self.task, curriculum, checkpoint, True),
            every=self.recipe.checkpoint_every,
        )
        set_errors_(model, dict.fromkeys(operands(model), self.errors))
        save(model, path)
        return path

    def rounds(self) -> tuple[list[Round], int, str, dict[int, tuple[Path, Path]]]:
        """All rounds, the one that is taken, why there are no more, and of those certified network and attempt."""
        most, gain = self.recipe.rounds.most, self.recipe.rounds.least_gain
        done: list[Round] = []
        certified: dict[int, tuple[Path, Path]] = {}
        network, taken, lowest = self.first, 0, math.inf
        for number in range(1, most + 1):
            try:
                found, attempt = self.round(number, network)
            except SearchError as error:
                if not taken:
                    raise
                return done, taken, f"the network of round {number} tolerates nothing: {error}", certified
            done.append(found)
            if attempt is None or found.objective is None:
                if not taken:
                    raise SearchError(
                        f"no placement is certified, with limits down to {found.limits_factor:g} of those profiled; "
                        "allowed are a larger profile.max_drop, more certify.tightenings, or "
                        "certify.reference='boosted'"
                    )
                return done, taken, f"the placement of round {number} is not certified", certified
            certified[number] = network, attempt
            improved = found.objective < lowest * (1.0 - gain)
            if found.objective < lowest:
                taken, lowest = number, found.objective
            if number == most:
                return done, taken, "no more were asked for", certified
            if not improved:
                return done, taken, f"round {number} does not lower the objective by {gain:.2%}", certified
            placement = Placement.load(attempt / "placement.json")
            following = self.tuned(network, placement, number + 1)
            if following is None:
                return done, taken, "the placement makes no errors to tune the network for", certified
            network = following
        raise AssertionError("unreachable: the last round returns")

    def pareto(self, network: Path, taken: ParetoPoint, reference: float) -> Pareto | None:
        """Energy against accuracy over the drops that the recipe lists, or None where it lists none."""
        wanted = self.recipe.account.max_drops
        if not wanted:
            return None
        points = {taken.max_drop: taken}
        for number, drop in enumerate(sorted(set(wanted) - set(points)), start=2 + self.recipe.rounds.most):
            self.say(f"a drop of {drop:g}")
            folder = output_folder(self.out / "pareto" / f"drop-{drop:g}")
            model = self.load(network)
            tolerance = self.profiled(model, folder, drop, number)
            placement = self.placed(model, tolerance, folder / "placement.json")
            points[drop] = self.point(model, tolerance, placement, drop)
        chips, confidence = self.recipe.certify.chips, self.recipe.profile.confidence
        return Pareto(
            device=self.device.name,
            platform=self.recipe.place.platform,
            reference_accuracy=reference,
            chips=chips,
            confidence=confidence,
            points=tuple(points[drop] for drop in sorted(points)),
        )

    def point(self, model: nn.Module, tolerance: Tolerance, placement: Placement, drop: float) -> ParetoPoint:
        """What a placement saves, and its accuracy on chips that nothing has used."""
        saved = self.accounted(model, placement)
        over = evaluate(
            model,
            self.validation,
            errors=placement.memory,
            chips=self.recipe.certify.chips,
            seed=self.recipe.seed,
        )
        return ParetoPoint(
            max_drop=drop,
            coarse=tolerance.coarse,
            energy_reduction=saved.energy_reduction,
            energy_reduction_range=saved.energy_reduction_range,
            speedup=saved.speedup,
            speedup_range=saved.speedup_range,
            accuracy=over.mean,
            worst=over.worst,
        )

    def tested(self, model: nn.Module, placement: Placement) -> OnTestSet | None:
        """The placed network on the task's test set, which no step before has seen."""
        if self.test_set is None:
            return None
        chips = self.recipe.certify.chips
        over = evaluate(model, self.test_set, errors=placement.memory, chips=chips, seed=self.recipe.seed)
        return OnTestSet(
            samples=len(self.test_set),
            reference_accuracy=clean_accuracy(self.reference, self.test_set),
            accuracy=over.mean,
            worst=over.worst,
        )

    def finish(self) -> Outcome:
        """The rounds, and the files of the one that is taken."""
        try:
            done, taken, why, certified = self.rounds()
        except SearchError as error:
            raise SearchError(f"{error}; what was found until then is in {self.unfinished()}") from error
        network, attempt = certified[taken]
        model = self.load(network)
        placement = Placement.load(attempt / "placement.json")
        verification = Verification.load(attempt / "verification.json")
        tolerance = Tolerance.load(self.out / f"round-{taken}" / "tolerance.json")
        chips = self.recipe.certify.chips
        found = self.point(model, tolerance, placement, self.recipe.profile.max_drop)
        wanted = self.recipe.place
        accounts = account(model, placement, self.recipe.account.platforms, wanted.currents, wanted.vdd_law)
        pareto = self.pareto(network, found, clean_accuracy(model, self.validation))
        rounds = Rounds(
            task=self.task.name,
            device=self.device.name,
            objective=self.recipe.place.objective,
            platform=self.recipe.place.platform,
            max_drop=self.recipe.profile.max_drop,
            confidence=self.recipe.certify.confidence,
            reference=self.recipe.certify.reference,
            reference_accuracy=verification.reference_accuracy,
            taken=taken,
            why=why,
            accuracy=found.accuracy,
            worst=found.worst,
            chips=chips,
            rounds=tuple(done),
            test=self.tested(model, placement),
        )
        if self.recipe.comparison.chips:
            path = self.out / f"round-{taken}" / "accuracy.json"
            self.curves.append(self.shown(model, path, "boosted", tolerance.coarse))
        saved = self.accounted(model, placement)
        inject.inject_(model, placement)
        mapped = memory_map(model, placement, self.device)
        save(model, self.out / "network.safetensors")
        verification.save(self.out / "verification.json")
        mapped.save_csv(self.out / "memory-map.csv")
        rounds.save(self.out / "rounds.json")
        page = self.reported(
            tolerance=tolerance,
            placement=placement,
            savings=saved,
            title=f"{self.task.name} on {self.device.name}",
            memory_map=mapped,
            account=accounts,
            pareto=pareto,
        )
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
        self.say(f"done in {time.monotonic() - self.started:.0f} s; report: {page}")
        if self.lacks is not None:
            raise self.lacks
        return Outcome(model, tolerance, placement, verification, saved, mapped, accounts, rounds, page)

    def unfinished(self) -> Path:
        """The report of a run that ends without a certified placement: what is known before the placement."""
        tolerances = sorted(self.out.glob("round-*/tolerance.json"), key=lambda path: int(path.parent.name[6:]))
        return self.reported(
            tolerance=Tolerance.load(tolerances[-1]) if tolerances else None,
            title=f"{self.task.name} on {self.device.name}, not placed",
        )

    def reported(self, **parts: Any) -> Path:
        """The page of what was found; what it lacks is told last."""
        try:
            return report(self.out, device=self.device, accuracy=AccuracyCurves.joined(self.curves), **parts)
        except ReportError as error:
            self.lacks = error
            return error.page


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
    answer.

    Args:
        recipe: what to do.
        folder: where everything goes (docs/reference/files.md).
        resume: go on with the run in the folder, if there is one.
        force: begin anew in place of the run there. With neither, a folder that holds one is refused.
        say: told in sentences what was found.

    Returns:
        What is known of the round that was taken: the lowest objective of those certified.

    Raises:
        FileError: for a folder or file that cannot be used, that is of another run, or in which another run works.
        ValueError: for what the recipe gives and the task or the device refuses, before anything is computed.
        SearchError: if no rate keeps the accuracy drop, or no placement is certified; what is known then is in the
            report.
        TrainingError: if a training cannot go on.
        ImportError: with the remedy, where the extra "report" is not installed, before anything is computed.

    """
    require("report")  # the page comes last, and what it draws with is asked for first
    task = load_task(recipe.task)
    with threads_of(task), claimed(folder, RUN_FILES, resume=resume, force=force) as claim:
        running = _Run(recipe.resolved(task), task, claim.path, resume, say)
        running.start(claim)
        return running.finish()
