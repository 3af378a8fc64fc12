"""Does a mutated device file give a device that answers, or an error that names the file, in bounded time and memory?

100,000 mutations as ``make test-slow`` runs them, fewer in ``make test``; seeds are fixed.
"""

import json
import random
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from latency_csv import line, write

import eden
from eden import Device, FileError

SCRAPS = (
    "0",
    "9",
    "-",
    ".",
    "e",
    "E",
    '"',
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "NaN",
    "1e400",
    "\\u0000",
    "\n",
    "é",
)
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.5, 1e-320, 1e308, "", "uniform", "0x0", "\ud800",
    [], [[]], {}, {"model": "cell_map"}, [0.0, 1.0],
)  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A device file of two banks with a few points each."""
    rows = [
        line([errors] * 8, pattern, trcd)
        for trcd, errors in ((12.5, 0), (7.5, 1000), (5.0, 10**6))
        for pattern in ("0x0", "0xff", "0xaa")
    ]
    folder = tmp_path_factory.mktemp("device")
    body = json.loads(json.dumps(eden.fit(write(folder / "a.csv", rows), name="test").model_dump(mode="json")))
    body |= {"partitions": body["partitions"][:2], "measured": body["measured"][:3]}
    return json.dumps({"format": Device.FORMAT, "version": Device.VERSION, **body})


def places(body: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys."""
    items = list(body.items()) if isinstance(body, dict) else list(enumerate(body)) if isinstance(body, list) else []
    return [place for key, value in items for place in ((body, key), *places(value))]


def mutated(text: str, draw: random.Random) -> str:
    kind = draw.randrange(5)
    if kind == 0:
        return text[: draw.randrange(len(text))]
    if kind <= 2:
        for _ in range(draw.choice((1, 1, 2, 5))):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(SCRAPS) + text[at + draw.randrange(4) :]
        return text
    body = json.loads(text)
    for _ in range(draw.choice((1, 1, 2))):
        container, key = draw.choice(places(body))
        change = draw.randrange(4)
        if change == 0:
            del container[key]
        elif change == 1 and isinstance(container, list):
            container.insert(key, container[key])
        elif change == 2 and isinstance(container[key], int | float) and not isinstance(container[key], bool):
            container[key] = container[key] * draw.choice((-1, 0.5, 2, 1e9, 1e-9))
        else:
            container[key] = draw.choice(VALUES)
        if not places(body):
            break
    return json.dumps(body)


def use(device: Device) -> None:
    """What a user does first with a device."""
    assert device.describe()
    for part in (device.whole, *device.partitions):
        for point in part.points:
            found = part.errors(vdd=point.vdd, trcd=point.trcd, trp=point.trp, refresh_interval=point.refresh_interval)
            assert 0.0 <= found.ber <= 1.0


def fuzz(text: str, count: int, seed: int) -> tuple[int, int]:
    """Numbers of mutations that gave a device, and an error."""
    draw, given, slowest = random.Random(seed), 0, 0.0
    messages: list[str] = []
    for _ in range(count):
        damaged = mutated(text, draw)
        begun = time.process_time()
        try:
            device = Device.parse(damaged, "damaged.json")
        except FileError as error:
            messages.append(str(error))
        else:
            use(device)
            given += 1
        slowest = max(slowest, time.process_time() - begun)
    assert slowest < 5.0
    assert all(message.startswith("damaged.json: ") for message in messages)
    return given, len(messages)


def test_a_mutated_file_gives_a_device_or_a_clear_error(text: str) -> None:
    given, refused = fuzz(text, count=1500, seed=20)
    assert given > 50
    assert refused > 500


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_100000_mutated_files(text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    given, refused = fuzz(text, count=100_000, seed=21)
    assert given > 3000
    assert refused > 30_000
    # In KiB; a device is some 100 KiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200 * 1024
    print(f"100,000 mutated device files: {given} gave a device, {refused} a clear error")


def test_a_number_of_too_many_digits(text: str) -> None:
    with pytest.raises(FileError, match=r"damaged.json: .*digits"):
        Device.parse(text.replace('"version": 2', '"version": ' + "1" * 5000), "damaged.json")


def test_a_file_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 100_000)
    with pytest.raises(FileError, match=r"nested too deeply|truncated"):
        Device.load(path)
