"""Does the energy match DRAMPower 4.1's figure, a calculation by hand and the package energydram?"""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from chain import Device as FakeDevice
from chain import FittedPoint, Partition, Point, cold, device, tolerance

import eden
from eden.accounting.results import Savings
from eden.common.files import FileError
from eden.costs.energy import TERMS, VDD_LAWS, Counts, Currents, energy_of, voltage_factor
from eden.memory.errors import DataDependent
from eden.memory.geometry import Geometry

COUNTS = Counts(
    activates=13387,
    precharges=13378,
    reads=48000,
    writes=2647,
    refreshes=84,
    active_cycles=788653,
    precharged_cycles=5011,
)


def one_chip(name: str) -> Currents:
    return Currents.builtin(name).model_copy(update={"chips": 1})


def total(energy: dict[str, dict[str, float]]) -> float:
    return sum(sum(terms.values()) for terms in energy.values())


def test_drampower_4_1_to_the_hundredth_of_a_pj():
    energy = energy_of(one_chip("ddr4-2400"), COUNTS)
    assert f"{sum(energy['vpp'].values()):.2f}" == "6211189.69"
    assert f"{total(energy):.2f}" == "84907191.19"


def test_the_same_by_hand():
    """The table of docs/explanation/accounting.md: 1.2 V at 1,200 MHz is 1 pJ per mA and cycle, 2.5 V are 25/12 of
    it.
    """
    energy = energy_of(one_chip("ddr4-2400"), COUNTS)
    assert energy["vdd"] == pytest.approx(
        {
            "activate": 8_745_057.75,
            "precharge": 4_816_080.0,
            "read": 26_976_000.0,
            "write": 1_320_853.0,
            "refresh": 1_945_608.0,
            "active_background": 34_700_732.0,
            "precharged_background": 191_670.75,
        },
        rel=1e-12,
    )
    vpp = {name: value for name, value in energy["vpp"].items() if value}
    assert vpp == pytest.approx({"activate": 4_405_159.6875, "precharge": 1_806_030.0}, rel=1e-12)


def test_an_activation_and_its_precharge_are_microns_activation() -> None:
    currents = one_chip("ddr4-2400")
    one = energy_of(currents, Counts(activates=1, precharges=1))["vdd"]
    charge = 60.75 * 55 - 44.0 * 39 - 38.25 * (55 - 39)
    assert sum(one.values()) == pytest.approx(1.2 * charge * currents.tck, rel=1e-12)


def test_energy_is_linear_in_the_counts() -> None:
    half = Counts(**{name: count / 2.0 for name, count in COUNTS.model_dump().items()})
    assert total(energy_of("ddr4-2400", half)) == pytest.approx(total(energy_of("ddr4-2400", COUNTS)) / 2.0, rel=1e-12)
    assert total(energy_of("ddr4-2400", Counts())) == 0.0


def test_laws_of_the_voltage() -> None:
    assert voltage_factor("linear", 1.08, 1.35) == pytest.approx(0.8)
    assert voltage_factor("quadratic", 1.08, 1.35) == pytest.approx(0.64)
    assert voltage_factor("quadratic", 1.35, 1.35) == 1.0
    for voltage, reference in ((0.0, 1.35), (1.35, math.nan), (math.inf, 1.35)):
        with pytest.raises(ValueError, match=r"voltage is (0|nan|inf); allowed is a finite number above 0"):
            voltage_factor("linear", voltage, reference)


