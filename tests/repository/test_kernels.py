"""Did the compiler make of the CUDA kernels what their design counts on? Read from the machine code, without a GPU."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from eden.memory.library import OPS_CUDA

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import kernel_figures

SOURCES = Path(__file__).parents[2] / "csrc" / "ops" / "cuda"


def is_built() -> bool:
    """Whether there are CUDA operators, made of the sources as they are: `make test` makes them where nvcc is."""
    if not OPS_CUDA.exists():
        return False
    return OPS_CUDA.stat().st_mtime > max(path.stat().st_mtime for path in SOURCES.iterdir())


@pytest.mark.skipif(not is_built(), reason="the CUDA operators are not built of these sources (make build, with nvcc)")
def test_kernels_hold_their_limits() -> None:
    found = kernel_figures.kernels(OPS_CUDA)
    assert {kernel.architecture for kernel in found} == {80, 90}
    told = {f"sm_{kernel.architecture} {kernel.name}": kernel.faults() for kernel in found}
    assert not any(told.values()), told


def kernel(**changes: object) -> kernel_figures.Kernel:
    wide = Counter({("loads", 128): 1, ("stores", 128): 1})
    return kernel_figures.Kernel(**{"name": "k", "architecture": 90, "registers": 64, "accesses": wide, **changes})  # type: ignore[arg-type]


def test_what_is_over_a_limit_is_told() -> None:
    assert kernel().faults() == []
    assert kernel().occupancy == 0.5
    assert "registers; allowed" in kernel(registers=65).faults()[0]
    assert "an occupancy of 38%" in kernel(registers=80).faults()[1]
    assert "2 loads and stores of a thread's stack; allowed are none" in kernel(stack_accesses=2).faults()[0]
    assert "shared memory" in kernel(shared_bytes=1 << 16).faults()[0]
    assert kernel(accesses=Counter()).faults() == ["no loads of 128 bits", "no stores of 128 bits"]
    assert kernel(name="range_kernel", accesses=Counter()).faults() == ["no loads of 128 bits"]


def test_more_errors_take_more_instructions_and_leave_less_of_the_bandwidth() -> None:
    counts = [kernel_figures.instructions(rate, 4, 32) for rate in (1e-6, 1e-3, 1e-2)]
    assert counts == sorted(counts)
    shares = [kernel_figures.expected(chip, 1e-2, 4, 32) for chip in kernel_figures.CHIPS]
    assert all(0 < share <= 1 for share in shares)


def test_a_library_without_machine_code_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "_ops_cuda.so"
    empty.write_bytes(b"\x7fELF" + bytes(200))
    with pytest.raises(ValueError, match="holds no machine code of CUDA that is not compressed"):
        kernel_figures.kernels(empty)
