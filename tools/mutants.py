"""How many wrong versions of the search do its tests catch?

Each mutant is one change of ``csrc/tolerance`` (or of the driver in Python) that makes it wrong. The changed file is
compiled beside the library that ``make build`` has made, linked with the tests of the tolerance room, and the tests
run until one fails. The mutants that are planted are the mistakes that would certify what does not hold; each of them
has to be caught. Of the others the share that is caught is printed, and those that live are named with the reason why
they may.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 600.0
"""Seconds after which a mutant that does not end counts as caught."""


@dataclass(frozen=True)
class Mutant:
    """One change that makes the search wrong."""

    what: str
    file: str
    """Of ``csrc/tolerance``, or from the root where it ends in .py."""
    old: str
    new: str
    planted: bool = False
    harmless: str = ""
    """Why no test has to see it: it changes what a search costs or where it ends, not what is claimed."""

    @property
    def path(self) -> Path:
        """The file that it changes."""
        return ROOT / self.file if self.file.endswith(".py") else ROOT / "csrc/tolerance" / self.file

    def changed(self) -> str:
        """The file's text with the change. Raises ValueError where what it changes is not there exactly once."""
        text = self.path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.what}: {self.old!r} is {text.count(self.old)} times in {self.path}; allowed is once"
            )
        return text.replace(self.old, self.new)


PLANTED = (
    Mutant(
        "peeking without correction: a z test is looked at after every observation",
        "betting.cpp",
        "  best_log_capital_ = std::max(best_log_capital_, log_capital_);\n",
        "  const double z_gap = std::max(0.0, gap) * std::sqrt(now.weight / std::max(1e-12, now.variance));\n"
        "  if (now.weight >= 30.0) log_capital_ = 0.5 * z_gap * z_gap;\n"
        "  best_log_capital_ = std::max(best_log_capital_, log_capital_);\n",
        planted=True,
    ),
    Mutant(
        "reused chips: every attempt begins with the first chip",
        "run.cpp",
        "  ask(std::move(at), Chips::kConfirmation, 0);\n",
        "  ask(std::move(at), Chips::kConfirmation, 0);\n  confirmation_chips = 0;\n",
        planted=True,
    ),
    Mutant(
        "reused chips: a confirmation sees those that its rates were chosen on",
        "run.cpp",
        "  const ChipsSeen seen = chips_seen(chips);\n",
        "  ChipsSeen seen = chips_seen(chips);\n"
        "  if (chips == Chips::kConfirmation) seen = {ChipPurpose::kSearch, kSettlingChips, confirmation_chips};\n",
        planted=True,
    ),
    Mutant(
        "a bound off by a factor of 1.5",
        "level.cpp",
        "BettingTest(settings.bound(), settings.attempt_alpha(attempt_),",
        "BettingTest(std::min(0.99, 1.5 * settings.bound()), settings.attempt_alpha(attempt_),",
        planted=True,
    ),
    Mutant(
        "a level off by a factor of 1.5",
        "settings.cpp",
        "(1.0 - confidence) * 6.0 / (std::numbers::pi",
        "(1.0 - confidence) * 9.0 / (std::numbers::pi",
        planted=True,
    ),
    Mutant(
        "a test that forgets failures: each attempt spends the whole level",
        "settings.cpp",
        "  return (1.0 - confidence) * 6.0 / (std::numbers::pi * std::numbers::pi * k * k);",
        "  return (1.0 - confidence) * k / k;",
        planted=True,
    ),
    Mutant(
        "a test that forgets failures: each attempt has the level of the first",
        "level.cpp",
        "BettingTest(settings.bound(), settings.attempt_alpha(attempt_),",
        "BettingTest(settings.bound(), settings.attempt_alpha(1),",
        planted=True,
    ),
    Mutant(
        "unpaired differences: the clean score is that of all samples",
        "eden/tolerance/drive.py",
        "np.mean(self._clean[drawn] - faulty)",
        "np.mean(self._clean.mean() - faulty)",
        planted=True,
    ),
)
"""Mistakes that would certify what does not hold."""

