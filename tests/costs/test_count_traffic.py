"""Is the traffic of a network what its layers and the platform's memory make of it?"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import networks
import pytest
import torch
import traffic as benchmark
from chain import device, tolerance
from torch import nn

import eden
from eden.accounting.accounts import account
from eden.accounting.results import Free
from eden.common.files import FileError
from eden.costs.platforms import PLATFORMS, SHARES, Array, Platform
from eden.costs.traffic_file import Traffic
from eden.costs.workload import Convolution, trace
from eden.memory.errors import Uniform
from eden.reporting.page import report


def changed(platform: str, **memory: object) -> Platform:
    """A preset with other figures of its memory."""
    body = PLATFORMS[platform].model_dump()
    return Platform.model_validate({**body, "memory": {**body["memory"], **memory}})


def meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make()


IMAGE = torch.zeros(1, 3, 224, 224, device="meta")


class Shared(nn.Module):
    """Two layers that read one map, as SqueezeNet's do, and a linear one after them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.last = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat((self.first(x), self.second(x)), 1).mean((2, 3)))


SHARED = torch.zeros(1, 3, 12, 12, device="meta")


def test_a_trace_names_operands_as_faults_do():
    work = trace(meta(Shared), SHARED, "int8")
    assert [call.layer for call in work.calls] == ["first", "second", "last"]
    assert work.calls[0].inputs == work.calls[1].inputs == ("first.input",)
    assert {name: info.bytes for name, info in work.operands.items()} == {
        "first.weight": 216,
        "first.input": 432,
        "second.weight": 24,
        "last.weight": 160,
        "last.input": 16,
    }
    assert work.calls[0].loops == Convolution(1, 1, 3, (12, 12), 8, (3, 3), (1, 1), (1, 1))
    model = eden.inject_(Shared(), eden.Faults(weights=Uniform(0.0), inputs=Uniform(0.0), storage="int8"))
    sample = torch.randn(1, 3, 12, 12)
    with pytest.raises(ValueError, match=r"first\.input: its size is not known yet; run calibrate_"):
        trace(model, sample)
    eden.calibrate_(model, [sample])
    model.train()
    for platform in PLATFORMS:
        faulty = eden.traffic(model, platform, inputs=sample)
        assert faulty.operands == eden.traffic(meta(Shared), platform, inputs=SHARED, storage="int8").operands
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())


def test_an_array_reads_what_its_loops_ask_for():
    network = meta(Shared)
    moved = eden.traffic(network, changed("eyeriss", input_kib=1, filter_kib=1), inputs=SHARED, storage="int8")
    # All 432 words of the map fit in 512: once for each of two layers. 12 of 144 pixels and all 8 filters at a time:
    # the 216 words of a fold fit.
    assert moved.read_bytes["first.input"] == 2 * 432
    assert moved.read_bytes["first.weight"] == 216
    assert moved.written_bytes["first.input"] == 432
    wide = eden.traffic(network, changed("eyeriss", input_kib=1, filter_kib=1), inputs=SHARED, storage="float32")
    # 128 words of a half: neither fits, and weights are read for each of the 12 folds.
    assert wide.read_bytes["first.weight"] == 12 * 4 * 216
    assert wide.read_bytes["first.input"] > 2 * 4 * 432
    assert all("loops of 12 x 14" in note for note in wide.notes[:1])


def test_batches_share_weights():
    network = meta(Shared)
    one = eden.traffic(network, "tpu", inputs=SHARED)
    four = eden.traffic(network, "tpu", batch=4, inputs=SHARED)
    for name, operand in one.operands.items():
        share = 4 if operand.kind == "weight" else 1
        assert four.operands[name].read_bytes == operand.read_bytes / share
        assert four.operands[name].written_bytes == operand.written_bytes


def test_a_network_that_fits_in_the_cache_says_so():
    network = meta(Shared)
    first = eden.traffic(network, "cpu", inputs=SHARED, repeated=False)
    assert first.crossing_bytes == sum(one.bytes for one in first.operands.values() if one.kind == "weight")
    assert any("from the second inference in a row on nothing moves" in note for note in first.notes)
    again = eden.traffic(network, "cpu", inputs=SHARED, repeated=True)
    assert again.crossing_bytes == 0.0
    # Where nothing is said, what the cache makes of it.
    assert eden.traffic(network, "cpu", inputs=SHARED) == again
    flat = eden.traffic({"a.weight": SimpleNamespace(bytes=10, kind="weight")}, "cpu", repeated=True)
    assert flat.crossing_bytes == 0.0
    assert any("nothing moves" in note for note in flat.notes)
    large = eden.traffic(meta(networks.alexnet), "cpu", inputs=IMAGE, storage="int8", repeated=True)
    assert large.crossing_bytes >= 58_000_000
    assert not any("nothing moves" in note for note in large.notes)
    with pytest.raises(ValueError, match="repeated is True; allowed for tpu"):
        eden.traffic(network, "tpu", inputs=SHARED, repeated=True)


