"""Tries an installation of EDEN, in an empty folder: each step says what it found, and the first wrong one ends it.

python smoke.py [CUDA]: with the word CUDA, the CUDA operators must be among what was installed.
"""

import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

import eden

# SHA-256 of numbers that were read through a chip: the same on every machine and every torch.
KNOWN = "0ffa4781c52c19545e45a9bbfe262bcabceba57e8c403fe409d0785ef4753293"


def answer() -> str:
    """What chip 0 makes of 65,536 numbers."""
    words = torch.arange(1 << 16, dtype=torch.int32).mul(40503)
    read = eden.corrupt(words.view(torch.float32), eden.Uniform(ber=1e-3), seed=0)
    return hashlib.sha256(read.view(torch.int32).numpy().tobytes()).hexdigest()


def command(*arguments: str) -> str:
    """What the installed command says."""
    eden_program = Path(sys.executable).parent / "eden"
    done = subprocess.run([eden_program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"eden {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def main() -> None:
    """Import, known answers, a network under faults, commands."""
    assert not os.listdir(), f"{os.getcwd()} is not empty"
    package = Path(eden.__file__).parent
    assert package.is_relative_to(sys.prefix), f"eden is {package}; allowed is one installed in {sys.prefix}"
    assert version("eden-dram") == eden.__version__
    print(f"eden {eden.__version__} on torch {torch.__version__}, Python {sys.version.split()[0]}")
    print("libraries:", *sorted(path.name for path in package.glob("*.so")))
    assert "CUDA" not in sys.argv or (package / "_ops_cuda.so").is_file()

    found = answer()
    assert found == KNOWN, f"corrupt gives {found}; allowed is {KNOWN}"
    print("corrupt: known answers")

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10)
    )
    x = torch.rand(8, 1, 8, 8)
    before = model(x)
    errors = eden.Uniform(ber=1e-2)
    eden.inject_(model, eden.Faults(weights=errors, inputs=errors, storage="int8", correction="zero"))
    eden.calibrate_(model, [(x, torch.zeros(8))])
    faulty = model(x)
    assert faulty.shape == before.shape
    assert not torch.equal(faulty, before)
    assert bool(faulty.isfinite().all())
    eden.remove_(model)
    assert torch.equal(model(x), before)
    print("network: faults injected, calibrated, read and removed")

    assert command("--version").split() == ["eden", eden.__version__]
    assert "ddr3-b33" in command("devices", "list")
    print(command("doctor"), end="")
    print("smoke: passed")


if __name__ == "__main__":
    main()
