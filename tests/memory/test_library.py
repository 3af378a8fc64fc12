"""Are the CUDA operators loadable without a GPU, and is their absence named?"""

import processes
import pytest
import torch

from eden.memory import library as _library


@pytest.mark.skipif(not _library.OPS_CUDA.exists(), reason="built without nvcc: there are no CUDA operators")
def test_the_cuda_library_loads_and_registers():
    # In a process of its own: what is registered stays registered.
    code = (
        "import torch, eden; from eden.memory import library as _library; _library.load_cuda();"
        "has = torch._C._dispatch_has_kernel_for_dispatch_key;"
        "print([has(f'eden::{name}', 'CUDA') for name in ('corrupt', 'corrupt_', 'corrupt_out')])"
    )
    done = processes.run("-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "[True, True, True]"), done.stderr


def test_a_missing_cuda_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "OPS_CUDA", tmp_path / "_ops_cuda.so")
    with pytest.raises(ImportError, match="no CUDA operators"):
        _library.load_cuda()


def test_missing_operators_and_an_old_torch_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "OPS", tmp_path / "_ops.so")
    with pytest.raises(ImportError, match="operators are not built"):
        _library.load()
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(ImportError, match=r"torch 2\.10 or later, found 2\.9\.1"):
        _library.load()