def test_nothing_is_saved_where_nothing_moves(tmp_path: Path):
    moved = eden.traffic(meta(Shared), "cpu", inputs=SHARED)
    sizes = {name: one.bytes for name, one in moved.operands.items()}
    placement = eden.place(tolerance(dict.fromkeys(sizes, 1e-2), bytes=sizes), device())
    fits = (
        "fit in the cache of 8388608 bytes of cpu: from the second inference in a row on nothing moves, and nothing is"
    )
    assert fits in placement.held
    assert fits in placement.table()
    for saved in (eden.savings(moved, placement), eden.savings(placement.operands, placement)):
        assert (saved.energy_reduction, saved.energy_reduction_range, saved.speedup) == (0.0, (0.0, 0.0), 0.0)
        assert fits in saved.headline[0]
        assert fits in saved.table()
        assert saved.free == Free(energy_reduction=0.0, speedup=0.0)
    accounts = account(placement.operands, placement)
    assert {name: one.nominal_nj > 0.0 for name, one in accounts.platforms.items()} == {
        **dict.fromkeys(("cpu", "gpu"), False),
        **dict.fromkeys(("eyeriss", "tpu"), True),
    }
    assert fits in accounts.summary()
    page = report(tmp_path, placement=placement, savings=eden.savings(moved, placement), account=accounts)
    assert fits in page.read_text()
    # A placement is for the first inference then, which fills the cache, whoever solves it from whatever traffic.
    first = eden.traffic(placement.operands, repeated=False)
    for solver in ("exact", "greedy"):
        for given in (None, moved, first):
            again = eden.place(tolerance(dict.fromkeys(sizes, 1e-2), bytes=sizes), device(), solver, given)
            assert again.held == placement.held
            assert eden.savings(first, again).energy_reduction > 0.0
    # An array keeps nothing: counts of nothing are refused.
    still = {
        name: one.model_copy(update={"read_bytes": 0.0, "written_bytes": 0.0}) for name, one in moved.operands.items()
    }
    with pytest.raises(ValueError, match="the traffic moves no bytes; allowed is one operand or more"):
        eden.savings(moved.model_copy(update={"operands": still, "platform": "tpu"}), placement)


def test_maps_larger_than_the_cache_cross():
    moved = eden.traffic(meta(networks.vgg16), changed("cpu", kib=1024), inputs=IMAGE, storage="float32")
    early = moved.operands["0.2.input"]
    assert early.bytes == 64 * 224 * 224 * 4
    assert early.read_bytes > 0.9 * early.bytes
    assert early.written_bytes > 0.9 * early.bytes
    # Small enough to stay while the maps stream by.
    assert moved.read_bytes["0.0.weight"] == moved.operands["0.0.weight"].bytes


def test_layers_that_are_no_convolutions():
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ConvTranspose1d(3, 2, 2, stride=2))
    moved = eden.traffic(model, "tpu", inputs=torch.zeros(1, 2, 9))
    assert moved.read_bytes == {"0.weight": 72, "0.input": 72, "1.weight": 48, "1.input": 84}
    solid = eden.traffic(nn.Conv3d(2, 3, 3), "tpu", inputs=torch.zeros(1, 2, 4, 4, 4))
    assert solid.read_bytes == {"weight": 648, "input": 512}
    assert any("1 of 1 calls of layers are neither" in note for note in solid.notes)
    with pytest.raises(ValueError, match="layer 0 is of LSTM"):
        eden.traffic(nn.Sequential(nn.LSTM(3, 3)), "tpu", inputs=torch.zeros(1, 2, 3))


def test_bad_input():
    network = meta(Shared)
    with pytest.raises(ValueError, match=r"inputs has the shape \(2, 3, 12, 12\); allowed is one sample"):
        eden.traffic(network, inputs=SHARED.expand(2, 3, 12, 12))
    with pytest.raises(ValueError, match="storage is 'int7'; allowed are 'float32'"):
        eden.traffic(network, inputs=SHARED, storage="int7")
    with pytest.raises(ValueError, match="no layer with a weight and an input"):
        eden.traffic(nn.ReLU(), inputs=SHARED)
    with pytest.raises(ValueError, match="inputs is given beside operands by name"):
        eden.traffic({"a.weight": SimpleNamespace(bytes=10, kind="weight")}, inputs=SHARED)