@pytest.mark.parametrize("name", Currents.builtin_names())
def test_the_package_energydram_says_the_same(name: str):
    energydram = pytest.importorskip("energydram", reason="pip install energydram compares with its equations")
    rank = Currents.builtin(name)
    cycles = rank.cycles
    timing = energydram.Timing(RAS=cycles.tras, RP=cycles.trc - cycles.tras, RFC=cycles.trfc, RRD=4, REFI=cycles.trefi)
    for domain_name, energy in energy_of(rank, COUNTS.model_copy(update={"precharges": COUNTS.activates})).items():
        domain = rank.domains[domain_name]
        currents = energydram.IDDs(
            idd0=domain.idd0,
            idd2p=domain.idd2n,
            idd2n=domain.idd2n,
            idd3p=domain.idd3n,
            idd3n=domain.idd3n,
            idd4r=domain.idd4r,
            idd4w=domain.idd4w,
            idd5=domain.idd5,
        )
        theirs = energydram.VoltageDomain(rank.tck, domain.voltage, currents, rank.chips, rank.burst_length // 2)
        assert energy["activate"] + energy["precharge"] == pytest.approx(
            theirs.activate_energy(timing, num_act=COUNTS.activates)
        )
        assert energy["read"] + energy["write"] == pytest.approx(
            theirs.readwrite_energy(num_rd=COUNTS.reads, num_wr=COUNTS.writes)
        )
        assert energy["refresh"] == pytest.approx(theirs.refresh_energy(timing, num_ref=COUNTS.refreshes))
        assert energy["active_background"] + energy["precharged_background"] == pytest.approx(
            theirs.background_energy(
                cycles_bankact_ckehi=COUNTS.active_cycles, cycles_bankpre_ckehi=COUNTS.precharged_cycles
            )
        )


def test_vdd_lowers_only_the_supplies_that_follow_it():
    at_specification = energy_of("ddr4-2400", COUNTS)
    linear = energy_of("ddr4-2400", COUNTS, vdd=0.96)
    quadratic = energy_of("ddr4-2400", COUNTS, vdd=0.96, law="quadratic")
    assert sum(linear["vdd"].values()) == pytest.approx(0.8 * sum(at_specification["vdd"].values()))
    assert sum(quadratic["vdd"].values()) == pytest.approx(0.64 * sum(at_specification["vdd"].values()))
    assert linear["vpp"] == at_specification["vpp"] == quadratic["vpp"]
    switched = {**dict.fromkeys(TERMS, "linear"), "activate": "quadratic"}
    mixed = energy_of("ddr4-2400", COUNTS, vdd=0.96, law=switched)["vdd"]
    for term, value in mixed.items():
        assert value == (quadratic if term in ("activate", "precharge") else linear)["vdd"][term]


@pytest.mark.parametrize("name", Currents.builtin_names())
def test_a_builtin_rank_is_a_file_with_its_source(name: str, tmp_path: Path):
    rank = Currents.builtin(name)
    assert rank.name == name
    assert len(rank.source) > 40
    assert rank.burst_bytes == 64
    # JEDEC's 7.8 us within 64 ms, or 3.9 us within 32 ms.
    assert rank.trefi / rank.refresh_ms == pytest.approx(7800 / 64, rel=2e-3)
    rank.save(tmp_path / "rank.json")
    assert Currents.load(tmp_path / "rank.json") == rank
    assert all(rank.unit(term) > 0 for term in TERMS)
    assert all(rank.unit(term, 0.5) < rank.unit(term) for term in TERMS)


def test_the_standards_of_the_issue_are_there():
    assert {Currents.builtin(name).standard for name in Currents.builtin_names()} >= {
        "DDR3L",
        "DDR4",
        "LPDDR3",
        "LPDDR4",
        "LPDDR5X",
        "HBM2",
        "HBM3E",
    }


def placed(vdd: float, refresh_interval: float = 64.0) -> eden.Placement:
    point = FittedPoint(vdd=vdd, refresh_interval=refresh_interval, errors=DataDependent(1e-3, 1e-3))
    memory = FakeDevice(partitions=(Partition("bank0", points=(point,)),), nominal=Point())
    return eden.place(tolerance({"fc.weight": 0.1}, size=64_000), memory)


def terms(placement: eden.Placement, **arguments: object) -> dict[str, tuple[float, float]]:
    operands = cold({"fc.weight": SimpleNamespace(bytes=64_000, kind="weight")})
    found = eden.savings(operands, placement, "cpu", **arguments)  # type: ignore[arg-type]
    return {name: (term.nominal_nj, term.placed_nj) for name, term in found.terms.items()}


def test_savings_of_another_standard_by_hand():
    """1,000 bursts of DDR4 at 0.8 of the device's voltage: VPP's part of an activation stays."""
    found = terms(placed(1.08), currents="ddr4-2400")
    ns = 1e3 / 1200
    vdd = 8 * 1.2 * (60.75 * 55 - 44 * 39 - 38.25 * 16) * ns * 1e-3
    vpp = 8 * 2.5 * 4.05 * 55 * ns * 1e-3
    assert found["activate"] == pytest.approx((400 * (vdd + vpp), 400 * (0.8 * vdd + vpp)))
    read = 8 * 1.2 * (184.5 - 44) * 4 * ns * 1e-3
    assert found["read"] == pytest.approx((1000 * read, 800 * read))
    assert found["interface"] == (0.0, 0.0)
    quadratic = terms(placed(1.08), currents="ddr4-2400", vdd_law="quadratic")
    assert quadratic["read"] == pytest.approx((1000 * read, 640 * read))
    assert quadratic["activate"][0] == pytest.approx(found["activate"][0])


def test_ranks_are_those_that_hold_the_device():
    """A module of 2 GiB is two ranks of eight 1 Gb chips, both of which stand by; one of 4 Gb chips holds it."""
    operands = cold({"fc.weight": SimpleNamespace(bytes=64_000, kind="weight")})
    points = (FittedPoint(vdd=1.2, errors=DataDependent(1e-3, 1e-3)),)

    def saved(banks: int, currents: str, ranks: int | None = None) -> Savings:
        partitions = tuple(Partition(f"bank{i}", points=points) for i in range(banks))
        where = FakeDevice(partitions=partitions, geometry=Geometry(ranks=ranks))
        placement = eden.place(tolerance({"fc.weight": 0.1}, size=64_000), where, eden.ExactSolver(currents=currents))
        assert placement.ranks == ranks
        found = eden.savings(operands, placement, currents=currents)
        assert placement.optimum is not None
        assert placement.optimum.value == pytest.approx(1 - found.energy_reduction)
        return found

    one, two, three = (saved(banks, "ddr3-1600") for banks in (8, 16, 17))
    for term in ("background", "refresh"):
        for field in ("nominal_nj", "placed_nj"):
            whole = getattr(one.terms[term], field)
            assert getattr(two.terms[term], field) == pytest.approx(2 * whole)
            assert getattr(three.terms[term], field) == pytest.approx(3 * whole)
    assert one.terms["read"] == two.terms["read"]
    assert not any("all of them stand by" in line for line in one.headline)
    assert any("2048 MiB count as 2 ranks of eight 1 Gb DDR3-1600 chips" in line for line in two.headline)
    large, known = saved(16, "ddr3l-1600"), saved(16, "ddr3l-1600", ranks=2)
    assert known.terms["background"].nominal_nj == pytest.approx(2 * large.terms["background"].nominal_nj)
    assert any("count as 1 rank of eight 4 Gb DDR3L-1600 chips" in line for line in large.headline)
    # Of HBM nobody says what a stack holds here: any device is one rank.
    assert not any("stand by" in line for line in saved(16, "hbm2-1200").headline)


def test_refresh_intervals_of_a_standard_with_another_one():
    """LPDDR refreshes within 32 ms: twice the device's interval is twice that, not four times."""
    found = terms(placed(1.35, refresh_interval=128.0), currents="lpddr3-1600")
    assert found["refresh"][1] == pytest.approx(found["refresh"][0] / 2)


def test_a_law_by_term_and_what_was_assumed():
    laws = {**dict.fromkeys(TERMS, "linear"), "background": "quadratic"}
    linear, mixed = terms(placed(1.08)), terms(placed(1.08), vdd_law=laws)
    assert mixed["read"] == linear["read"]
    assert mixed["background"][1] == pytest.approx(0.64 * mixed["background"][0])
    operands = cold({"fc.weight": SimpleNamespace(bytes=64_000, kind="weight")})
    told = "\n".join(eden.savings(operands, placed(1.08), currents="ddr4-2400", vdd_law=laws).assumptions)
    for text in (
        "background quadratic",
        "vpp (2.5 V)",
        "interface's energy is not counted",
        *(law.text for law in VDD_LAWS.values()),
    ):
        assert text in told


def test_the_range_holds_both_laws():
    operands = cold({"fc.weight": SimpleNamespace(bytes=64_000, kind="weight")})
    one = eden.savings(operands, placed(1.08), vdd_law="linear")
    other = eden.savings(operands, placed(1.08), vdd_law="quadratic")
    assert one.energy_reduction_range == other.energy_reduction_range
    assert one.energy_reduction < other.energy_reduction


def test_bad_input(tmp_path: Path):
    placement = eden.place(tolerance({"fc.weight": 1e-2}), device())
    with pytest.raises(ValueError, match="currents are 'ddr9'; allowed are 'ddr3-1600', 'ddr3l-1600', 'ddr4-2400'"):
        eden.savings(placement.operands, placement, currents="ddr9")
    with pytest.raises(ValueError, match="vdd_law of activate is 'cubic'; allowed are 'linear', 'quadratic'"):
        eden.savings(placement.operands, placement, vdd_law="cubic")
    with pytest.raises(ValueError, match="vdd_law has the terms read; allowed are all of activate, read"):
        eden.savings(placement.operands, placement, vdd_law={"read": "linear"})
    with pytest.raises(ValueError, match="voltage is -1; allowed is a finite number above 0"):
        energy_of("ddr4-2400", COUNTS, vdd=-1.0)
    for wrong in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="reads"):
            Counts(reads=wrong)
    path = tmp_path / "rank.json"
    body = json.loads((Path(eden.__file__).parent / "costs" / "energy" / "ddr4-2400.json").read_text())
    for change, message in (
        (lambda found: found["domains"]["vdd"].pop("idd4r"), r"domains\.vdd\.idd4r: Field required"),
        (lambda found: found["domains"]["vpp"].update(idd0=-4.05), r"domains\.vpp\.idd0"),
        (lambda found: found["domains"]["vdd"].update(follows_vdd=False), "0 voltages of domains that follow VDD"),
        (lambda found: found["cycles"].update(trc=20), r"cycles: .*trc is 20 cycles; allowed is tras, 39"),
        (lambda found: found.update(clock_mhz=0), "clock_mhz"),
    ):
        changed = json.loads(json.dumps(body))
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(FileError, match=message):
            eden.savings(placement.operands, placement, currents=path)
