"""Does what the documentation says hold: every block of code runs, every link, path, name and command is there?

Blocks of Python run page by page in one namespace, with searches that are asked less. The pages of how-to, reference
and explanation take up where a reader stands: with a network under faults, its data and a tolerance. Commands run where
they are cheap; of all others every option is checked against the command itself. A block that cannot run has a comment
before it that says why: ``<!-- not run: needs Lightning -->``.
"""

from __future__ import annotations

import ast
import functools
import gzip
import itertools
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import processes
import pytest
import tiny_task
import torch
from torch import nn
from torch.utils.data import DataLoader

import eden

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

sys.path.insert(0, str(ROOT / "tools"))
import docs_site  # noqa: E402

sys.path.pop(0)

every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)
pytestmark = pytest.mark.usefixtures("one_thread")

CHEAP = ("eden devices", "eden schema")
"""Commands that are run, and not only looked at."""

TAUGHT_ELSEWHERE = {"README.md"}
"""test_readme.py runs its Python."""


class Block(NamedTuple):
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    reason: str
    """Why it is not run; empty where it is."""


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"(?:^<!-- not run: (.*?) -->\n)?^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if found[2] in languages:
            yield Block(text.count("\n", 0, found.start(3)) + 1, found[2], found[3], found[1] or "")


def prose(page: Path) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# ---------------------------------------------------------------------------------------------------------------------
# Python


def train_one_epoch(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]], optimizer: Any = None) -> None:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()


class Named(nn.Sequential):
    """A network that has the layers which the pages name, trained."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("conv1", nn.Linear(tiny_task.FEATURES, 24))
        self.add_module("relu", nn.ReLU())
        self.add_module("fc", nn.Linear(24, tiny_task.CLASSES))


class Scale(nn.Module):
    """A layer that EDEN does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))


def where_a_reader_stands() -> dict[str, Any]:
    """What the pages of how-to, reference and explanation take for granted."""
    train_set, validation = tiny_task.data()
    model = Named()
    train_loader = DataLoader(train_set, batch_size=tiny_task.BATCH)
    for _ in range(tiny_task.TRAIN_EPOCHS):
        train_one_epoch(model, train_loader)
    loader = DataLoader(validation, batch_size=32)
    device = eden.Device.builtin("ddr3-b33")
    errors = device.errors(trcd=7.5)
    faulty = Named()
    faulty.load_state_dict(model.state_dict())
    eden.inject_(faulty, eden.Faults(errors, errors, "int8", "zero"))
    eden.calibrate_(faulty, loader)
    return {
        "eden": eden,
        "torch": torch,
        "nn": nn,
        "model": faulty,
        "clean_model": model,
        "loader": loader,
        "held_out_loader": loader,
        "x": validation[:32][0],
        "errors": errors,
        "device": device,
        "train_one_epoch": train_one_epoch,
        "geometry": eden.Geometry(),
        "failed_of_each_column": [1] * 676 + [0] * 1372,
        "failed_of_each_row": [2] * 164 + [1] * 348,
        "Scale": Scale,
    }


