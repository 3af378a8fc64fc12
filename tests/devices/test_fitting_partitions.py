"""Are ranks, banks and subarrays given rates of their own where the measurements tell them apart, and only there?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from campaign_arguments import grouped
from chip_campaign import BANKS, GEOMETRY, write_flips
from numpy.typing import NDArray
from scipy import stats

import eden
from eden import Bitline, CellMap, DataDependent, Device, Geometry, Uniform, Wordline
from eden.devices.fitting.differences import compare_counts, compare_readings
from eden.devices.likelihoods import Counts, Lines
from eden.memory.errors import ErrorModel

TESTED = {"banks": 3, "rows": 128, "row_bits": 1024}
POINT = (("trcd", 7.5), ("temperature", 50.0))

pytestmark = pytest.mark.usefixtures("one_thread")


def measured(path: Path, partitions: str | None, **options: object) -> Device:
    given = {"geometry": GEOMETRY, "trcd": 12.5, **TESTED, **options}
    return eden.fit(path, partitions=partitions, **grouped(given))


def names(device: Device) -> list[str]:
    return [part.name for part in device.partitions]


def of_subarrays(path: Path, models: Sequence[ErrorModel], seed: int, passes: int = 1) -> Path:
    """Flips of a chip whose subarrays, the same in all banks, have models of their own."""
    lines: list[str] = []
    for number, model in enumerate(models):
        text = write_flips(path, {POINT: model}, seed + number, passes=passes).read_text().splitlines()
        row = text[0].split(",").index("row")
        lines = lines or text[:1]
        lines += [line for line in text[1:] if int(line.split(",")[row]) // GEOMETRY.subarray_rows == number]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "model",
    [
        Uniform(5e-3, 0.7),
        DataDependent(2e-3, 8e-3),
        Bitline(1e-2, 0.1, geometry=GEOMETRY),
        Wordline(1e-2, 0.05, geometry=GEOMETRY),
    ],
    ids=["uniform", "data_dependent", "bitline", "wordline"],
)
def test_noise_is_not_sold_as_structure(model: ErrorModel, tmp_path: Path) -> None:
    devices = [
        measured(write_flips(tmp_path / "a.csv", {POINT: model}, 100 + seed, passes=2), "subarray") for seed in range(5)
    ]
    # Fifteen banks and five modules, each told apart wrongly with 1% at most: two of them with 2% at most.
    assert sum(names(device) != ["module", "bank3"] for device in devices) <= 1
    device = next(device for device in devices if names(device) == ["module", "bank3"])
    assert device.partitions[0].kind == "module"
    assert device.partitions[0].capacity_bytes == 3 * GEOMETRY.bank_rows * GEOMETRY.row_bits // 8
    # The whole's figures are those of the tested banks, which are all that is left together.
    assert device.partitions[0].points == device.whole.points
    told = [note for note in device.notes if "do not differ beyond chance and are left together" in note]
    assert len(told) == 4
    assert told[0].startswith("the 2 subarrays of bank0 do not differ")
    assert told[3].startswith("the 3 banks of the module do not differ")


def test_subarrays_that_differ_have_rates_of_their_own(tmp_path: Path) -> None:
    models = [Uniform(2e-3), Uniform(1e-2)]
    path = of_subarrays(tmp_path / "a.csv", models, 7, passes=2)
    measured(path, "subarray").save(tmp_path / "device.json")
    device = Device.load(tmp_path / "device.json")
    assert names(device) == [*(f"bank{bank}.subarray{number}" for bank in BANKS for number in (0, 1)), "bank3"]
    for bank in BANKS:
        for number, model in enumerate(models):
            part = device.partition(f"bank{bank}.subarray{number}")
            assert part.kind == "subarray"
            assert part.address == GEOMETRY.address(bank=bank, subarray=number)
            assert part.capacity_bytes == GEOMETRY.subarray_rows * GEOMETRY.row_bits // 8
            # 130 and 650 cells: six standard errors.
            assert part.errors(trcd=7.5).ber == pytest.approx(model.ber, rel=0.53 if number == 0 else 0.24)
            low, high = part.point(trcd=7.5).zero
            assert high / low < 2.0
    assert any("the 2 subarrays of bank0 differ and have rates of their own: p = " in note for note in device.notes)
    # The coarser forms, from the same file.
    assert names(measured(path, "bank")) == ["module", "bank3"]
    assert names(measured(path, None)) == ["bank0", "bank1", "bank2", "bank3"]


def test_banks_that_differ_and_a_reliable_one_between_others(tmp_path: Path) -> None:
    text = write_flips(tmp_path / "a.csv", {POINT: Uniform(2e-3)}, 11).read_text().splitlines()
    bank = text[0].split(",").index("bank")
    worse = write_flips(tmp_path / "b.csv", {POINT: Uniform(8e-3)}, 12).read_text().splitlines()
    lines = [line for line in text[1:] if line.split(",")[bank] != "2"]
    lines += [line for line in worse[1:] if line.split(",")[bank] == "2"]
    (tmp_path / "c.csv").write_text("\n".join([text[0], *lines]) + "\n")
    device = measured(tmp_path / "c.csv", "bank")
    assert names(device) == ["bank0", "bank1", "bank2", "bank3"]
    assert any("the 3 banks of the module differ" in note for note in device.notes)
    between = measured(tmp_path / "a.csv", "module", reliable="bank1")
    assert names(between) == ["module.banks0-0".removesuffix("-0"), "bank1", "module.banks2", "bank3"]
    first, last = between.partition("module.banks0"), between.partition("module.banks2")
    assert first.points == last.points
    assert [part.nominal for part in between.partitions] == [False, True, False, True]


def test_ranks(tmp_path: Path) -> None:
    geometry = Geometry(row_bits=1024, subarray_rows=64, bank_rows=128, banks=2, ranks=2)
    flat = Geometry(row_bits=1024, subarray_rows=64, bank_rows=128, banks=4)
    rank0 = write_flips(tmp_path / "a.csv", {POINT: Uniform(3e-3)}, 21, banks=(0, 1), geometry=flat).read_text()
    for rate, found in ((3e-3, ["bank0", "module"]), (1e-2, ["bank0", "bank1", "rank1"])):
        model = {POINT: Uniform(rate)}
        rank1 = write_flips(tmp_path / "b.csv", model, 22, banks=(2, 3), geometry=flat).read_text().splitlines()[1:]
        (tmp_path / "c.csv").write_text(rank0 + "\n".join(rank1) + "\n")
        device = measured(tmp_path / "c.csv", "bank", geometry=geometry, banks=4)
        assert names(device) == found
        assert device.geometry.ranks == 2
        assert sum(part.capacity_bytes for part in device.partitions) == 2 * geometry.capacity_bits // 8
    assert device.partition("rank1").kind == "rank"
    assert device.partition("rank1").address == geometry.capacity_bits
    assert names(measured(tmp_path / "c.csv", "module", geometry=geometry, banks=4)) == ["bank0", "module"]
    assert names(measured(tmp_path / "c.csv", None, geometry=geometry, banks=4)) == [f"bank{bank}" for bank in range(4)]


def test_counts_of_banks_tell_banks_apart_from_the_dispersion_between_readings(tmp_path: Path) -> None:
    cells = 2**25

    def fitted(scales: Sequence[float], seed: int, form: str = "bank") -> Device:
        random = np.random.default_rng(seed)
        lines = ["trcd,trp,temperature,pattern,bank,repeat,errors,cells"]
        for trcd, rate in ((12.5, 0.0), (7.5, 1e-4), (5.0, 1e-2)):
            for pattern in ("0x00", "0xff"):
                for repeat in range(5):
                    for bank, scale in enumerate(scales):
                        errors = random.binomial(cells, min(rate * scale * random.lognormal(0.0, 0.2), 1.0))
                        lines.append(f"{trcd},12.5,50,{pattern},{bank},{repeat},{errors},{cells}")
        (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
        return eden.fit(tmp_path / "a.csv", partitions=form)  # type: ignore[arg-type]

    # Of six modules, each told apart wrongly with 1% at most, two are with 0.2% at most.
    assert sum(names(fitted((1.0,) * 4, seed)) != ["bank0", "module"] for seed in range(6)) <= 1
    device = fitted((1.0, 1.0, 1.0, 2.0), 0)
    assert names(device) == ["bank0", "bank1", "bank2", "bank3"]
    assert device.errors(trcd=5.0, partition="bank3").ber == pytest.approx(2e-2, rel=0.5)
    together = fitted((1.0, 1.0, 1.0, 2.0), 0, "module")
    assert names(together) == ["bank0", "module"]
    assert any("3 banks of the module differ, and are left together as asked: the rates" in n for n in together.notes)
    assert not any("as asked" in note for note in fitted((1.0,) * 4, 1, "module").notes)
    with pytest.raises(ValueError, match=r"partitions is 'subarray', but counts counts banks; allowed"):
        fitted((1.0,) * 4, 0, "subarray")
    with pytest.raises(ValueError, match=r"partitions is 'wafer'; allowed are module, rank, bank, subarray"):
        fitted((1.0,) * 4, 0, "wafer")


def test_cell_maps_of_subarrays_are_those_of_their_bank(tmp_path: Path) -> None:
    path = write_flips(tmp_path / "a.csv", {POINT: Uniform(5e-3)}, 31)
    banks, subarrays = (measured(path, form, cell_map=True) for form in (None, "subarray"))
    assert len(subarrays.partitions) == 7
    for bank in BANKS:
        whole = banks.errors(trcd=7.5, partition=f"bank{bank}")
        parts = [subarrays.errors(trcd=7.5, partition=f"bank{bank}.subarray{number}") for number in (0, 1)]
        assert isinstance(whole, CellMap)
        size = GEOMETRY.subarray_rows * GEOMETRY.row_bits
        cells = np.concatenate([part.cells + size * i for i, part in enumerate(parts)])  # type: ignore[attr-defined]
        np.testing.assert_array_equal(cells, whole.cells)
    with pytest.raises(ValueError, match=r"partitions is 'module' with cell_map; allowed are bank and subarray"):
        measured(path, "module", cell_map=True, rows=range(0, 128), geometry=Geometry(1024, 64, 256, 4))


def test_rows_that_were_not_tested_have_the_rates_of_their_bank(tmp_path: Path) -> None:
    path = of_subarrays(tmp_path / "a.csv", [Uniform(2e-3), Uniform(1e-2)], 41)
    device = measured(path, "subarray", geometry=Geometry(1024, 64, 192, 4))
    third, whole = device.partition("bank1.subarray2"), measured(path, None, geometry=Geometry(1024, 64, 192, 4))
    assert third.points == whole.partition("bank1").points


def clusters(
    random: np.random.Generator, rate: float, rho: float, axis: str, rows: int = 64, bits: int = 256
) -> NDArray[np.bool_]:
    """The failing cells of a subarray whose lines have Beta distributed rates."""
    total = 1 / rho - 1
    lines = random.beta(rate * total, (1 - rate) * total, (rows, 1) if axis == "wordline" else (1, bits))
    return random.random((rows, bits)) < lines


@pytest.mark.parametrize("kind", ["independent", "bitline", "wordline", "both"])
def test_differences_are_found_by_chance_as_often_as_stated(kind: str) -> None:
    draws, found = 300, 0
    for seed in range(draws):
        random = np.random.default_rng(seed)
        parts = []
        for _ in range(6):
            if kind == "independent":
                failed = random.random((64, 256)) < 0.02
            elif kind == "both":
                failed = clusters(random, 0.01, 0.05, "bitline") | clusters(random, 0.01, 0.02, "wordline")
            else:
                failed = clusters(random, 0.02, 0.05, kind)
            parts.append(
                Counts.of_lines(bitlines=Lines(64, failed.sum(axis=0)), wordlines=Lines(256, failed.sum(axis=1)))
            )
        test = compare_counts(parts)
        assert test is not None
        found += test.p_value < 0.05
    # 5% of 300 and no more: above 28 with a probability of 5e-4; four such counts.
    assert found <= stats.binom.isf(5e-4, draws, 0.05)
    # Nor so careful that it finds nothing: independent cells, twice the rate in one part of six.
    random = np.random.default_rng(0)
    parts = [Counts.of_lines(wordlines=Lines(256, random.binomial(256, rate, 64))) for rate in (0.02,) * 5 + (0.04,)]
    test = compare_counts(parts)
    assert test is not None
    assert test.p_value < 1e-6


def test_readings_differ_by_chance_as_often_as_stated() -> None:
    draws, found = 150, 0
    for seed in range(draws):
        random = np.random.default_rng(seed)
        total = 1 / (0.1 * 1e-3)
        parts = [
            [(float(random.binomial(2**25, p)), 2.0**25) for p in random.beta(1e-3 * total, total, 3)] for _ in range(4)
        ]
        test = compare_readings(parts)
        assert test is not None
        found += test.p_value < 0.05
    assert found <= stats.binom.isf(5e-4, draws, 0.05)
    assert found >= stats.binom.ppf(5e-4, draws, 0.05)
    assert compare_readings([[(0.0, 100.0)], [(0.0, 100.0)]], 0.0) is None
    assert compare_readings([[(3.0, 100.0)]], 0.0) is None
    alone = compare_readings([[(30.0, 1000.0)], [(90.0, 1000.0)]], 0.0)
    assert alone is not None
    assert alone.p_value == pytest.approx(float(stats.chi2.sf(alone.statistic, 1)))
    assert alone.p_value < 1e-6


def test_a_sweep_of_flips_has_curves(tmp_path: Path) -> None:
    """Cells whose needed latency is normal: 0.5 at 4 ns, a spread of 1.5 ns."""
    model = {
        (("trcd", at), ("temperature", 50.0)): Uniform(float(stats.norm.cdf((4.0 - at) / 1.5)))
        for at in (10.0, 9.0, 8.0, 7.0, 6.0, 5.0)
    }
    path = write_flips(tmp_path / "a.csv", model, 51)
    device = measured(path, "bank", bank_curves=True)
    assert [(curve.parameter, curve.stored) for curve in device.whole.curves] == [("trcd", "zero"), ("trcd", "one")]
    for curve in device.whole.curves:
        assert (curve.mildest, curve.harshest) == (10.0, 5.0)
        # 3,800 cells of 393,216 at 7.5 ns: six standard errors.
        assert curve.rate(7.5) == pytest.approx(float(stats.norm.cdf(-3.5 / 1.5)), rel=0.1)
        assert curve.intervals is not None
        for name, truth in (("location", 4.0), ("scale", 1.5)):
            low, high = getattr(curve.intervals, name)
            assert low < truth < high
        assert curve.open == ()
    assert device.partitions[0].curves == device.whole.curves
    answer = device.whole.point(trcd=7.5, between="curve")
    assert answer.basis == "curve"
    assert device.errors(trcd=8.0).ber < answer.errors.ber < device.errors(trcd=7.0).ber
    two = dict(list(model.items())[:2])
    assert measured(write_flips(tmp_path / "b.csv", two, 51), None).whole.curves == ()
    assert measured(path, None, cell_map=True).whole.curves == ()


def test_cells_that_all_fail_in_part_of_a_subarray(tmp_path: Path) -> None:
    """56 of 200 tested rows have 56 / 200 of a pass's errors, which rounds to more errors than they have cells."""
    geometry = Geometry(row_bits=128, subarray_rows=64, bank_rows=256, banks=2)
    rows = range(8, 208)
    lines = ["trcd,temperature,pattern,bank,row,bit,repeat"]
    assert len(rows) * 128 * (56 / 200) > 56 * 128
    for repeat in range(2):
        for row in rows:
            sparse = 16 if row < 64 else 2
            lines += [f"7.5,50,0x00,0,{row},{bit},{repeat}" for bit in range(128)]
            lines += [f"7.5,50,0xff,0,{row},{bit},{repeat}" for bit in range(0, 128, sparse)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n")
    device = measured(path, "subarray", geometry=geometry, banks=1, rows=rows, row_bits=128)
    assert "bank0.subarray0" in names(device)
    # All zeros fail, and one in 16 of the ones: each value has its own rate, whatever the lines do.
    errors = device.partition("bank0.subarray0").errors(trcd=7.5)
    assert (errors.ber_zero, errors.ber_one) == (1.0, 0.0625)
