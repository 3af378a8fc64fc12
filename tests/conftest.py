"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def measurements() -> Path:
    """The latency-variation measurements."""
    data = os.environ.get("EDEN_DATA")
    path = Path(data or "", "dram", "latency-variation", "data_latvar_sigmetrics2016.csv")
    if not data or not path.is_file():
        pytest.skip("EDEN_DATA names no folder with dram/latency-variation")
    return path
