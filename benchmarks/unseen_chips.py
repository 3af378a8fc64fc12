"""Does a placed network keep its accuracy on chips that no step has seen? A loop judges that shares no code with EDEN.

Profiles the network of a task (or takes a tolerance file), places it in a device of the catalogue by the upper ends of
its rates, and then reads it from 200 chips: every operand as it is placed and, without a placement, at its limit. The
loop is plain: it takes the weights and ranges of the network's file, makes the codes, turns the bits that the
mathematics of the error model turn on that chip (tests/reference_cells.py) and counts right answers. It uses neither
the search nor the injection nor the operator. The chips have numbers that no step draws.

Prints the mean drop with its standard error over chips beside ``max_drop``, and the worst chip. Ends with status 1
where the mean is above ``max_drop`` by more than its error explains: a placement whose mean drop is ``max_drop`` is
blamed with a probability of 0.001 (a one-sided t test).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app import steps, tasks

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import reference_cells as cells

FALSE_ALARM = 0.001
CODES = {"int8": (-127, 127), "uint8": (0, 255), "int8_sign_magnitude": (-127, 127)}

Memory = Mapping[str, Sequence[tuple[Any, int, int]]]
"""By operand, its pieces in order: error model, first bit, number of bits."""


def weak_cells(chip: int, pieces: Sequence[tuple[Any, int, int]]) -> list[list[np.ndarray]]:
    """Of each piece of memory the cells that are weak for a stored 0, and those that are for a stored 1, ascending."""
    limits = [
        [cells.threshold(ber, errors.failure) for ber in (errors.ber_zero, errors.ber_one)] for errors, *_ in pieces
    ]
    found: list[list[list[np.ndarray]]] = [[[], []] for _ in pieces]
    for level in range(cells.SHALLOWEST, cells.DEEPEST + 1):
        bits = cells.block_bits(level)
        # A mark's code is the higher, the shallower its level: of most levels no cell can be weak.
        least = (cells.DEEPEST - level) * cells.WORD
        reached = [k for k, both in enumerate(limits) if any(limit.sparse > least for limit in both)]
        blocks = [np.arange(pieces[k][1] >> bits, ((sum(pieces[k][1:]) - 1) >> bits) + 1) for k in reached]
        if not blocks:
            continue
        marked, codes = cells.marks(chip, level, np.unique(np.concatenate(blocks)).astype(np.uint64))
        for k in reached:
            inside = (marked >= pieces[k][1]) & (marked < sum(pieces[k][1:]))
            for value in (0, 1):
                found[k][value].append(marked[inside & (codes < limits[k][value].sparse)])
    for k, (_, start, bits) in enumerate(pieces):
        if any(limit.dense for limit in limits[k]):
            every = np.arange(start, start + bits, dtype=np.uint64)
            numbers = cells.dense_numbers(chip, every)
            for value in (0, 1):
                found[k][value].append(every[cells.below(numbers, limits[k][value].dense)])
    return [[np.unique(np.concatenate([np.empty(0, np.uint64), *weak])) for weak in both] for both in found]


def masks(weak: Sequence[np.ndarray], chip: int, piece: tuple[Any, int, int], access: int) -> np.ndarray:
    """Of each byte of a piece, the bits that a read turns where they store 0, and where they store 1."""
    errors, address, bits = piece
    result = np.zeros((2, bits // 8), dtype=np.uint8)
    for value, failing in enumerate(weak):
        if errors.failure < 1.0 and len(failing):
            number = cells.failure_numbers(chip, failing, access)
            failing = failing[cells.below(number, cells.fraction(errors.failure))]
        place = (failing - np.uint64(address)).astype(np.int64)
        np.bitwise_or.at(result[value], place >> 3, (1 << (place & 7)).astype(np.uint8))
    return result


@dataclasses.dataclass
class Operand:
    """What a file says of an operand, and the codes that memory keeps it as.

    Attributes:
        storage: one of ``CODES``.
        scale: of a code, one number or one for each channel.
        point: the code of 0.
        low: the smallest plausible value, as its code is read; None where implausible values stay.
        high: the largest.
        address: its first bit where it is not placed.
    """

    storage: str
    scale: Tensor
    point: float
    address: int
    low: Tensor | None = None
    high: Tensor | None = None

    @classmethod
    def of(cls, spec: dict[str, Any], low: Tensor, high: Tensor, least: Tensor, most: Tensor) -> Operand:
        """Of values from ``low`` to ``high``, of which those from ``least`` to ``most`` are plausible."""
        storage = spec["storage"]
        if storage not in CODES or spec["correction"] not in ("none", "zero"):
            raise SystemExit(f"{spec['name']}: this loop knows {', '.join(CODES)} with correction none or zero")
        lowest, highest = CODES[storage]
        if spec["affine"] and lowest < 0:
            raise SystemExit(f"{spec['name']}: this loop knows no zero point of {storage}")
        if lowest < 0:
            found = cls(storage, torch.maximum(low.abs(), high.abs()) / highest, 0.0, spec["address"])
        else:
            low, high = low.clamp(max=0.0), high.clamp(min=0.0)
            scale = high / highest - low / highest
            found = cls(storage, scale, float(torch.round(-low / scale)), spec["address"])
        if spec["correction"] == "zero":
            # A bound is one of the values that memory can hold.
            least, most = (found.decode(found.encode(end)) for end in (least, most))
            found = dataclasses.replace(found, low=least, high=most)
        return found

    def encode(self, values: Tensor) -> Tensor:
        """The bytes that memory keeps."""
        lowest, highest = CODES[self.storage]
        codes = torch.round((values / self.scale).clamp(lowest - self.point, highest - self.point)) + self.point
        if self.storage == "int8_sign_magnitude":
            return codes.abs().to(torch.uint8) | ((codes < 0).to(torch.uint8) << 7)
        return codes.to(torch.uint8) if lowest == 0 else codes.to(torch.int8).view(torch.uint8)

    def decode(self, words: Tensor) -> Tensor:
        """The values that are read."""
        if self.storage == "int8_sign_magnitude":
            magnitude = (words & 127).to(torch.float32)
            return torch.where(words > 127, -magnitude, magnitude) * self.scale + 0.0
        codes = words if CODES[self.storage][0] == 0 else words.view(torch.int8)
        return (codes.to(torch.float32) - self.point) * self.scale

    def read(self, values: Tensor, flips: tuple[Tensor, Tensor] | None) -> Tensor:
        """The values after a way through the memory; reliable memory without ``flips``."""
        words = self.encode(values)
        if flips is None:
            return self.decode(words)
        zero, one = (mask.view(values.shape[-len(mask.shape) :]) for mask in flips)
        found = self.decode(words ^ ((~words & zero) | (words & one)))
        if self.low is None or self.high is None:
            return found
        return torch.where((found >= self.low) & (found <= self.high), found, 0.0)


class PlainNetwork:
    """A network as its file has it, whose layers read weights and inputs from a memory of one chip after another.

    Args:
        model: the network as its task makes it; it gets the file's weights.
        path: a file of ``eden.save``.
    """

    def __init__(self, model: nn.Module, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["eden"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        model.load_state_dict({**tensors, **{name: tensors[owner] for name, owner in header["aliases"].items()}})
        self.model = model.eval()
        self.operands: dict[str, Operand] = {}
        self._chip, self._access = 0, 0
        self._weak: dict[str, list[tuple[tuple[Any, int, int], list[np.ndarray]]]] = {}
        self._flips: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
        modules = dict(model.named_modules())
        for layer, saved in header["layers"].items():
            for role, spec in saved["operands"].items():
                name = f"{layer}.{role}"
                if spec["name"] != name:
                    raise SystemExit(f"{name} shares the memory of {spec['name']}, which this loop does not know")
                if role == "weight":
                    weight = modules[layer].weight.detach()
                    low, high = torch.aminmax(weight)
                    ends = (low, high)
                    if spec["channels"]:
                        shape = (-1, *(1 for _ in weight.shape[1:]))
                        by_channel = weight.flatten(1)
                        ends = by_channel.amin(1).view(shape), by_channel.amax(1).view(shape)
                    self.operands[name] = Operand.of(spec, *ends, low, high)
                else:
                    low, high = torch.tensor(spec["range"], dtype=torch.float32)
                    self.operands[name] = Operand.of(spec, low, high, low, high)
            modules[layer].register_forward_pre_hook(self._hook(layer, modules[layer].weight.detach().clone()))

    def _hook(self, layer: str, weight: Tensor) -> Any:
        def before(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
            module.weight.data = self._read(f"{layer}.weight", weight, weight)
            return (self._read(f"{layer}.input", inputs[0], inputs[0][0]),)

        return before

    def _read(self, name: str, values: Tensor, sample: Tensor) -> Tensor:
        if name not in self.operands:
            return values
        if name not in self._weak:
            return self.operands[name].read(values, None)
        if (self._access, name) not in self._flips:
            parts = [masks(weak, self._chip, piece, self._access) for piece, weak in self._weak[name]]
            zero, one = torch.from_numpy(np.concatenate(parts, axis=1)[:, : sample.numel()])
            self._flips[self._access, name] = zero.view(sample.shape), one.view(sample.shape)
        return self.operands[name].read(values, self._flips[self._access, name])

    def logits(self, images: Tensor, memory: Memory, chip: int, batch: int = 250) -> Tensor:
        """Outputs for images on a chip; operands that the memory does not name are on reliable memory."""
        self._chip, self._flips, self._weak = chip, {}, {}
        pieces = [piece for parts in memory.values() for piece in parts]
        found = iter(zip(pieces, weak_cells(chip, pieces), strict=True))
        self._weak = {name: [next(found) for _ in parts] for name, parts in memory.items()}
        persistent = all(errors.failure == 1.0 for errors, *_ in pieces)
        outputs = []
        for number, part in enumerate(images.split(batch)):
            # Where a weak cell fails at every read, the first read tells all of a chip.
            self._access = 0 if persistent else number
            outputs.append(self.model(part))
        return torch.cat(outputs)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Drops over chips.

    Attributes:
        drops: of each chip, over the images that it read.
    """

    drops: list[float]

    @property
    def mean(self) -> float:
        """Mean over chips."""
        return float(np.mean(self.drops))

    @property
    def error(self) -> float:
        """Its standard error."""
        return float(np.std(self.drops, ddof=1)) / math.sqrt(len(self.drops))

    def holds(self, max_drop: float) -> bool:
        """Whether the mean is not above ``max_drop`` by more than chance explains."""
        most = float(stats.t.isf(FALSE_ALARM, len(self.drops) - 1))
        return self.mean <= max_drop + most * self.error