@pytest.fixture
def asked_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches and certificates that take a second, and prove little."""

    def less(asked: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(asked)
        def cheap(*arguments: Any, **options: Any) -> Any:
            return asked(*arguments, **{**options, "max_drop": 0.3, "confidence": 0.6, "progress": False})

        return cheap

    for name in ("profile", "certify"):
        monkeypatch.setattr(eden, name, less(getattr(eden, name)))


def write_measurements(folder: Path) -> None:
    """The files that pages name: counts on a grid, flips, a bitmap."""
    random = np.random.default_rng(0)
    cells = 2**25
    for name, temperature in (("grid.csv", 50), ("campaign.csv", 20)):
        lines = ["module,trcd,trp,temperature,pattern,bank,repeat,errors,cells"]
        for trcd, rate in ((12.5, 0.0), (7.5, 2e-5), (5.0, 4e-3)):
            for stored, bank, repeat in itertools.product(("0x00", "0xff"), range(2), range(2)):
                errors = random.poisson(rate * cells * random.normal(1, 0.05))
                lines.append(f"m7,{trcd},12.5,{temperature},{stored},{bank},{repeat},{errors},{cells}")
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "campaign.csv.gz").write_bytes(gzip.compress((folder / "campaign.csv").read_bytes()))
    flips = ["trcd,temperature,pattern,bank,row,bit,repeat"]
    for stored in ("0x00", "0xff"):
        for bank, row, bit in random.integers((3, 32768, 65536), size=(300, 3)):
            flips.extend(f"7.5,50,{stored},{bank},{row},{bit},{repeat}" for repeat in range(2))
    (folder / "flips.csv").write_text("\n".join(flips) + "\n")
    bitmap = np.zeros(4096 * 65536 // 8, np.uint8)
    bitmap[random.integers(bitmap.size, size=500)] = 1
    bitmap.tofile(folder / "retention.bin")


@pytest.mark.usefixtures("asked_less")
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in TAUGHT_ELSEWHERE and any(blocks(page, "python"))],
    ids=lambda p: p.stem,
)
def test_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")  # where classes that are pickled are looked up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if page.parent.name != "tutorials":  # those stand alone
        write_measurements(tmp_path)
        vars(module).update(where_a_reader_stands())
        prepare = _PREPARED.get(page.stem)
        if prepare is not None:
            prepare(vars(module))
    for block in blocks(page, "python"):
        if not block.reason:
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, vars(module))
    for block in blocks(page, "sh"):
        for words in commands(block.text):
            if " ".join(words).startswith(CHEAP):
                ran = processes.run("-m", "eden.app.cli", *words[1:], folder=tmp_path, timeout=300)
                assert ran.returncode == 0, ran.stderr


def _with_tolerance(names: dict[str, Any]) -> None:
    names["tolerance"] = eden.profile(names["model"], names["loader"])


_PREPARED = {"place": _with_tolerance}
"""What a single page needs beside."""


# ---------------------------------------------------------------------------------------------------------------------
# Commands, recipes


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a block, in words, with the block's own variables put in."""
    variables: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        assigned = re.fullmatch(r'([A-Z]+)="(.*)"', line)
        if assigned:
            variables[assigned[1]] = assigned[2]
            continue
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line, comments=True)
        if words:
            yield words


def test_commands_are_cut_into_words() -> None:
    assert list(commands('T="--task a:b"\neden run $T \\\n  -o x  # why\n\n')) == [
        ["eden", "run", "--task", "a:b", "-o", "x"]
    ]


def check_command(words: list[str]) -> None:
    """Fail if a command line is not one that would be understood."""
    if words[0] == "torchrun":
        words = ["eden", *words[words.index("eden.app.cli") + 1 :]]
    if words[0] == "make":
        target = next(word for word in words[1:] if "=" not in word)
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif words[0] == "python":
        assert (ROOT / words[1]).exists(), words
    elif words[0] in ("eden", "build/eden-profile"):
        leaves = docs_site.leaves()
        if words[0] != "eden":
            words = ["eden", "profile", *words[1:]]
        depth = next(n for n in (3, 2) if " ".join(words[:n]) in leaves)
        name = " ".join(words[:depth])
        leaves[name].make_context(name, [*words[depth:]])
    else:
        assert words[0] in ("pip", "cd", "git"), f"unknown: {words}"


@every_page
def test_shell(page: Path) -> None:
    for block in blocks(page, "sh"):
        if not block.reason:
            for words in commands(block.text):
                check_command(words)


def test_the_retrainings() -> None:
    """What the results name, and repeat by one command each."""
    lines = (DOCS / "results" / "retrainings.sh").read_text()
    recipes = [words for words in commands(lines) if words]
    assert len(recipes) > 10
    for words in recipes:
        check_command(words)
        assert (ROOT / words[2]).exists(), words


