"""Is importing eden without side effects, and is all that it offers there and documented?"""

import inspect
import subprocess
import sys

import pytest

import eden

IMPORT = """
import random, sys
import numpy as np
import scipy.optimize, scipy.special, scipy.stats
import torch
torch.manual_seed(1); np.random.seed(2); random.seed(3)
def states():
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), keys.tolist(), rest, random.getstate()
modules, before = set(sys.modules), states()
import eden
for name in eden.__all__:
    getattr(eden, name)
assert states() == before, "a global generator was drawn from or seeded"
assert torch.initial_seed() == 1
assert not torch.cuda.is_initialized()
new = {name.partition(".")[0] for name in set(sys.modules) - modules}
assert not new & {"matplotlib", "jinja2", "sklearn", "rich", "typer"}, new
"""


def test_importing_eden_has_no_side_effects() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_every_name_that_is_offered_exists_and_is_documented() -> None:
    assert sorted(set(eden.__all__)) == eden.__all__
    for name in eden.__all__:
        offered = getattr(eden, name)
        assert inspect.isclass(offered) or inspect.isfunction(offered), name
        # A class that has none of its own inherits that of its base, or gets its signature from dataclass.
        text = vars(offered).get("__doc__") if inspect.isclass(offered) else offered.__doc__
        assert text, name
        assert not text.startswith(f"{name}("), name


def test_a_name_that_is_not_offered() -> None:
    with pytest.raises(AttributeError, match="module 'eden' has no attribute 'nothing'"):
        eden.nothing  # noqa: B018