OTHERS = (
    Mutant("the stake may lose all", "betting.cpp", "kLargestStake = 0.95", "kLargestStake = 1.05"),
    Mutant("a smaller stake", "betting.cpp", "kLargestStake = 0.95", "kLargestStake = 0.85"),
    Mutant(
        "the stake ignores the bound", "betting.cpp", "return kLargestStake / (1.0 - bound);", "return kLargestStake;"
    ),
    Mutant("bets where the mean is above the bound", "betting.cpp", "gap <= 0.0 ? 0.0 :", "gap <= -1.0 ? 0.0 :"),
    Mutant("a bet without the gap's square", "betting.cpp", "gap / (now.variance + gap * gap)", "gap / now.variance"),
    Mutant(
        "bets with the observation at hand",
        "betting.cpp",
        "  const Belief now = belief();\n  const double gap = bound_ - now.mean;",
        "  sum_ += observation;\n  const Belief now = belief();\n  sum_ -= observation;\n"
        "  const double gap = bound_ - now.mean;",
    ),
    Mutant(
        "a gain of the wrong sign",
        "betting.cpp",
        "std::log1p(bet * (bound_ - observation))",
        "std::log1p(bet * (observation - bound_))",
    ),
    Mutant(
        "the least capital counts",
        "betting.cpp",
        "std::max(best_log_capital_, log_capital_)",
        "std::min(best_log_capital_, log_capital_)",
    ),
    Mutant(
        "no squares are kept",
        "betting.cpp",
        "sum_of_squares_ += observation * observation;",
        "sum_of_squares_ += observation;",
    ),
    Mutant("infinite observations are taken", "betting.cpp", " || std::isinf(observation)", ""),
    Mutant(
        "given up while there is hope", "betting.cpp", "now.mean - kHope * std::sqrt", "now.mean + kHope * std::sqrt"
    ),
    Mutant("never given up", "betting.cpp", "return log_capital_ + left * growth < log_target_;", "return left < 0.0;"),
    Mutant(
        "an upper bound from half the level",
        "betting.cpp",
        "(log_capital_against(middle) >= log_target_ ? high : low)",
        "(log_capital_against(middle) >= 0.5 * log_target_ ? high : low)",
    ),
    Mutant(
        "an upper bound from the last capital",
        "betting.cpp",
        "best = std::max(best, log_capital);\n  }\n  return best;",
        "best = std::max(best, log_capital);\n  }\n  return log_capital;",
    ),
    Mutant(
        "an upper bound below what bets allow",
        "betting.cpp",
        "double low = 1.0 - 1.0 / largest_bet(bound_), high = bound_;",
        "double low = -1.0, high = bound_ - 0.004;",
    ),
    Mutant(
        "one observation too many at the least",
        "betting.cpp",
        "largest_growth(bound) - 1e-9)",
        "largest_growth(bound) + 1.0)",
    ),
    Mutant(
        "a quantile of drops",
        "run.cpp",
        "if (settings.quantile <= 0.0 || by_drop) return difference;",
        "if (settings.quantile <= 1.0 || by_drop) return difference;",
    ),
    Mutant(
        "a quantile counts chips at twice the drop",
        "run.cpp",
        "return difference > settings.max_drop ? 1.0 : 0.0;",
        "return difference > 2.0 * settings.max_drop ? 1.0 : 0.0;",
    ),
    Mutant("the draw of a confirmation is the same each time", "run.cpp", "draw(trial.chip, Stream", "draw(7, Stream"),
    Mutant(
        "chips of the search are new each time",
        "run.cpp",
        "static_cast<uint64_t>(moments.count) : seen.count",
        "static_cast<uint64_t>(reported()) : seen.count",
    ),
    Mutant(
        "settled on the chips of the bisection",
        "run.cpp",
        "{steers, first + kSettlingChips, settling_chips}",
        "{steers, first, settling_chips}",
    ),
    Mutant(
        "a certificate of too many chips",
        "run.cpp",
        ".chips = moments.count,",
        ".chips = static_cast<int64_t>(confirmation_chips),",
    ),
    Mutant(
        "a certificate of other chips",
        "run.cpp",
        "(chips_seen(chips).first + confirmation_chips) - moments.count",
        "(chips_seen(chips).first + confirmation_chips)",
    ),
    Mutant(
        "a certificate of other trials",
        "run.cpp",
        "test_first_trial = reported();",
        "test_first_trial = reported() + 1;",
    ),
    Mutant(
        "passes what is above the threshold",
        "run.cpp",
        "if (seen.count >= at_most) co_return seen.mean <= threshold;",
        "if (seen.count >= at_most) co_return true;",
    ),
    Mutant(
        "the rates of a failed attempt are confirmed",
        "level.cpp",
        "    if (passed) {\n",
        "    if (passed || attempt_ == 3) {\n",
    ),
    Mutant("a failed attempt does not count", "level.cpp", "      ++failed_attempts_;\n", ""),
    Mutant(
        "a raised rate that failed is kept",
        "level.cpp",
        "      if (confirmed_) break;\n",
        "      if (confirmed_) {\n        confirmed_->rates = rates(here);\n        break;\n      }\n",
    ),
    Mutant(
        "the levels of earlier attempts are not told",
        "level.cpp",
        "for (int64_t k = 1; k <= attempt_; ++k) total_alpha",
        "for (int64_t k = attempt_; k <= attempt_; ++k) total_alpha",
    ),
    Mutant(
        "a coarse rate tested anew has the first level",
        "level.cpp",
        "  ++attempt_;\n  raises_",
        "  attempt_ = 1;\n  raises_",
    ),
    Mutant(
        "rates above their ceilings", "level.cpp", "run_.settings.floor, ceilings_[i]);", "run_.settings.floor, 1.0);"
    ),
    Mutant(
        "the coarse rate is another than was tested",
        "level.cpp",
        "run_.coarse = run_.rates.front();",
        "run_.coarse = 1.5 * run_.rates.front();",
        harmless="overwritten by the rates of the certificate before the search ends",
    ),
    Mutant(
        "limits are other rates than were tested",
        "shares.cpp",
        "    run_.limits = joint_->confirmed()->rates;\n",
        "    run_.limits = run_.rates;\n",
    ),
    Mutant(
        "the least limit is the coarse rate untested",
        "shares.cpp",
        "    co_await coarse_.confirm_also(std::log2(least));\n    keep_coarse();",
        "    run_.coarse = least;",
    ),
    Mutant(
        "shares against the weights",
        "shares.cpp",
        "const double share = weights > 0.0 ? settings.weight(i) / weights : equal;",
        "const double share = weights > 0.0 ? 1.0 - settings.weight(i) / weights : equal;",
    ),
    Mutant(
        "operands measured beside the others",
        "shares.cpp",
        "std::vector<double> rates(count_, settings.floor);",
        "std::vector<double> rates(count_, run_.coarse);",
    ),
    Mutant(
        "a sweep's steps at the whole level",
        "settings.cpp",
        "return (1.0 - confidence) / static_cast<double>(sweep_steps());",
        "return 1.0 - confidence;",
    ),
    Mutant("a sweep keeps what failed", "sweep.cpp", "        if (!pass) continue;\n", ""),
    Mutant(
        "a sweep stops at its first pass",
        "sweep.cpp",
        "while (run_.moments.count < each_) {",
        "while (run_.moments.count < each_ && !run_.test->rejected()) {",
    ),
    Mutant(
        "a report of another trial is taken",
        "search.cpp",
        "  if (id != run_.reported()) {",
        "  if (id > run_.reported()) {",
    ),
    Mutant(
        "a budget is overrun",
        "search.cpp",
        "if (run_.left() <= 0 || strategy_->hopeless()) {",
        "if (run_.left() < 0) {",
    ),
    Mutant("samples confirm twice", "samples.cpp", "seen_ + trial.confirmation * confirming_;", "seen_;"),
    Mutant(
        "decisions see samples that confirm",
        "samples.cpp",
        "draw_samples(trial.draw_seed, seen_, batch_)",
        "draw_samples(trial.draw_seed, samples_, batch_)",
    ),
    Mutant(
        "samples of data are not split by the seed",
        "samples.cpp",
        "draw(seed, Stream::kSearch, kSplit",
        "draw(0, Stream::kSearch, kSplit",
    ),
    Mutant(
        "fewer samples are asked for than data take",
        "samples.cpp",
        "  settings.confirmations = 1;  // there is an end\n",
        "",
    ),
    Mutant(
        "a bet on single samples as on many",
        "betting.cpp",
        "  if (prior_.samples > 0.0) {",
        "  if (prior_.samples > 1e9) {",
    ),
    Mutant(
        "confirmations go on without samples", "level.cpp", "    if (confirmations_left() == 0) co_return false;\n", ""
    ),
    Mutant(
        "possible drops for a fixed number of observations",
        "possible_drops.cpp",
        "std::log(0.5 * std::exp(mixed - most) + 0.5 * std::exp(none - most))",
        "std::log(4.0)",
    ),
    Mutant(
        "possible drops at the whole level each",
        "possible_drops.cpp",
        "alpha / static_cast<double>(std::max<size_t>(1, asked.size()))",
        "alpha",
    ),
    Mutant("a batch is taken for its chip", "possible_drops.cpp", "whole ? drop : shown(drop, batch)", "drop"),
    Mutant("what a batch may hide is forgotten", "possible_drops.cpp", "(whole ? 1.0 : kSeen)", "1.0"),
    Mutant("the worst half of the chips", "possible_drops.cpp", "kWorst = 0.01", "kWorst = 0.5"),
    Mutant("samples are drawn twice", "trial.cpp", "    moved[other] = at(i);\n", ""),
)
"""Smaller ones, most of them one operator or number."""


