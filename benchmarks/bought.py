"""What each way to tolerate errors buys: DRAM energy and time of ResNet-20 for CIFAR-10, within a point of accuracy.

The ways are whole words, a sign kept three times, six bits with a Hamming code in the same bytes, SECDED over 64 bits
(nine bytes for eight, which are charged), words whose three high bits are reliable, each of them boosted, and a known
chip, whose limit is that of benchmarks/known_chips.py and given. First a table of their limits: the rate
of all bits (of planes: of the unreliable ones) that `eden.profile` certifies on fresh chips for a mean drop of a point,
counted from the network before boosting in 8 bits, without errors; and the drop that was observed there. Then, for a
module of each vendor, each platform and kind of rates, what the exact placement by this limit saves of the energy of
whole words within specification, and in brackets how much faster an inference is, each from an empty cache.

Reliable planes lie at points whose rates are at most 1e-6: those where no error was found, but for their upper ends.
Limits are of no module, so each way is profiled once; --out keeps tolerances and journals, from which a run goes on.
A way whose limit is given (--limit) is not profiled, and its limit is not certified here.
Needs the folder named by EDEN_DATA.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import headline
import torch
import worth
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.accounting.results import Account
from eden.app.datasets import cifar10, pretrained_resnet
from eden.tolerance.tolerance import Tolerance

MAX_DROP = 0.01
RELIABLE_BER = 1e-6
"""Of planes that no error is to reach: below what harms, above the upper ends of no errors that were found."""


class Way(NamedTuple):
    """How a network tolerates errors."""

    name: str
    storage: str = "int8_sign_magnitude"
    input_storage: str = "uint8"
    reliable: int = 0
    """High planes, of planes 7, 6, 5 and 4:0; 0 for whole words."""
    boosted: bool = False


_KINDS = (
    Way("nothing"),
    Way("sign tripled", "int8_sign_tripled"),
    Way("Hamming", "int6_sign_magnitude_hamming", "uint6_hamming"),
    Way("SECDED", "int8_sign_magnitude_secded", "uint8_secded"),
    Way("planes", reliable=3),
)
WAYS = (*_KINDS, *(way._replace(name=f"{way.name}, boosted", boosted=True) for way in _KINDS), Way("known chip"))


def network_of(way: Way, boosted: Path | None, calibration: torch.Tensor) -> nn.Module:
    """The network as it is stored, all of its bits that err under one rate; its bytes do not depend on boosting."""
    network = pretrained_resnet(20)
    if boosted is not None and way.boosted:
        eden.load_(network, boosted)
    planes = ("7", "6", "5", "4:0") if way.reliable else None
    errors = eden.Uniform(1e-3)
    stored = eden.Faults.int8(errors, storage=way.storage, input_storage=way.input_storage, planes=planes)
    eden.inject_(network, stored)
    if boosted is None or not way.boosted:
        eden.calibrate_(network, [calibration])
    eden.set_errors_(network, dict.fromkeys(_reliable(network, way.reliable)))
    return network.eval()


def _reliable(network: nn.Module, high: int) -> list[str]:
    infos = eden.operands(network)
    return [name for name, info in infos.items() if info.plane and min(info.plane) > 7 - high]


def limits_of(network: nn.Module, way: Way, ber: float) -> dict[str, float]:
    """What each operand stands where all that err stand a rate."""
    return {
        **dict.fromkeys(eden.operands(network), ber),
        **dict.fromkeys(_reliable(network, way.reliable), RELIABLE_BER),
    }


class Limit(NamedTuple):
    """The rate that a network stands in a way, and what is known of it."""

    ber: float
    cells: tuple[str, ...]


def limit_of(way: Way, arguments: argparse.Namespace) -> Limit:
    """What the network tolerates in a way: the rate that was given, or else one that is certified."""
    given = dict(arguments.limit).get(way.name)
    if given is not None:
        return Limit(given, ("-", f"{given:.2g}, given", "-", "-"))
    found = certified(way, arguments)
    shown = found.coarse_certificate
    drop = f"{shown.mean_drop:.2%}"
    return Limit(found.coarse, (f"{found.own_accuracy:.2%}", f"{found.coarse:.2g}, certified", drop, f"{shown.chips}"))


def certified(way: Way, arguments: argparse.Namespace) -> Tolerance:
    """What the network tolerates in a way, kept as a file."""
    if way.name == "known chip":
        raise SystemExit("bought: known chip: it is not profiled; give --limit 'known chip=RATE' of that chip's cells")
    if way.boosted and arguments.boosted is None:
        raise SystemExit(
            f"bought: {way.name}: --boosted names no network to profile; give it, or --limit '{way.name}=RATE'"
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{way.name.replace(', ', '-').replace(' ', '-')}.json"
    if not file.exists():
        training, test = cifar10(500)
        images = TensorDataset(*(tensor[: arguments.images] for tensor in test.tensors))
        network, before = (network_of(one, arguments.boosted, training.tensors[0]) for one in (way, WAYS[0]))
        found = eden.profile(
            network,
            DataLoader(images, batch_size=64),
            max_drop=MAX_DROP,
            search=eden.Search(coarse_only=True, effort=arguments.effort),
            seed=arguments.seed,
            reference=before,
            journal=file.with_suffix(".journal"),
            progress=False,
        )
        found.save(file)
    return Tolerance.load(file)


def limits_table(found: dict[Way, Limit]) -> None:
    """The table of the ways."""
    print("| way | without errors | rate | mean drop there | chips |")
    print("|---|---|---|---|---|")
    for way, limit in found.items():
        print(f"| {way.name} | {' | '.join(limit.cells)} |", flush=True)


def bought(account: Account, whole: Account) -> str:
    """What is saved of the energy and time that whole words take within specification."""
    ((_, own),), ((_, plain),) = account.platforms.items(), whole.platforms.items()
    faster = plain.nominal_ns / own.placed_ns - 1.0
    return f"{1.0 - own.placed_nj / plain.nominal_nj:.2%} ({faster:.2%})"


def bought_table(found: dict[Way, Limit], arguments: argparse.Namespace) -> None:
    """The table of modules, platforms and ways."""
    print(f"| module, rates | platform | free | {' | '.join(way.name for way in found)} |")
    print("|---" * (len(found) + 3) + "|")
    training, _ = cifar10(8)
    sample = training.tensors[0][:1]
    few = training.tensors[0][:8]  # what is moved does not depend on ranges
    networks = {way: network_of(way, arguments.boosted, few) for way in (WAYS[0], *found)}
    for name in arguments.devices:
        device = eden.Device.builtin(name)
        for rates in arguments.rates:
            for platform in arguments.platforms:

                def counted(way: Way, ber: float) -> Account:
                    moved = eden.traffic(networks[way], platform, inputs=sample, repeated=False)  # noqa: B023
                    limits = limits_of(networks[way], way, ber)
                    placement, parts = worth.placed(moved, limits, device, rates, arguments.supplies)  # noqa: B023
                    return eden.account([parts], placement, (platform,))  # noqa: B023

                whole = counted(WAYS[0], RELIABLE_BER)
                free = whole.platforms[platform].free
                assert free is not None
                cells = [bought(counted(way, limit.ber), whole) for way, limit in found.items()]
                row = " | ".join([f"{free.energy_reduction:.2%} ({free.speedup:.2%})", *cells])
                print(f"| {name}, {rates} | {platform} | {row} |", flush=True)


def _given(text: str) -> tuple[str, float]:
    name, _, rate = text.rpartition("=")
    try:
        ber = float(rate)
    except ValueError:
        ber = 0.0
    if name not in [way.name for way in WAYS] or not 0.0 < ber <= 0.5:
        allowed = ", ".join(way.name for way in WAYS)
        raise argparse.ArgumentTypeError(
            f"found {text!r}; allowed is WAY=RATE, a rate in (0, 0.5] and one of {allowed}"
        )
    return name, ber


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boosted", type=Path, help="file of eden.save of the boosted ResNet-20; none: not boosted")
    parser.add_argument(
        "--ways", nargs="+", default=[way.name for way in WAYS[:-1]], choices=[way.name for way in WAYS]
    )
    parser.add_argument("--limit", type=_given, action="append", default=[], metavar="WAY=RATE", help="not profiled")
    parser.add_argument("--devices", nargs="+", default=list(worth.DEVICES))
    parser.add_argument("--platforms", nargs="+", default=list(headline.PLATFORMS))
    parser.add_argument("--rates", nargs="+", default=["upper", "mean"], choices=["upper", "mean"], help="of devices")
    parser.add_argument("--supplies", default="module", choices=["module", "partition"], help="who shares a VDD")
    parser.add_argument("--images", type=int, default=1000, help="of the test set")
    parser.add_argument("--effort", type=float, default=1.5, help="of each profile")
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--out", type=Path, default=Path("out/bought"), help="folder of tolerances and journals")
    arguments = parser.parse_args()
    wanted = [way for way in WAYS if way.name in arguments.ways]
    found = {way: limit_of(way, arguments) for way in wanted}
    limits_table(found)
    print()
    bought_table(found, arguments)


if __name__ == "__main__":
    main()
