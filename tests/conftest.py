"""Fixtures that several tests share."""

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run side by side, one thread each: workers of several threads would wait for one another."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the workers, and by what they start


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests that share what a fixture of their file has made run in one worker, all others where a worker idles."""
    from xdist.scheduler import LoadScopeScheduling

    @functools.cache
    def shares(file: str) -> bool:
        return 'fixture(scope="module"' in (config.rootpath / file).read_text(encoding="utf-8")

    class Shared(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if shares(file) else nodeid

    return Shared(config, log)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of measurements, images and weights, or a skip that says what is missing."""
    folder = os.environ.get("EDEN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("EDEN_DATA names no folder of measurements, images and weights")
    return Path(folder)


@pytest.fixture(scope="session")
def measurements(data_folder: Path) -> Path:
    """The latency-variation measurements."""
    path = data_folder / "dram" / "latency-variation" / "data_latvar_sigmetrics2016.csv"
    if not path.is_file():
        pytest.skip("EDEN_DATA names a folder without dram/latency-variation")
    return path


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """Code that torch.compile gave up in one test is compiled in the next one, whichever runs before it."""
    convert_frame = sys.modules.get("torch._dynamo.convert_frame")
    if convert_frame is not None and convert_frame.input_codes.seen:
        torch._dynamo.reset()


@pytest.fixture(autouse=True)
def seeded_generator() -> None:
    """Tests that draw from torch's global generator draw the same numbers each time."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks only wait for other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
