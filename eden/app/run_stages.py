"""What each stage of ``eden run`` is made from, and how: networks, tolerances, placements, verifications, curves."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from eden.accounting.accounts import savings
from eden.accounting.results import Savings
from eden.app.gain import Gain
from eden.app.paths import RUN_FILES
from eden.app.recipe import NAME, find_device
from eden.app.retrain import kept_as, prepared, retrain
from eden.app.run_recipe import RunRecipe
from eden.app.stages import MANIFEST, Stages, digest_of_file
from eden.app.steps import RATES, accuracy_curves, count_traffic, rates_with_progress, train_with_progress
from eden.app.tasks import Task, task_files
from eden.boosting.curriculum import Curriculum
from eden.boosting.judge import FIRST, Judge
from eden.boosting.rates import reachable
from eden.boosting.recipe import Recipe
from eden.common.files import output_folder
from eden.common.provenance import Provenance, digest_of
from eden.costs.energy import Currents
from eden.costs.platforms import Cache, Platform
from eden.costs.traffic_file import Traffic
from eden.faults.checkpoint import load_, save
from eden.faults.digests import SamplesDigest, described, network_digest
from eden.faults.memories import join_planes_, operands, scalable_errors, set_errors_
from eden.placement.placement import Placement
from eden.placement.solvers import place
from eden.reporting.accuracy import AccuracyCurves
from eden.tolerance.evaluation import clean_accuracy
from eden.tolerance.profile import profile
from eden.tolerance.question import Question
from eden.tolerance.search import Search
from eden.tolerance.tolerance import Tolerance
from eden.tolerance.verification import Verification, certify

_GAIN = "gain.json"
_FREE = (NAME, "device.json", "index.html")  # written whatever there is, and read by no stage
_RESULTS = tuple(name for name in RUN_FILES if "/" not in name and name not in (MANIFEST, _GAIN, *_FREE))


class RunStages:
    """The stages of a run in its folder. What is given to them is looked at first, before the folder is changed.

    Args:
        recipe: resolved.
        task: what it works on.
        out: the folder.
        say: told what is done.
    """

    def __init__(self, recipe: RunRecipe, task: Task, out: Path, say: Callable[[str], None]) -> None:
        self.recipe, self.out, self.say = recipe, out, say
        self.task = kept_as(task, recipe)
        assert recipe.place.device is not None  # resolved
        self.errors = recipe.errors(recipe.device())
        self.device = find_device(recipe.place.device, recipe.place.margin)
        self.train_set, self.validation = self.task.sets()
        self.test_set = self.task.test_set()
        code = [digest_of_file(path) for path in task_files(recipe.task)]
        self._common: dict[str, Any] = {"eden": importlib.metadata.version("eden-dram"), "task": code or recipe.task}
        self._train_data = {"training data": _digest_of_samples(self.train_set)}
        self._data = {"data": _digest_of_samples(self.validation), "memory": described(self.errors)}
        if recipe.network is None:
            ready = prepared(recipe.retraining(), self.task)
            whole = ready.recipe.model_dump(mode="json", exclude={"task", "checkpoint_every"})
            aim = ready.target
            target = [one.to_dict() for one in aim] if isinstance(aim, list) else aim
            self._boost = {"recipe": whole, "target": target, "memory": described(ready.errors)}
        else:
            self.load(Path(recipe.network))

    def start(self) -> None:
        """Hold the folder against its manifest, and keep recipe and device in it."""
        self.kept = Stages(self.out, RUN_FILES, _FREE, self.say)
        self.device.save(self.out / "device.json")
        self.recipe.save(self.out / NAME)

    def networks(self) -> tuple[Path, Path]:
        """The network before boosting, and the one that the rounds start from, boosted or from elsewhere."""
        if self.recipe.network is not None:
            return Path(self.recipe.network), Path(self.recipe.network)
        files = ("boost/baseline.safetensors", "boost/boosted.safetensors")

        def make(_: int) -> None:
            self.say(f"training and boosting {self.task.name}")
            retrain(self.recipe.retraining(), self.out / "boost", resume=True, say=self.say)

        self.kept.do(
            "boost",
            files,
            {**self._common, **self._train_data, **self._boost},
            make,
            scratch=("boost/recipe.toml", "boost/train.safetensors", "boost/boost.safetensors"),
        )
        return self.out / files[0], self.out / files[1]

    def load(self, path: Path) -> nn.Module:
        """A network of the task, under the errors that it was boosted for."""
        model = load_(self.task.model(), path)
        set_errors_(model, dict.fromkeys(operands(model), self.errors))
        return model

    def in_whole_words(self, network: Path) -> Path | None:
        """The same network without planes of bits, None where it has none."""
        if not any(info.plane for info in operands(self.load(network)).values()):
            return None
        file = "whole/network.safetensors"
        output_folder(self.out / "whole")
        self.kept.do(
            file,
            [file],
            {**self._common, "network": digest_of_file(network), "memory": described(self.errors)},
            lambda _: save(join_planes_(self.load(network), self.errors), self.out / file),
        )
        return self.out / file

    def gain(self, baseline: Path, boosted: Path) -> Gain:
        """What boosting gained, by the samples of the validation set that decisions may see, none that confirm."""
        wanted = self.recipe.profile
        question = Question(
            max_drop=wanted.max_drop,
            confidence=wanted.confidence,
            guarantee=wanted.criterion()["guarantee"],
            seed=self.recipe.seed,
            search=self._search(),
            population=wanted.population,
        )

        def compare(_: int) -> Gain:
            seen = sorted(question.plan(len(self.validation)).draws.seen())
            before, after = self.load(baseline), self.load(boosted)
            samples = DataLoader(Subset(self.validation, seen), batch_size=wanted.samples)
            judge = Judge(before, samples, wanted.metric, wanted.max_drop, self.recipe.seed)
            ladder = reachable(scalable_errors(before))
            cost = judge.clean_drop(after)
            tolerated = judge.tolerated(before, ladder, FIRST)
            return Gain(
                max_drop=wanted.max_drop,
                baseline=tolerated,
                boosted=judge.tolerated(after, ladder, tolerated) if cost <= wanted.max_drop else 0.0,
                clean_drop=cost,
                samples=len(seen),
                provenance=Provenance.made(
                    network=network_digest(after), reference=network_digest(before), data=self._data["data"]
                ),
            )

        names = ("max_drop", "confidence", "quantile", "metric", "samples", "strategy", "effort", "population")
        settings = {"seed": self.recipe.seed, **wanted.model_dump(mode="json", include=set(names))}
        made_of = {**self._of(boosted, settings), "reference": digest_of_file(baseline)}
        return self.kept.result(_GAIN, Gain, made_of, compare)

    def _search(self, coarse_only: bool = False) -> Search:
        """How tolerances are searched for."""
        wanted = self.recipe.profile
        return Search(
            strategy=wanted.strategy,
            weigh=wanted.weigh,
            # A coarse rate alone is compared with one beside limits, which has a third of the effort.
            effort=max(1.5, wanted.effort / 3) if coarse_only else wanted.effort,
            batch_size=wanted.batch_size,
            coarse_only=coarse_only,
        )

    def loader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        """The validation set."""
        return DataLoader(self.validation, batch_size=self.recipe.profile.samples)

    def curves(self, network: Path, file: str, label: str, tolerated: float | None) -> AccuracyCurves:
        """A network's accuracy against the bit error rate."""
        chips, seed = self.recipe.comparison.chips, self.recipe.seed

        def measure(_: int) -> AccuracyCurves:
            model = self.load(network)
            found = rates_with_progress(model, self.validation, chips, seed)
            clean = clean_accuracy(model, self.validation)
            return accuracy_curves(label, found, clean, self.task.name, seed, tolerated)

        settings = {"chips": chips, "seed": seed, "label": label, "tolerated": tolerated, "rates": RATES}
        return self.kept.result(file, AccuracyCurves, self._of(network, settings), measure)

    def tolerance(
        self, network: Path, folder: str, max_drop: float, reference: Path | None, coarse_only: bool = False
    ) -> Tolerance:
        """What a network tolerates, from the accuracy of another one, or its own."""
        wanted, seed = self.recipe.profile, self.recipe.seed
        journal = f"{folder}/profile.journal"

        def search(attempt: int) -> Tolerance:
            return profile(
                self.load(network),
                self.loader(),
                max_drop=max_drop,
                confidence=wanted.confidence,
                seed=seed,
                attempt=attempt,
                search=self._search(coarse_only),
                reference=None if reference is None else self.load(reference),
                journal=self.out / journal,
                population=wanted.population,
                **wanted.criterion(),
            )

        own = {"seed": seed, "max_drop": max_drop, "coarse_only": coarse_only}
        settings = {**wanted.model_dump(mode="json"), **own}
        made_of = self._of(network, settings)
        if reference is not None:
            made_of["reference"] = digest_of_file(reference)
        return self.kept.result(
            f"{folder}/tolerance.json", Tolerance, made_of, search, counts="profile", scratch=[journal]
        )

    def placement(self, network: Path, tolerance: Tolerance, folder: str) -> Placement:
        """The placement by a tolerance. It is kept: a solver that runs out of time may differ."""
        wanted = self.recipe.place

        def solve(_: int) -> Placement:
            return place(
                tolerance,
                self.device,
                self.recipe.solver(),
                self.traffic(self.load(network)),
                wanted.objective,
                constraints=self.recipe.constraints(),
                granularity=wanted.granularity,
                points=wanted.points,
                rates=self.recipe.rates(),
            )

        made_of = {
            **self._common,
            "network": digest_of_file(network),
            "tolerance": digest_of(tolerance),
            "device": digest_of(self.device),
            "platform": digest_of(Platform.named(wanted.platform)),
            "currents": digest_of(Currents.named(wanted.currents)),
            "settings": wanted.model_dump(mode="json", exclude={"device"}),
        }
        return self.kept.result(f"{folder}/placement.json", Placement, made_of, solve)

    def by_one_rate(self, network: Path, tolerance: Tolerance, folder: str) -> Savings:
        """What is saved if each operand stands the rate that all stand together, and no more."""
        limits = dict.fromkeys(tolerance.limits, tolerance.coarse)
        models = {name: model.scaled(tolerance.coarse).to_dict() for name, model in tolerance.memory.items()}
        alike = tolerance.model_copy(update={"limits": limits, "error_models": models})
        return self.saved(self.load(network), self.placement(network, alike, folder))

    def traffic(self, model: nn.Module, platform: str | None = None) -> Traffic:
        """What the network moves, as ``eden traffic`` counts it; on the platform of the objective, or another one."""
        wanted = self.recipe.place
        chosen = Platform.named(wanted.platform if platform is None else platform)
        repeated = wanted.repeated if isinstance(chosen.memory, Cache) else None
        return count_traffic(model, self.validation, chosen, wanted.batch, repeated)

    def saved(self, model: nn.Module, placement: Placement) -> Savings:
        """Energy and time of a placement on the platform of the objective."""
        placement.check_made_from("placement", network=network_digest(model))
        wanted = self.recipe.place
        return savings(self.traffic(model), placement, wanted.platform, wanted.currents, wanted.vdd_law)

    def verification(self, network: Path, placement: Placement, reference: Path, folder: str) -> Verification:
        """The test of a network as it is placed; every attempt of a run has its part of 1 - confidence."""
        wanted, asked, seed = self.recipe.profile, self.recipe.certify, self.recipe.seed
        journal = f"{folder}/verification.journal"

        def test(attempt: int) -> Verification:
            return certify(
                self.load(network),
                self.loader(),
                max_drop=wanted.max_drop,
                confidence=asked.confidence,
                seed=seed,
                attempt=attempt,
                search=Search(effort=asked.effort, batch_size=wanted.batch_size),
                reference=self.load(reference),
                placement=placement,
                journal=self.out / journal,
                **wanted.criterion(),
            )

        settings = {"max_drop": wanted.max_drop, "samples": wanted.samples, "seed": seed, **wanted.criterion()}
        settings |= {"confidence": asked.confidence, "effort": asked.effort}
        made_of = {
            **self._of(network, settings),
            "reference": digest_of_file(reference),
            "placement": digest_of(placement),
        }
        return self.kept.result(
            f"{folder}/verification.json", Verification, made_of, test, counts="certify", scratch=[journal]
        )

    def tuned(self, network: Path, placement: Placement, number: int) -> Path | None:
        """The network after some epochs under a placement's errors on fresh chips, or None where there are none."""
        if not any(placement.ber.values()):
            return None
        folder = output_folder(self.out / f"round-{number}").name
        files = (f"{folder}/network.safetensors", f"{folder}/tune.safetensors")
        wanted = self.recipe.rounds
        boost = self.recipe.recipe("boost")
        assert wanted.learning_rate is not None  # resolved
        tuning: Recipe = dataclasses.replace(
            boost,
            epochs=wanted.epochs,
            learning_rate=wanted.learning_rate,
            seed=boost.seed + number,
            clip_percentile=None,
        )

        def train(_: int) -> None:
            model = self.load(network)
            set_errors_(model, placement.errors)
            targets = {name: errors.ber for name, errors in placement.errors.items()}
            curriculum = Curriculum(model, targets, wanted.epochs, schedule="constant", seed=self.recipe.seed + number)
            train_with_progress(
                *("tune", model, self.train_set, tuning, self.task, curriculum, self.out / files[1], True),
                every=self.recipe.checkpoint_every,
            )
            set_errors_(model, dict.fromkeys(operands(model), self.errors))
            save(model, self.out / files[0])

        settings = {"recipe": dataclasses.asdict(tuning), "seed": self.recipe.seed + number}
        made_of = {
            **self._common,
            **self._train_data,
            "network": digest_of_file(network),
            "placement": digest_of(placement),
            "memory": described(self.errors),
            "settings": settings,
        }
        self.kept.do(files[0], files[:1], made_of, train, scratch=files[1:])
        return self.out / files[0]

    def results(self, write: Callable[[], Any]) -> None:
        """What the run ends with, written by ``write`` whatever there is; of other stages nothing stays."""
        self.kept.do("results", (), {}, lambda _: write(), scratch=_RESULTS, always=True)
        self.kept.drop_others()

    def _of(self, network: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What is made from a network and the validation set."""
        return {**self._common, **self._data, "network": digest_of_file(network), "settings": dict(settings)}


def _digest_of_samples(samples: TensorDataset) -> str:
    digest = SamplesDigest()
    digest.update(samples.tensors)
    return digest.hexdigest()