def test_platform_files(tmp_path: Path):
    path = tmp_path / "mine.json"
    mine = changed("tpu", dataflow="weight").model_copy(update={"name": "mine"})
    mine.save(path)
    assert Platform.named(path) == mine
    assert eden.traffic(meta(Shared), path, inputs=SHARED).platform == "mine"
    body = json.loads(path.read_text())
    for place, value, message in (
        (("memory", "rows"), 0, r"memory\.array\.rows: .*greater than or equal to 1"),
        (("memory", "dataflow"), "none", r"memory\.array\.dataflow: "),
        (("memory", "kind"), "disk", "memory: "),
        (("bus_utilization", "low"), 0, "bus_utilization is .* allowed is above 0"),
        (("row_hit_share", "high"), 1.5, "row_hit_share is .* allowed is 0 to 1"),
        (("row_hit_share", "high"), 0.1, "allowed is low <= typical <= high"),
        (("sources",), {"memory": "x"}, "sources has memory; allowed are all of"),
        (("batch",), "1", "batch: "),
    ):
        damaged = json.loads(json.dumps(body))
        owner = damaged
        for key in place[:-1]:
            owner = owner[key]
        owner[place[-1]] = value
        path.write_text(json.dumps(damaged))
        with pytest.raises(FileError, match=message):
            Platform.named(path)


def test_presets_name_their_sources():
    assert tuple(PLATFORMS) == ("cpu", "eyeriss", "gpu", "tpu")
    for name, platform in PLATFORMS.items():
        assert platform.name == name
        assert set(platform.sources) == {"memory", "batch", *SHARES}
    eyeriss = PLATFORMS["eyeriss"].memory
    assert isinstance(eyeriss, Array)
    assert (eyeriss.rows, eyeriss.columns, eyeriss.bytes) == (12, 14, 108 << 10)
    assert PLATFORMS["tpu"].on_chip_bytes == 24 << 20


OPERANDS = {
    "fc.weight": SimpleNamespace(bytes=100, kind="weight"),
    "fc.input": SimpleNamespace(bytes=10, kind="input"),
}


def test_a_table_and_a_trace_of_counts(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("operand,written_bytes,read_bytes\nfc.weight,0,1e3\n")
    moved = Traffic.from_csv(table, OPERANDS, "gpu")
    assert moved.read_bytes == {"fc.weight": 1000, "fc.input": 0}
    assert moved.platform == "gpu"
    assert moved.notes == ("Counts from table.csv, not from the network.",)
    accesses = tmp_path / "trace.csv"
    accesses.write_text("operand,access,bytes\nfc.input,write,64\nfc.weight,read,64\nfc.weight,read,36\n")
    moved = Traffic.from_csv(accesses, OPERANDS)
    assert moved.read_bytes == {"fc.weight": 100, "fc.input": 0}
    assert moved.written_bytes == {"fc.weight": 0, "fc.input": 64}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: columns are none; allowed are operand, read_bytes, written_bytes, or operand, access, bytes"),
        ("operand,bytes\n", "line 1: columns are operand, bytes"),
        ("operand,read_bytes,written_bytes\nfc.bias,1,1\n", r"line 2, operand: found 'fc\.bias', which is not among"),
        ("operand,read_bytes,written_bytes\nfc.weight,1\n", "line 2: found another number of values than the 3"),
        ("operand,read_bytes,written_bytes\nfc.weight,1,1,1\n", "line 2: found another number of values"),
        ("operand,read_bytes,written_bytes\nfc.weight,-1,1\n", "line 2, read_bytes: found '-1'; allowed is a finite"),
        ("operand,read_bytes,written_bytes\nfc.weight,1,nan\n", "line 2, written_bytes: found 'nan'"),
        ("operand,read_bytes,written_bytes\nfc.weight,1,1\nfc.weight,1,1\n", "line 3, operand: found .* a second time"),
        ("operand,access,bytes\nfc.weight,load,1\n", "line 2, access: found 'load'; allowed are 'read' and 'write'"),
        ('operand,access,bytes\n"fc.weight,read,1\n', "after line 1: "),
    ],
)
def test_damaged_counts(tmp_path: Path, text: str, message: str):
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        Traffic.from_csv(path, OPERANDS)


@pytest.mark.parametrize("array", benchmark.ARRAYS)
def test_scale_sim_counts_the_same(array: str):
    pytest.importorskip("scalesim", reason="pip install scalesim compares DRAM counts with its")
    memory = PLATFORMS[array].memory
    assert isinstance(memory, Array)
    # The shortest layers of SqueezeNet's kinds; the others take SCALE-Sim minutes (make bench-traffic).
    for shape in (
        Convolution(1, 1, 48, (13, 13), 192, (1, 1)),
        Convolution(1, 1, 256, (13, 13), 48, (1, 1)),
        Convolution(1, 1, 32, (9, 9), 64, (3, 3)),
    ):
        ours, theirs = benchmark.our_counts(shape, memory), benchmark.scalesim_counts(shape, memory)
        assert ours == pytest.approx(theirs, rel=benchmark.TOLERANCE)
