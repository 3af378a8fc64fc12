"""Are results that do not belong together refused by name, and is a digest that of the content alone?"""

import json
from pathlib import Path

import pytest
import torch
from tiny_profile import FAST, loader, make_network
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.common.provenance import check_together, digest_of
from eden.faults.digests import SamplesDigest, network_digest
from eden.reporting.accuracy import AccuracyCurves, AccuracyPoint
from eden.tolerance.evaluation import at_rates

pytestmark = pytest.mark.usefixtures("one_thread")
SEARCH = eden.Search(batch_size=32, effort=1.5)


@pytest.fixture(scope="module")
def tolerance() -> eden.Tolerance:
    return eden.profile(make_network(), loader(), **{**FAST, "max_drop": 0.2}, search=SEARCH)


@pytest.fixture(scope="module")
def placement(tolerance: eden.Tolerance) -> eden.Placement:
    return eden.place(tolerance, eden.Device.builtin("ddr3-b33"))


def other_network() -> torch.nn.Module:
    model = make_network()
    with torch.no_grad():
        model[0].weight[0, 0] += 0.01
    return model


def test_a_digest_is_of_the_content(tolerance: eden.Tolerance, placement: eden.Placement, tmp_path: Path) -> None:
    for one in (tolerance, placement, eden.Device.builtin("ddr3-b33")):
        one.save(tmp_path / "one.json")
        (tmp_path / "other.json").write_text(
            json.dumps(json.loads((tmp_path / "one.json").read_text()), sort_keys=True)
        )
        assert digest_of(one) == digest_of(type(one).load(tmp_path / "other.json"))
    assert digest_of(tolerance) != digest_of(tolerance.model_copy(update={"coarse": tolerance.coarse * (1 + 1e-15)}))


def test_a_network_is_its_weights_and_how_memory_keeps_them(placement: eden.Placement) -> None:
    model = make_network()
    before = network_digest(model)
    eden.set_chip_(model, 7)
    eden.set_errors_(model, dict.fromkeys(eden.operands(model), None))
    eden.inject_(model, placement)
    model.eval()
    assert network_digest(model) == before
    eden.calibrate_(model, ranges={"0.input": (-1.0, 1.0)})
    assert len({before, network_digest(model), network_digest(other_network())}) == 3


def test_samples_are_the_same_in_any_batches() -> None:
    x, y = torch.arange(60.0).reshape(20, 3), torch.arange(20)
    found = set()
    for size in (1, 7, 20):
        digest = SamplesDigest()
        for batch in DataLoader(TensorDataset(x, y), batch_size=size):
            digest.update(batch)
        found.add(digest.hexdigest())
    assert len(found) == 1
    for inputs, targets in ((x.flip(0), y), (x, y.int()), (x.reshape(20, 3, 1), y)):
        digest = SamplesDigest()
        digest.update((inputs, targets))
        found.add(digest.hexdigest())
    assert len(found) == 4


def test_each_result_says_what_it_was_made_from(tolerance: eden.Tolerance, placement: eden.Placement) -> None:
    model = make_network()
    device = eden.Device.builtin("ddr3-b33")
    eden.inject_(model, placement)
    found = eden.certify(model, loader(), **{**FAST, "max_drop": 0.2}, search=SEARCH, reference=make_network())
    over = eden.evaluate(model, loader(), chips=2)
    mapped, saved = eden.memory_map(model, placement, device), eden.savings(model, placement)
    parts = (tolerance, placement, found, over, mapped, saved, eden.account(model, placement))
    of = [part.provenance.of for part in parts if part.provenance is not None]
    assert len(of) == len(parts)
    assert {one["network"] for one in of} == {network_digest(model)}
    assert {one["data"] for one in of} == {of[0]["data"]}
    assert {one["tolerance"] for one in (of[1], *of[4:])} == {digest_of(tolerance)}
    assert {one["placement"] for one in of[4:]} == {digest_of(placement)}
    assert {one["device"] for one in (of[1], *of[4:])} == {digest_of(device)}
    assert of[2]["reference"] == network_digest(make_network())


