"""Fixtures that several tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


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
