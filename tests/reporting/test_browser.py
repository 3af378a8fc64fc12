"""Does a browser show the page at three widths, without scrolling sideways and without a word on its console?"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import chain
import pytest

import eden

WIDTHS = (360, 820, 1400)
HARNESS = """<!DOCTYPE html><title>waiting</title><body><script>
const page = PAGE, found = [];
const say = (width, frame) => {
  const view = frame.contentDocument, root = view.documentElement;
  const head = [...view.querySelectorAll("thead th.n")].find((one) => one.textContent === "tolerated BER");
  const column = () => [...head.closest("table").tBodies[0].rows].map((row) => row.cells[head.cellIndex].textContent);
  head.click();
  const rising = column();
  head.click();
  found.push({
    width, sideways: root.scrollWidth - root.clientWidth, rising, falling: column(),
    sort: head.getAttribute("aria-sort"), tips: view.querySelectorAll("svg title").length,
    figures: [...view.querySelectorAll("figure svg")].map((one) => one.getBoundingClientRect().width),
  });
  if (found.length === WIDTHS.length) document.title = JSON.stringify(found);
};
for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = 900; frame.srcdoc = page;
  frame.onload = () => say(width, frame);
  document.body.append(frame);
}
</script>"""


def test_a_browser_shows_it(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium here to look at the page with")
    limits = {f"layer{i}.conv.{kind}": 10.0 ** -(1 + i) for i in range(5) for kind in ("weight", "input")}
    device = eden.Device.builtin("ddr3-b33")
    tolerance = chain.tolerance(limits, model=device.errors(trcd=5.0))
    page = eden.report(tmp_path, device=device, tolerance=tolerance, placement=eden.place(tolerance, device))
    source = json.dumps(page.read_text()).replace("</script>", "<\\/script>")
    harness = HARNESS.replace("WIDTHS", json.dumps(WIDTHS)).replace("PAGE", source, 1)
    (tmp_path / "harness.html").write_text(harness)
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=4000",
    ]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "harness.html").as_uri()]
    ran = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    title = re.search(r"<title>(.*?)</title>", ran.stdout, re.DOTALL)
    assert title is not None
    found = json.loads(title[1])
    assert sorted(one["width"] for one in found) == list(WIDTHS)
    for one in found:
        assert one["sideways"] <= 0, one["width"]
        assert one["rising"] == one["falling"][::-1]
        assert one["rising"][0] == "1 × 10⁻⁵"
        assert one["rising"][-1] == "0.1"
        assert one["sort"] == "descending"
        assert one["tips"] > 0
        assert len(one["figures"]) == 3
        assert min(one["figures"]) >= 280