class Tests:
    """The C++ tests of the tolerance room, with one file exchanged."""

    def __init__(self, build: Path, folder: Path) -> None:
        self._build, self._folder = build, folder
        listed = subprocess.run(
            ["ninja", "-C", str(build), "-t", "commands", "eden_tests"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        self._compile = {
            words[-1]: words for line in listed if "CMakeFiles/eden_core.dir" in line and (words := shlex.split(line))
        }
        link = shlex.split(next(line for line in reversed(listed) if " -o eden_tests " in line).partition(" && ")[2])
        mine = ("tests/csrc/tolerance/", "tests/csrc/main.cpp")
        self._link = [
            word for word in link[: link.index("&&")] if ".dir/tests/" not in word or any(p in word for p in mine)
        ]

    def _run(self, words: list[str]) -> None:
        subprocess.run(words, cwd=self._build, check=True, capture_output=True, text=True)

    def caught(self, mutant: Mutant) -> str:
        """The test that fails, empty where none does."""
        source, made, program = (self._folder / name for name in (mutant.path.name, "mutant.o", "mutant"))
        source.write_text(mutant.changed(), encoding="utf-8")
        words = list(self._compile[str(mutant.path)])
        at = words.index("-MD")
        del words[at : at + 5]
        words[words.index("-o") + 1], words[-1] = str(made), str(source)
        # A change may leave something unused, which is no mistake of the tests.
        self._run([word for word in words if word not in ("-Werror", "-Wall", "-Wextra")])
        words = list(self._link)
        words[words.index("-o") + 1] = str(program)
        # Before the library, whose own version of the file is then left out.
        words.insert(words.index("libeden_core.a"), str(made))
        self._run(words)
        try:
            ended = subprocess.run(
                [program, "--abort", "--reporter", "compact"],
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "ends no more"
        if ended.returncode == 0:
            return ""
        failed = re.search(r"(test_\w+\.cpp:\d+): failed", ended.stdout)
        return failed[1] if failed else f"ends with {ended.returncode}"


def caught_in_python(mutant: Mutant, folder: Path) -> str:
    """The test of the driver that fails with a mutant of it, empty where none does."""
    package = folder / "python/eden"
    shutil.rmtree(package.parent, ignore_errors=True)
    shutil.copytree(ROOT / "eden", package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "python" / mutant.file).write_text(mutant.changed(), encoding="utf-8")
    name = f"tests/tolerance/test_{mutant.path.stem}.py"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(ROOT / name)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
    )
    return name if ended.returncode == 1 else ""


def main() -> int:
    """Print what is caught; 1 where a planted mistake or an unexplained mutant lives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="where make build has built")
    parser.add_argument("--planted", action="store_true", help="the planted ones alone")
    parser.add_argument("--only", default="", help="those whose description has this text")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    folder = build / "mutants"
    folder.mkdir(parents=True, exist_ok=True)
    tests = Tests(build, folder)
    lives: list[Mutant] = []
    every = PLANTED if arguments.planted else (*PLANTED, *OTHERS)
    mutants = [mutant for mutant in every if arguments.only in mutant.what]
    for mutant in mutants:
        found = caught_in_python(mutant, folder) if mutant.file.endswith(".py") else tests.caught(mutant)
        if not found:
            lives.append(mutant)
        print(
            f"{'planted  ' if mutant.planted else ''}{mutant.what}: {found or 'LIVES ' + mutant.harmless}", flush=True
        )
    for what, planted in (("planted mistakes", True), ("other mutants", False)):
        some = [mutant for mutant in mutants if mutant.planted == planted]
        if some:
            print(f"{what} caught: {sum(each not in lives for each in some)} of {len(some)}")
    return 1 if any(not mutant.harmless for mutant in lives) else 0


if __name__ == "__main__":
    sys.exit(main())