def test_a_placement_of_another_network_or_device_is_refused(placement: eden.Placement) -> None:
    told = r"the placement was made from another network: SHA-256 [0-9a-f]{12}\.\.\. there, [0-9a-f]{12}\.\.\. here"
    device = eden.Device.builtin("ddr3-b33")
    model = eden.inject_(other_network(), placement)
    for step in (eden.savings, eden.account, lambda *given: eden.memory_map(*given, device)):
        with pytest.raises(ValueError, match=told):
            step(model, placement)
    changed = device.model_copy(update={"source": device.source.model_copy(update={"text": "again"})})
    with pytest.raises(ValueError, match="the placement was made from another device"):
        eden.memory_map(make_network(), placement, changed)


def test_parts_that_do_not_belong_together_are_refused(
    tolerance: eden.Tolerance, placement: eden.Placement, tmp_path: Path
) -> None:
    device = eden.Device.builtin("ddr3-b33")
    saved = eden.savings(make_network(), placement)
    whole = {"device": device, "tolerance": tolerance, "placement": placement, "savings": saved}
    check_together(whole)
    for name, other in (
        ("tolerance", tolerance.model_copy(update={"confidence": 0.8})),
        ("device", device.model_copy(update={"source": device.source.model_copy(update={"text": "again"})})),
        ("placement", eden.place(tolerance, device, objective="latency")),
        ("savings", eden.savings(make_network(), eden.place(tolerance, device, objective="latency"))),
    ):
        role = "placement" if name == "savings" else name
        with pytest.raises(ValueError, match=rf"was made from another {role} \(SHA-256 .* than the one given"):
            eden.report(tmp_path / "out", **{**whole, name: other})
        assert not (tmp_path / "out" / "index.html").exists()
    # Of before it was kept: nothing is known, nothing is compared, and the page says so.
    old = {name: part.model_copy(update={"provenance": None}) for name, part in whole.items() if name != "device"}
    page = eden.report(tmp_path / "old", device=device, **old)
    assert page.read_text().count("not known: the file is of a version that did not keep it") == 3


def curves(model: torch.nn.Module, label: str, data: TensorDataset | None = None) -> AccuracyCurves:
    over = at_rates(model, loader().dataset if data is None else data, [1e-3], 2)[1e-3]
    point = AccuracyPoint(label=label, ber=1e-3, mean=over.mean, low=over.worst, high=over.best, chips=2)
    return AccuracyCurves(points=(point,), provenance=over.provenance)


def test_of_several_networks_one_is_to_be_the_others(tolerance: eden.Tolerance) -> None:
    own, others = curves(make_network(), "boosted"), curves(other_network(), "baseline")
    joined = AccuracyCurves.joined([others, own])
    assert joined is not None
    assert joined.provenance is not None
    assert set(joined.provenance.of) == {"data", "network baseline", "network boosted"}
    check_together({"tolerance": tolerance, "accuracy": joined})
    with pytest.raises(ValueError, match=r"the accuracy was made from another network .* than that of the tolerance"):
        check_together({"tolerance": tolerance, "accuracy": others})
    x, y = loader().dataset.tensors
    with pytest.raises(ValueError, match="measured on different data"):
        AccuracyCurves.joined([own, curves(make_network(), "baseline", TensorDataset(x + 1, y))])


def test_lowered_limits_are_of_the_tolerance_that_was_found(tolerance: eden.Tolerance) -> None:
    from eden.app.run import tightened

    placed = eden.place(tightened(tolerance, 0.5), eden.Device.builtin("ddr3-b33"))
    assert placed.provenance is not None
    assert placed.provenance.settings["limits_factor"] == 0.5
    check_together({"tolerance": tolerance, "placement": placed})
    check_together({"tolerance": tightened(tolerance, 0.5), "placement": placed})


def test_files_of_before_are_read(tolerance: eden.Tolerance, tmp_path: Path) -> None:
    tolerance.save(tmp_path / "old.json")
    body = json.loads((tmp_path / "old.json").read_text())
    del body["provenance"]
    (tmp_path / "old.json").write_text(json.dumps(body))
    assert eden.Tolerance.load(tmp_path / "old.json").provenance is None


def test_what_has_no_digest_is_no_part_of_what_a_result_was_made_from(tolerance: eden.Tolerance) -> None:
    for slip in ({"device": "ddr3-b33"}, {"device": Path("device.json")}, {"placement": {"fc.weight": 1e-3}}):
        with pytest.raises((TypeError, ValueError), match=r"device|placement is a dict; allowed is a digest"):
            tolerance.made_from(**slip)
    assert tolerance.made_from(reference=None).provenance == tolerance.provenance