def judged(network: PlainNetwork, images: TensorDataset, memory: Memory, chips: Sequence[int], every: int) -> Judgement:
    """The drop on each chip, which reads every ``every``-th image, from another one on than the chip before."""
    x, y = images.tensors
    with torch.inference_mode():
        clean = network.logits(x, {}, 0).argmax(1) == y
        drops = []
        for number, chip in enumerate(chips):
            part = slice(number % every, None, every)
            right = network.logits(x[part], memory, chip).argmax(1) == y[part]
            drops.append(float(clean[part].double().mean() - right.double().mean()))
    return Judgement(drops)


def main() -> int:
    """Profile, place and judge; 1 where a drop is too high."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits", help="as for eden profile: digits, file.py:function")
    parser.add_argument("--network", type=Path, help="a network file of the task, instead of the task's network")
    parser.add_argument("--tolerance", type=Path, help="its tolerance file, instead of a profile")
    parser.add_argument("--device", default="ddr3-b33", help="of the catalogue")
    parser.add_argument("--max-drop", type=float, default=0.01, help="of the profile")
    parser.add_argument("--confidence", type=float, default=0.95, help="of the profile")
    parser.add_argument("--effort", type=float, default=6.0, help="of the profile")
    parser.add_argument("--chips", type=int, default=200)
    parser.add_argument("--every", type=int, default=1, help="a chip reads every so many-th image, in turns")
    parser.add_argument("--factor", type=float, default=1.0, help="of the limits, to see that too high ones are blamed")
    parser.add_argument("--seed", type=int, default=0, help="of the chips that the loop draws")
    arguments = parser.parse_args()
    task = tasks.load_task(arguments.task)
    device = eden.Device.builtin(arguments.device)
    with steps.threads_of(task), tempfile.TemporaryDirectory() as folder:
        train_set, validation = task.data()
        model, file = task.model(), arguments.network
        if file is None:
            file = Path(folder) / "network.safetensors"
            if task.train is not None:
                steps.train_with_progress("train", model, train_set, task.train, task)
            steps.put_under_faults(model, task, device.errors(trcd=7.5), train_set)
            eden.save(model, file)
        else:
            eden.load_(model, file)
        if arguments.tolerance is not None:
            tolerance = eden.Tolerance.load(arguments.tolerance)
        else:
            tolerance = eden.profile(
                model,
                DataLoader(validation, batch_size=64),
                max_drop=arguments.max_drop,
                confidence=arguments.confidence,
                search=eden.Search(effort=arguments.effort),
            )
        traffic = eden.traffic(model, "cpu", repeated=False)
        # As when the figures in docs/results.md were made.
        apart = eden.Constraints(shared_vdd="partition")
        placement = eden.place(tolerance, device, traffic=traffic, constraints=apart)
        saved = eden.savings(traffic, placement).energy_reduction
        network = PlainNetwork(task.model(), file)
    names = list(tolerance.limits)
    rates = [placement.ber[name] / tolerance.limits[name] for name in names]
    clean = float((network.logits(validation.tensors[0], {}, 0).argmax(1) == validation.tensors[1]).double().mean())
    print(f"{task.name}: {len(names)} operands, {len(validation):,} images, max_drop {tolerance.max_drop:g}")
    print(f"on reliable memory: {clean:.2%} in the loop, {tolerance.reference_accuracy:.2%} in the profile")
    print(f"{device.name}, rates: {placement.rates}; {saved:.2%} of the energy saved")
    print(f"rates as placed over limits: {min(rates):.2g} to {max(rates):.2g}, mean {np.mean(rates):.2g}")
    chips = np.random.default_rng(arguments.seed).integers(0, 2**59, arguments.chips).tolist()
    limits: Memory = {
        name: [
            (
                errors.scaled(min(errors.highest_ber, errors.ber * arguments.factor)),
                network.operands[name].address,
                8 * tolerance.bytes[name],
            )
        ]
        for name, errors in tolerance.memory.items()
    }
    held = True
    for what, memory in (("as placed", placement.memory), ("at the limits", limits)):
        found = judged(network, validation, memory, chips, arguments.every)
        verdict = "holds" if found.holds(tolerance.max_drop) else "does not hold"
        held = held and verdict == "holds"
        print(
            f"{what}: mean drop {found.mean:.4f} +- {found.error:.4f}, worst {max(found.drops):.4f}, over {len(chips)} "
            f"chips that no step has seen, {-(-len(validation) // arguments.every):,} images each: {verdict}",
            flush=True,
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
