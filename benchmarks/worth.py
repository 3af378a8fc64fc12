"""What tolerance is worth: the DRAM energy that a network saves if all of its operands stand one bit error rate.

Prints a Markdown table: for modules of three vendors, on four platforms, the share of the DRAM's energy that the exact
placement of ResNet-20 in int8 saves without a single error ("free"), at each rate, and where no rate is too high. The
last is the optimizer's bound: nothing that raises tolerance (boosting, codes, bit planes, a chip that is known) saves
more at the same bytes.
"""

from __future__ import annotations

import argparse

import headline

import eden

DEVICES = ("ddr3-b3", "ddr3-p9", "ddr3-g35")
RATES = (4e-4, 1e-3, 2e-3, 5e-3, 1e-2)
EVERY = 0.5
"""A rate that no point of a device exceeds: half of all bits."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20", choices=list(headline.STATED_BOOSTED))
    parser.add_argument("--devices", nargs="*", default=list(DEVICES))
    parser.add_argument("--platforms", nargs="*", default=list(headline.PLATFORMS))
    parser.add_argument("--rates", nargs="*", default=["mean", "upper"], choices=["mean", "upper"], help="of a device")
    arguments = parser.parse_args()
    network = next(one for one in headline.all_networks() if one.name == arguments.network)
    print(f"| device, rates | platform | free | {' | '.join(f'{ber:.0e}' for ber in RATES)} | any rate |")
    print("|---" * (len(RATES) + 4) + "|")
    stated = headline.tolerance_stated(network, "int8", 1, True, "coarse")
    solver = eden.ExactSolver(gap=1e-3)
    for name in arguments.devices:
        device = eden.Device.builtin(name)
        for rates in arguments.rates:
            for platform in arguments.platforms:
                moved = eden.traffic(network.model, platform, inputs=network.sample, storage="int8", repeated=False)
                found = []
                for ber in (*RATES, EVERY):
                    placement = eden.place(headline.at_one_rate(stated, ber), device, solver, moved, rates=rates)
                    found.append(eden.savings(moved, placement))
                free = found[0].free
                assert free is not None
                cells = [f"{share:.2%}" for share in (free.energy_reduction, *(one.energy_reduction for one in found))]
                print(f"| {name}, {rates} | {platform} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
