"""What placing by the upper ends of rates costs beside placing by their means, on every device of the catalogue.

Prints a Markdown table: for each device the share of the DRAM's energy that the exact placement saves on "cpu" by mean
rates and by upper ends, how many rates the ends hold for at once, and what is lost without the voltages, whose rates
are of other modules. The tolerance is the one that `headline.py` states for a boosted ResNet-20, or that of a file of
`eden profile` (--tolerance).
"""

from __future__ import annotations

import argparse
import statistics

import headline

import eden
from eden.tolerance.tolerance import Tolerance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20", choices=["resnet20", "lenet5"])
    parser.add_argument("--tolerance", help="a file of eden profile for the same network")
    parser.add_argument("--devices", nargs="*", default=eden.Device.builtin_names())
    arguments = parser.parse_args()
    network = next(one for one in headline.all_networks() if one.name == arguments.network)
    tolerance = (
        headline.tolerance_stated(network, "int8", 1, True, "fine")
        if arguments.tolerance is None
        else Tolerance.load(arguments.tolerance)
    )
    moved = eden.traffic(network.model, "cpu", inputs=network.sample, storage="int8", repeated=False)
    print("| device | rates at once | saved by means | saved by upper ends | less | less, by latencies alone |")
    print("|---|---|---|---|---|---|")
    lost: dict[bool, list[float]] = {True: [], False: []}
    solver = eden.ExactSolver(gap=1e-3)

    def saved(device: eden.Device, rates: str) -> tuple[float, int]:
        # As when the figures in docs/results.md were made.
        apart = eden.Constraints(shared_vdd="partition")
        placement = eden.place(tolerance, device, solver, moved, constraints=apart, rates=rates)
        return eden.savings(moved, placement).energy_reduction, placement.rates.readings

    for name in arguments.devices:
        device = eden.Device.builtin(name)
        (mean, _), (upper, readings) = saved(device, "mean"), saved(device, "upper")
        latencies = eden.Device.model_validate({**dict(device), "voltage": None})
        alone = saved(latencies, "mean")[0] - saved(latencies, "upper")[0]
        lost[device.population is not None].append(mean - upper)
        cells = [readings or "of modules", *(f"{share:.2%}" for share in (mean, upper, mean - upper, alone))]
        print(f"| {name} | {' | '.join(map(str, cells))} |", flush=True)
    for population, values in lost.items():
        if values:
            print(
                f"\n{len(values)} {'populations' if population else 'modules'}: the mean of what is lost is "
                f"{statistics.mean(values):.2%} of the energy, the median {statistics.median(values):.2%}, the most "
                f"{max(values):.2%}."
            )


if __name__ == "__main__":
    main()
