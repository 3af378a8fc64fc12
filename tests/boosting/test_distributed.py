"""Do two ranks under torchrun train on the same chips, each on its share, and profile, as one process does?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import on_two_ranks
import pytest
import torch
from tiny_profile import FAST, loader, make_network, profile

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    found = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"),
            *(on_two_ranks.__file__, os.fspath(folder)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stderr[-4000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def close(one: dict[str, Any], other: dict[str, Any], within: float) -> bool:
    assert one.keys() == other.keys()
    return all(torch.allclose(torch.tensor(one[name]), torch.tensor(other[name]), atol=within) for name in one)


def test_two_ranks_of_ddp_train_as_one_process(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    first, second = ({name: rank[name] for name in ("whole", "stopped", "resumed")} for rank in ranks)
    assert first == second, "the same chips, rates, losses and weights, to the bit"
    whole, resumed = first["whole"], first["resumed"]
    assert resumed["weights"] == whole["weights"]
    assert resumed["losses"] == whole["losses"]
    assert resumed["ranges"] == whole["ranges"]
    assert resumed["chips"] == whole["chips"][12:], "from the checkpoint of step 12 on"
    alone = on_two_ranks.alone_or_ddp(tmp_path / "alone.safetensors")
    assert [list(pair) for pair in alone["chips"]] == whole["chips"]
    assert len({chip for chip, _ in alone["chips"]}) == len(alone["chips"])
    # Sums are added up in another order, and now and then a value is rounded to another code.
    assert alone["losses"] == pytest.approx(whole["losses"], rel=0.01)
    assert close(alone["weights"], whole["weights"], 0.01)
    assert torch.allclose(torch.tensor(alone["ranges"]), torch.tensor(whole["ranges"]), atol=0.01)


def test_no_two_ranks_drop_alike_and_a_resumed_run_drops_as_the_whole_one(ranks: list[dict[str, Any]]) -> None:
    whole = [rank["dropped"] for rank in ranks]
    masks = [tuple(mask) for rank in whole for mask in rank["masks"]]
    assert len(set(masks)) == len(masks) == 2 * 8, "of 52 or 64 outputs each"
    assert whole[0]["weights"] == whole[1]["weights"]
    for rank in ranks:
        assert rank["ended"]["weights"] == rank["dropped"]["weights"]
        assert rank["ended"]["masks"] == rank["dropped"]["masks"][3:], "from the checkpoint of step 3 on"


def test_two_ranks_of_fsdp_train_as_one_process(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks
    alone = on_two_ranks.plain()
    for kind in ("fsdp1", "fsdp2"):
        assert first[kind]["chips"] == second[kind]["chips"] == [list(pair) for pair in alone["chips"]], kind
        assert first[kind]["weights"] == second[kind]["weights"], kind
        assert close(first[kind]["weights"], alone["weights"], 0.01), kind
    assert "allowed are whole tensors, which FSDP does not leave a network" in first["fsdp2"]["refused"]


def test_two_ranks_share_a_profile_and_find_what_one_finds(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["profiles"] for rank in ranks)
    options: dict[str, Any] = {**FAST, "effort": 2.0}
    one, budgeted, coarse = (
        profile(make_network(), loader(), **options, **more).model_dump(mode="json")
        for more in ({}, {"observations": 450}, {"coarse_only": True})
    )
    for found in (first, second):
        assert found["whole"] == one
        assert found["budgeted"] == budgeted
        # The second rank failed in the middle, and nothing before it was lost.
        assert found["resumed"] == coarse
    assert first["steps"] == list(range(sum(one["observations"].values())))
    assert second["steps"] == [], "progress is the first rank's"
    assert first["refused"][0] == "RankError: rank 1: OSError: out of order"
    assert second["refused"][0] == "OSError: out of order"
    assert "rank 1 profiles something else than rank 0: seed differs" in first["refused"][1]
    assert "rank 0 profiles something else than rank 1: seed differs" in second["refused"][1]
