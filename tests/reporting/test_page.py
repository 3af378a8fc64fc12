"""Is the report one page that needs nothing else, says what it was given, and fails before it writes?"""

import html.parser
import os
import re
from pathlib import Path

import chain
import pytest

import eden
from eden.app import cli
from eden.common.files import FileError
from eden.devices.partition import LeftOut
from eden.reporting import page as reporting
from eden.reporting.accuracy import AccuracyCurves, AccuracyPoint
from eden.reporting.page import ReportError
from eden.reporting.plots.devices import device_figure, swept
from eden.reporting.sections import PARTS
from eden.reporting.sections.device import left_out
from eden.reporting.text import folded, point_text, rate_text
from eden.tolerance.tolerance import Certificate
from eden.tolerance.verification import Verification

SECTIONS = ("summary", "accuracy", "tolerance", "device", "placement", "savings", "provenance")
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(html.parser.HTMLParser):
    """Checks that elements nest, and collects ids, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> does not nest"

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert not page.open
    return page


def curves(label: str = "boosted") -> AccuracyCurves:
    points = [
        AccuracyPoint(label=name, ber=ber, mean=mean, low=mean - 0.01, high=mean + 0.01, chips=20)
        for name, means in (("baseline", (0.93, 0.9, 0.4)), (label, (0.93, 0.92, 0.8)))
        for ber, mean in zip((0.0, 1e-4, 1e-2), means, strict=True)
    ]
    return AccuracyCurves(points=points, network="ResNet-8", seed=11, tolerated={"baseline": 1e-4, label: 1e-3})


@pytest.fixture(scope="module")
def parts() -> dict[str, object]:
    device = eden.Device.builtin("ddr3-b33")
    limits = {f"layer{i}.conv.{kind}": 10.0 ** -(1 + i) for i in range(6) for kind in ("weight", "input")}
    tolerance = chain.tolerance(limits, model=device.errors(trcd=5.0))
    placement = eden.place(tolerance, device)
    savings = eden.savings(chain.cold(placement.operands), placement)
    return {
        "device": device,
        "tolerance": tolerance,
        "placement": placement,
        "savings": savings,
        "accuracy": curves(),
    }


def test_the_page_stands_alone_and_has_every_section(parts: dict, tmp_path: Path):
    path = eden.report(tmp_path / "out", **parts, title="A <report> & more")
    assert path == tmp_path / "out" / "index.html"
    page = parse(path)
    assert path.read_text().count("<script>") == 1
    assert page.references
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    text = path.read_text()
    assert not re.search(r"@import|url\((?!#)", text)
    assert set(SECTIONS) <= set(page.ids)
    assert text.count("<svg") == 4
    assert "A <report> & more" in page.text
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(
        ["index.html", *(f"{name}.json" for name in parts)]
    )
    assert AccuracyCurves.load(path.parent / "accuracy.json") == parts["accuracy"]
    assert eden.Placement.load(path.parent / "placement.json") == parts["placement"]


def test_the_summary_says_what_an_architect_acts_on(parts: dict, tmp_path: Path):
    text = re.sub(r"\s+", " ", parse(eden.report(tmp_path, **parts)).text)
    for sentence in (
        "ResNet-8 keeps 12 operands (11.72 KiB, int8) in memory",
        "its accuracy (top1) is 93.0%; a mean drop over chips of up to 1 percentage point is accepted, with 95% confid",
        "confirmed on 60 chips that the search never used",
        "tolerates from 1 × 10⁻⁴ (baseline) to 1 × 10⁻³ (boosted), 10 times as much",
        "The memory is ddr3-b33: 1 GiB in 8 partitions",
        "Of the operands' bytes,",
        "of the DRAM's energy on cpu (",
        "Energy depends on VDD by the linear law in the typical case, and the range includes all linear and all",
        "Asked the mean drop over chips of top1, from 93.0% on reliable memory, is at most 1 percentage point, with",
        "Not certified this report holds no verification of the placement (eden certify makes one).",
    ):
        assert sentence in text
    shares = [float(share) for share in re.findall(r"([\d.]+)% at 1\.\d+ V", text.split("Of the operands' bytes, ")[1])]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    for name in parts["tolerance"].limits:
        assert name in text


def test_limits_say_which_chips_they_rest_on_and_of_what_they_are(parts: dict, tmp_path: Path):
    rare = parts["tolerance"].coarse_certificate.model_copy(update={"worst": 0.4, "worst_share": 0.7})
    tolerance = parts["tolerance"].model_copy(update={"limits_certificate": rare})
    text = re.sub(r"\s+", " ", parse(eden.report(tmp_path, tolerance=tolerance)).text)
    assert "a few chips make the drop: the worst hundredth of 60 makes 70% of it, the worst lost 40.0%" in text
    assert tolerance.claim in text


@pytest.mark.parametrize("name", ["device", "tolerance", "placement", "savings", "accuracy"])
def test_each_part_can_be_reported_alone(parts: dict, tmp_path: Path, name: str):
    page = parse(eden.report(tmp_path, **{name: parts[name]}))
    assert name in page.ids
    assert not (set(SECTIONS) - {name, "summary", "provenance"}) & set(page.ids)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["index.html", f"{name}.json"])


def test_names_are_escaped_and_are_no_formulas(tmp_path: Path):
    name = "<script>alert(1)</script>$x_1$.weight"
    path = eden.report(tmp_path, tolerance=chain.tolerance({name: 1e-3}), accuracy=curves("<img src=x>"))
    page = parse(path)
    assert "img" not in page.tags
    assert path.read_text().count("<script") == 1
    assert page.text.count(name) >= 2


@pytest.mark.parametrize("builtin", ["ddr3-b3", "ddr3-p9", "ddr3-g35", "ddr3-vendor-b"])
def test_every_kind_of_device_of_the_catalogue(tmp_path: Path, builtin: str):
    page = parse(eden.report(tmp_path, device=eden.Device.builtin(builtin)))
    assert builtin in page.text


def test_limits_at_the_floor_and_many_operands(tmp_path: Path):
    limits = {f"layer{i}.weight": 1e-9 * (1 + i) for i in range(80)}
    tolerance = chain.tolerance(limits, guarantee=("quantile", 0.95), float_accuracy=0.94, limits_certificate=None)
    page = parse(eden.report(tmp_path, tolerance=tolerance))
    assert "a drop of 95% of the chips of up to 1 percentage point" in page.text
    assert "(as a float network 94.0%)" in page.text
    assert "The figure shows the 60 least tolerant" in page.text
    assert "layer79.weight" in page.text


def test_what_operands_stand_alone(tmp_path: Path):
    limits = {"conv.weight": 2e-3, "conv.input": 1e-4}
    alone = {
        "conv.weight": {"rate": 4e-3, "low": 3e-3, "high": 6e-3, "slope": 1.2, "observations": 30},
        "conv.input": {"rate": 5e-1, "low": 2e-1, "high": 5e-1, "slope": 1.0, "observations": 20},
    }
    page = parse(eden.report(tmp_path / "with", tolerance=chain.tolerance(limits, alone=alone)))
    assert f"{rate_text(3e-3)} to {rate_text(6e-3)}" in page.text
    assert "drop per BER" in page.text
    assert "would lose 1 percentage point, all others on nearly reliable memory" in page.text
    assert "drop per BER" not in parse(eden.report(tmp_path / "without", tolerance=chain.tolerance(limits))).text


def test_an_unusable_folder_fails_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def computed(*_: object) -> None:
        raise AssertionError("computed first")

    monkeypatch.setitem(reporting.PARTS, "accuracy", PARTS["accuracy"]._replace(section=computed))
    blocked = tmp_path / "file"
    blocked.write_text("")
    for folder in (blocked, blocked / "out"):
        with pytest.raises(FileError, match="cannot be used as an output folder"):
            eden.report(folder, accuracy=curves())
    if os.geteuid() != 0:
        sealed = tmp_path / "sealed"
        sealed.mkdir(mode=0o500)
        with pytest.raises(FileError, match="cannot be used as an output folder"):
            eden.report(sealed, accuracy=curves())


def boom(*_: object, **__: object) -> None:
    raise ZeroDivisionError("the axis has <no> length")


def test_a_figure_that_fails_leaves_the_rest(parts: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("eden.reporting.sections.tolerance._figure", boom)
    with pytest.raises(ReportError) as raised:
        eden.report(tmp_path, **parts)
    page = tmp_path / "index.html"
    why = "ZeroDivisionError: the axis has <no> length"
    assert raised.value.page == page
    assert raised.value.failed == {"the figure of tolerance": why}
    assert str(raised.value) == f"{page} is written, but lacks the figure of tolerance: {why}"
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert page.read_text().count("<svg") == 3
    text = re.sub(r"\s+", " ", parse(page).text)
    assert f"this figure could not be drawn ({why}). Its numbers are in tolerance.json." in text
    # The section's table and all the others are there.
    assert "Operands from the least to the most tolerant" in text
    assert set(SECTIONS) <= set(parse(page).ids)
    assert eden.Tolerance.load(tmp_path / "tolerance.json") == parts["tolerance"]


def test_a_part_that_fails_leaves_the_rest(parts: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(reporting.PARTS, "savings", PARTS["savings"]._replace(section=boom))
    monkeypatch.setattr("eden.reporting.page.summary", boom)
    monkeypatch.setattr("eden.reporting.page.provenance", boom)
    with pytest.raises(ReportError) as raised:
        eden.report(tmp_path, **parts)
    assert list(raised.value.failed) == ["the part savings", "the summary", "its provenance"]
    page = parse(raised.value.page)
    assert set(SECTIONS) <= set(page.ids)
    assert raised.value.page.read_text().count("<svg") == 4
    assert (
        "This part could not be shown (ZeroDivisionError: the axis has <no> length). It is in savings.json."
        in page.text
    )


def test_the_files_are_there_before_the_page(parts: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("eden.reporting.page._render", boom)
    with pytest.raises(ZeroDivisionError):
        eden.report(tmp_path, **parts)
    read, problems = reporting.read_parts(reporting.paths_in(tmp_path))
    assert read == parts
    assert not problems


def test_what_is_not_there_is_named_with_what_makes_it(parts: dict, tmp_path: Path):
    page = parse(eden.report(tmp_path, tolerance=parts["tolerance"], device=parts["device"]))
    assert "absent" in page.ids
    told = re.sub(r"\s+", " ", page.text.split("Not in this report")[1].split("Provenance")[0]).strip()
    assert told == (
        "accuracy (made by eden evaluate) placement (made by eden place) verification (made by eden certify) "
        "memory-map (made by eden memory-map) account (made by eden account) pareto (made by eden run, with "
        "account.max_drops in its recipe) savings (made by eden savings)"
    )


def test_parts_that_cannot_be_read_leave_the_others(parts: dict, tmp_path: Path):
    parts["tolerance"].save(tmp_path / "tolerance.json")
    curves("first").save(tmp_path / "one.json")
    curves("second").save(tmp_path / "other.json")
    (tmp_path / "savings.json").write_text("{")
    read, problems = reporting.read_parts(
        {
            "accuracy": [tmp_path / "one.json", tmp_path / "other.json"],
            "tolerance": [tmp_path / "tolerance.json"],
            "savings": [tmp_path / "savings.json"],
            "placement": [tmp_path / "none.json"],
        }
    )
    assert read["accuracy"].labels == ("baseline", "first", "second")
    assert read["tolerance"] == parts["tolerance"]
    assert list(problems) == ["savings", "placement"]
    with pytest.raises(ReportError, match=r"savings: .*truncated.*; placement: .*none\.json: cannot be read") as raised:
        eden.report(tmp_path / "out", **read, lacks=problems)
    assert "none.json: cannot be read: No such file" in parse(raised.value.page).text
    with pytest.raises(ValueError, match=r"nothing to report; .*none\.json: cannot be read"):
        eden.report(tmp_path / "nothing", lacks={"placement": problems["placement"]})
    with pytest.raises(FileError, match=r"found nothing to report; allowed is a folder with one or more of accuracy\."):
        reporting.paths_in(tmp_path / "nothing")


def test_accuracies_at_their_ends_are_drawn(tmp_path: Path):
    for accuracy in (0.0, 0.995, 1.0):
        point = AccuracyPoint(label="network", ber=0.0, mean=accuracy, low=accuracy, high=accuracy, chips=1)
        eden.report(tmp_path, accuracy=AccuracyCurves(points=(point,)))


def verified(**changes: object) -> Verification:
    certificate = Certificate(
        **{"chips": 60, "samples": 3840, "batch": 64, "mean_drop": 0.004, "violating": 0.0, "upper_bound": 0.009},
        **{"back_offs": 0, "alpha": 0.05, "total_alpha": 0.05},
    )
    fields = {
        **{"max_drop": 0.01, "confidence": 0.95, "guarantee": "mean", "metric": "top1", "reference_accuracy": 0.93},
        **{"own_accuracy": 0.93, "samples": 500, "certificate": certificate, "reason": "confirmed", "seed": 3},
        **{"random_layout": 2, "eden_version": "1", "observations": {"confirm": 60}},
    }
    return Verification.model_validate({**fields, **changes})


def test_what_is_certified_stands_on_top(parts: dict, tmp_path: Path):
    given = {name: parts[name] for name in ("device", "tolerance", "placement")}
    text = re.sub(r"\s+", " ", parse(eden.report(tmp_path, **given, verification=verified())).text)
    top = text.split("The network keeps")[0]
    assert "Certified of the network as it is placed, of these 500 samples, and of no others: the mean drop" in top
    assert "As placed 92.60% accuracy (top1), mean over 60 chips that nothing else had seen" in top
    assert "Take care the verification does not say which placement it is of." in top
    assert "confidence bound 0.90% lost" in text.split("Verification of the placement")[2]
    failed = verified(certificate=None, reason="the drop is 0.2")
    text = re.sub(r"\s+", " ", parse(eden.report(tmp_path, **given, verification=failed)).text)
    assert "Not certified the drop is 0.2." in text.split("The network keeps")[0]


def test_partitions_have_their_measured_rates_beside_those_that_are_taken(parts: dict, tmp_path: Path):
    placement, device = parts["placement"], parts["device"]
    text = re.sub(r"\s+", " ", parse(eden.report(tmp_path, device=device, placement=placement)).text)
    name, part = next((name, part) for name, part in placement.partitions.items() if part.errors.ber > 0)
    point = part.operating_point
    answer = device.partition(name).point(vdd=point.vdd, trcd=point.trcd, trp=point.trp)
    assert f"{rate_text(answer.errors.ber_zero)} [{rate_text(answer.zero[0])} to {rate_text(answer.zero[1])}]" in text
    assert "BER taken: upper ends of the device's rates" in text


def test_runs_are_compared(parts: dict, tmp_path: Path):
    given = {name: parts[name] for name in ("tolerance", "placement", "savings")}
    path = eden.report(tmp_path, **given, compare={"<other>": {**given, "verification": verified()}})
    page = parse(path)
    assert "comparison" in page.ids
    row = re.sub(r"\s+", " ", page.text.split("Runs side by side")[-1])
    assert "<other> ddr3-b33 int8 1 percentage point" in row
    assert "yes 92.60%" in row
    assert "this report ddr3-b33" in row
    assert "not verified" in row


def test_what_is_given_joins_what_the_folder_has(parts: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    parts["device"].save(tmp_path / "mine.json")
    for name in ("tolerance", "placement"):
        parts[name].save(tmp_path / f"{name}.json")
    other = tmp_path / "other"
    other.mkdir()
    parts["placement"].save(other / "placement.json")
    for device in (str(tmp_path / "mine.json"), "ddr3-b33"):
        words = ["report", str(tmp_path), "--device", device, "--compare", str(other)]
        monkeypatch.setattr("sys.argv", ["eden", *words])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        ids = parse(tmp_path / "index.html").ids
        assert {"device", "tolerance", "placement", "comparison"} <= set(ids)


def test_alike_reasons_are_told_once(parts: dict):
    device = parts["device"]
    gaps = [
        LeftOut(**{**device.nominal.model_dump(), "vdd": vdd}, reason=f"its rate of {rate:g} is below")
        for vdd, rate in ((1.2, 3e-4), (1.1, 0.02), (1.05, 1e-3))
    ]
    (told,) = left_out(device, gaps)
    assert told.startswith("Left out 3 points (1.2 V, 20 °C; 1.1 V, 20 °C; 1.05 V, 20 °C), as the first: its rate of")
    (alone,) = left_out(device, gaps[:1])
    assert alone == "Left out: 1.2 V, 20 °C: its rate of 0.0003 is below"
    assert folded({"cpu": ["all", "own"], "gpu": ["all"]}) == ["all", "cpu: own"]


def test_each_parameter_that_was_swept_is_drawn(parts: dict):
    assert swept(parts["device"]) == ("trcd", "trp", "vdd")
    device = parts["device"]
    bare = device.model_copy(update={"voltage": None, "measured": ()})
    joint = device.whole.points[1].model_copy(update={"vdd": 1.2, "refresh_interval": 256.0})
    whole = device.whole.model_copy(update={"points": (device.whole.points[0], joint), "curves": ()})
    bare = bare.model_copy(update={"whole": whole})
    assert swept(bare) == ()
    (axes,) = device_figure(bare).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1.2 V, tRCD 10 ns, refresh 256 ms"]
    texts = {axes.get_xlabel() for axes in device_figure(device).axes}
    assert {"row activation latency tRCD (ns)", "supply voltage VDD (V)"} <= texts


def test_refresh_alone_is_not_nominal(parts: dict):
    nominal = parts["device"].nominal
    longer = nominal.model_copy(update={"refresh_interval": 256.0})
    assert point_text(nominal, longer, every=True) == "1.35 V, tRCD 12.5 ns, tRP 12.5 ns, refresh 256 ms"
    assert point_text(nominal, nominal, every=True).endswith("(nominal)")


def test_notebooks_show_results(parts: dict):
    for name in ("device", "tolerance", "placement", "savings"):
        page = Page()
        page.feed(parts[name]._repr_html_())
        page.close()
        assert not page.open
        assert "table" in page.tags


def test_parts_that_do_not_belong_together(parts: dict, tmp_path: Path):
    with pytest.raises(ValueError, match="nothing to report; allowed is one or more of accuracy"):
        eden.report(tmp_path)
    other = eden.Device.builtin("ddr3-b34")
    with pytest.raises(ValueError, match="the placement is of device 'ddr3-b33'; allowed is the report's, 'ddr3-b34'"):
        eden.report(tmp_path, device=other, placement=parts["placement"])
    with pytest.raises(ValueError, match=r"operand x\.weight of the tolerance is not in the placement"):
        eden.report(tmp_path, tolerance=chain.tolerance({"x.weight": 0.1}), placement=parts["placement"])
    placed = parts["placement"].operands
    name = next(iter(placed))
    raised = {**placed, name: placed[name].model_copy(update={"limit": placed[name].limit * 2})}
    altered = parts["placement"].model_copy(update={"operands": raised})
    with pytest.raises(ValueError, match=f"operand {name} of the placement has the limit .*: was the file altered"):
        eden.report(tmp_path, tolerance=parts["tolerance"], placement=altered)
    assert not list(tmp_path.iterdir())


def test_bad_accuracy_files(tmp_path: Path):
    path = tmp_path / "accuracy.json"
    curves().save(path)
    text = path.read_text()
    path.write_text(text.replace('"mean": 0.4', '"mean": 1.4'))
    with pytest.raises(FileError, match=r"points\[2\].mean: Input should be less than or equal to 1; found '1.4'"):
        AccuracyCurves.load(path)
    path.write_text(text.replace('"low": 0.39', '"low": 0.5'))
    with pytest.raises(FileError, match=r"points\[2\].*mean is 0.4; allowed is from low \(0.5\)"):
        AccuracyCurves.load(path)
    path.write_text(text[:100])
    with pytest.raises(FileError, match="truncated or is no JSON file"):
        AccuracyCurves.load(path)