@every_page
def test_recipes(page: Path, tmp_path: Path) -> None:
    from eden.app.recipe import RetrainRecipe

    for block in blocks(page, "toml"):
        (tmp_path / "recipe.toml").write_text(block.text)
        RetrainRecipe.load(tmp_path / "recipe.toml")


# ---------------------------------------------------------------------------------------------------------------------
# Links, paths, names


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).replace("`", "").lower()
        found.add(re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-"))
    if "<!-- generated: " in page.read_text(encoding="utf-8"):
        found.update(re.sub(r"[^\w\- ]", "", words).replace(" ", "-") for words in docs_site.leaves())
    return found


@every_page
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} in {page.name}: no such file"
        inside = found.is_relative_to(DOCS)
        assert inside or page == PAGES[0], f"{target} leads out of the site"
        assert not anchor or anchor in slugs(found), f"{target}: no such heading; there are {sorted(slugs(found))}"


_PATH = re.compile(r"(?:eden|csrc|tests|tools|benchmarks|examples|docs|cmake)/[\w./-]*\w")


@every_page
def test_paths(page: Path) -> None:
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        for path in _PATH.findall(code):
            if not re.search(rf"[\w<{{.-]/?{re.escape(path)}|{re.escape(path)}[<*{{/]", code):
                assert (ROOT / path).exists(), f"`{code}` in {page.name}: no {path}"


@every_page
def test_names(page: Path) -> None:
    """Names of Python that a page mentions."""
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        for dotted in re.findall(r"(?<![\w./\"-])eden((?:\.[A-Za-z_]\w*)+)(?!\.?\w*\.(?:py|so|lock))", code):
            found: Any = eden
            for name in dotted[1:].split("."):
                if not hasattr(found, name):
                    __import__(f"{found.__name__}.{name}")
                found = getattr(found, name)


@every_page
def test_commands_in_prose(page: Path) -> None:
    words = {name.split()[1] for name in docs_site.leaves()} | {"COMMAND"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        command = re.match(r"eden ([A-Za-z][\w-]*)", code)
        assert command is None or command[1] in words, f"`{code}` in {page.name}"
        made = re.match(r"make ([a-z-]+)", code)
        assert made is None or made[1] in targets, f"`{code}` in {page.name}"


def test_the_reference_has_every_public_name() -> None:
    assert {name for names in docs_site.front().values() for name in names} == set(eden.__all__) - {"__version__"}


def test_every_option_has_a_meaning() -> None:
    for name, command in docs_site.leaves().items():
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.opts}"


def test_generated_pages_are_tables() -> None:
    for text in (docs_site.commands(), docs_site.files()):
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) > 100
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


@pytest.mark.slow
def test_the_site(tmp_path: Path) -> None:
    """``make docs``: every link and anchor as the site sees it."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    ran = processes.run(
        "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site"), folder=ROOT, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    for page in PAGES[1:]:
        path = page.relative_to(DOCS).with_suffix(".html")
        assert (tmp_path / "site" / (path if path.name != "README.html" else "index.html")).exists()
    reference = (tmp_path / "site" / "reference" / "python.html").read_text()
    assert all(f'id="eden.{name}"' in reference or f"eden.{name}" in reference for name in eden.__all__)


@pytest.mark.slow
def test_a_task_of_ones_own(tmp_path: Path) -> None:
    """The page's file and its commands, as they stand."""
    page = DOCS / "how-to" / "own-task.md"
    source = next(blocks(page, "python")).text
    assert ast.parse(source)
    (tmp_path / "mine.py").write_text(source)
    for words in commands(next(blocks(page, "sh")).text):
        ran = processes.run("-m", "eden.app.cli", *words[1:], folder=tmp_path, timeout=600)
        assert ran.returncode == 0, f"{words}: {ran.stderr}"
    assert (tmp_path / "page" / "index.html").exists()
