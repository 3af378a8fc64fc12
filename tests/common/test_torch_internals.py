"""What torch does not promise to keep stands in one module."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch

import eden
from eden.common import torch_internals

PACKAGE = Path(eden.__file__).parent
PRIVATE = re.compile(r"\b(?:torch|nn)(?:\.\w+)*\._[A-Za-z]\w*|_current_level|_dynamo_marked_constant")


def test_no_other_module_uses_what_torch_does_not_promise():
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != Path(torch_internals.__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if PRIVATE.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["x = torch._C._get()", "from torch.utils._python_dispatch import T", "torch._foo(x)"])
def test_a_use_is_found(line):
    assert PRIVATE.search(line)


def test_a_plain_call_is_one_without_transforms_and_modes():
    assert torch_internals.plain()
    assert not torch_internals.transformed()
    assert not torch_internals.recomputing()
    seen = []
    torch.func.vmap(lambda x: seen.append((torch_internals.plain(), torch_internals.is_batched(x))) or x)(torch.ones(2))
    assert seen == [(False, True)]
    assert torch_internals.overlaps_itself(torch.ones(1).expand(2))
    assert not torch_internals.overlaps_itself(torch.ones(2))


def test_strided_elements_that_share_memory_are_told_from_those_apart():
    memory = torch.arange(200)
    shapes, every = itertools.product(range(4), repeat=3), list(itertools.product(range(7), repeat=3))
    for sizes, strides in itertools.product(shapes, every):
        view = memory.as_strided(sizes, strides)
        assert torch_internals.overlaps_itself(view) == (view.unique().numel() < view.numel()), (sizes, strides)


def test_constants_are_marked_as_torch_marks_them() -> None:
    """The mark is set without the compiler, which alone would tell when torch changed it."""

    def ours() -> None: ...

    def torchs() -> None: ...

    torch_internals.assume_constant(ours)
    torch.compiler.assume_constant_result(torchs)
    assert vars(ours) == vars(torchs) != {}
