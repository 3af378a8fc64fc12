"""DRAM counts of AlexNet and SqueezeNet on the presets of arrays, beside SCALE-Sim's.

SCALE-Sim (pip install eden-dram[scalesim]) simulates each access of each processing element in Python: the whole takes
about an hour of a core, so that layers are run from the shortest on, at most --most million accesses each, and its
counts are kept in --results, where an interrupted run goes on. Layers without counts are named.

SCALE-Sim knows no padding: both count the layer with the zeros around its map as data, one word each. The last column
has what the padding adds to the words that eden.traffic counts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networks
import torch

from eden import _core
from eden.costs.platforms import PLATFORMS, Array
from eden.costs.workload import Convolution, trace

NETWORKS = ("squeezenet", "alexnet")
ARRAYS = ("eyeriss", "tpu")
TOLERANCE = 0.15
"""How far the counts may be from SCALE-Sim's without an explanation."""

DATAFLOWS = {"output": "os", "weight": "ws"}

Counts = tuple[int, int, int]
"""Words read of the input, read of the weights and written."""


@dataclass(frozen=True)
class Layer:
    """A layer of a network on an array, its padding in the map."""

    platform: str
    network: str
    name: str
    padded: Convolution
    loops: Convolution

    @property
    def array(self) -> Array:
        """Elements and memories of the platform."""
        memory = PLATFORMS[self.platform].memory
        assert isinstance(memory, Array)
        return memory

    @property
    def key(self) -> str:
        """What the counts depend on."""
        shape = self.padded
        return json.dumps([self.platform, *shape.size, *shape.kernel, shape.channels, shape.filters, *shape.stride])

    @property
    def accesses(self) -> int:
        """Accesses of the array's memories that SCALE-Sim steps through."""
        height, width = outputs(self.padded)
        pixels, window = height * width, math.prod(self.padded.kernel) * self.padded.channels
        folds = math.ceil(self.padded.filters / self.array.columns), math.ceil(pixels / self.array.rows)
        return pixels * window * folds[0] + window * self.padded.filters * folds[1]


def outputs(shape: Convolution) -> tuple[int, int]:
    height, width = (
        (size + 2 * padding - kernel) // stride + 1
        for size, padding, kernel, stride in zip(shape.size, shape.padding, shape.kernel, shape.stride, strict=True)
    )
    return height, width


def with_padding_as_data(shape: Convolution) -> Convolution:
    """The same with the padding in the map, and without what no window reaches."""
    height, width = (
        (count - 1) * stride + kernel
        for count, stride, kernel in zip(outputs(shape), shape.stride, shape.kernel, strict=True)
    )
    return replace(shape, size=(height, width), padding=(0, 0))


def layers_of(platform: str, network: str) -> list[Layer]:
    with torch.device("meta"):
        model = getattr(networks, network)()
        sample = torch.zeros(1, 3, 224, 224)
    found = []
    for call in trace(model, sample, "int8").calls:
        assert call.loops is not None
        found.append(Layer(platform, network, call.layer, with_padding_as_data(call.loops), call.loops))
    return found


def our_counts(shape: Convolution, array: Array) -> Counts:
    return _core.array_traffic(shape.core(), array.core(8, 8))


def scalesim_counts(shape: Convolution, array: Array) -> Counts:
    """SCALE-Sim's counts of a layer, in words of one byte. Raises ImportError where it is not installed."""
    from scalesim.layout_utils import layouts
    from scalesim.scale_config import scale_config
    from scalesim.single_layer_sim import single_layer_sim
    from scalesim.topology_utils import topologies

    config = {
        "general": {"run_name": "eden"},
        "architecture_presets": {
            "ArrayHeight": array.rows,
            "ArrayWidth": array.columns,
            "IfmapSramSzkB": array.input_kib,
            "FilterSramSzkB": array.filter_kib,
            "OfmapSramSzkB": array.output_kib,
            # Far enough apart for the largest layer.
            "IfmapOffset": 0,
            "FilterOffset": 10**8,
            "OfmapOffset": 2 * 10**8,
            "Dataflow": DATAFLOWS[array.dataflow],
            "Bandwidth": 10,
            "ReadRequestBuffer": 512,
            "WriteRequestBuffer": 512,
        },
        "layout": {
            f"{what}{field}": value
            for what in ("Ifmap", "Filter")
            for field, value in (
                ("CustomLayout", False),
                ("SRAMBankBandwidth", 10),
                ("SRAMBankNum", 10),
                ("SRAMBankPort", 2),
            )
        },
        "sparsity": {
            "SparsitySupport": "false",
            "SparseRep": "ellpack_block",
            "OptimizedMapping": "false",
            "BlockSize": 8,
            "RandomNumberGeneratorSeed": 40,
        },
        "run_presets": {"InterfaceBandwidth": "CALC", "UseRamulatorTrace": False},
    }
    layer = [*shape.size, *shape.kernel, shape.channels, shape.filters, shape.stride[0]]
    with tempfile.TemporaryDirectory() as folder:
        config_file, topology_file = Path(folder) / "array.cfg", Path(folder) / "layer.csv"
        config_file.write_text(
            "\n".join(
                line
                for section, fields in config.items()
                for line in (f"[{section}]", *(f"{name} : {value}" for name, value in fields.items()))
            )
        )
        topology_file.write_text(f"Layer,H,W,FH,FW,C,N,S,\nlayer,{','.join(map(str, layer))},\n")
        settings, topology, layout = scale_config(), topologies(), layouts()
        settings.read_conf_file(str(config_file))
        settings.set_topology_file(str(topology_file))
        topology.load_arrays(topofile=str(topology_file), mnk_inputs=False)
        layout.load_arrays(layoutfile=str(topology_file), mnk_inputs=False)
        simulation: Any = single_layer_sim()
        simulation.set_params(layer_id=0, config_obj=settings, topology_obj=topology, layout_obj=layout, verbose=False)
        simulation.run()
        items = simulation.get_detail_report_items()
    return int(items[11]), int(items[14]), int(items[17])


def kept_results(path: Path) -> dict[str, Counts]:
    """Counts by key, of an earlier run."""
    if not path.exists():
        return {}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {line["key"]: (line["input"], line["weights"], line["output"]) for line in lines}


def run_missing(layers: list[Layer], results: dict[str, Counts], most: float, path: Path) -> None:
    waiting = {layer.key: layer for layer in layers if layer.key not in results and layer.accesses <= most * 1e6}
    for layer in sorted(waiting.values(), key=lambda layer: layer.accesses):
        started = time.process_time()
        results[layer.key] = scalesim_counts(layer.padded, layer.array)
        line = {"key": layer.key, **dict(zip(("input", "weights", "output"), results[layer.key], strict=True))}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(
            f"{layer.platform} {layer.network} {layer.name}: {layer.accesses / 1e6:.1f} million accesses, "
            f"{time.process_time() - started:.0f} s of a core",
            file=sys.stderr,
            flush=True,
        )


def compared(layers: list[Layer], results: dict[str, Counts]) -> Iterator[tuple[Layer, Counts, Counts, int]]:
    """Layers with counts: ours, SCALE-Sim's, and the words that padding is of ours."""
    for layer in layers:
        if layer.key in results:
            ours = our_counts(layer.padded, layer.array)
            yield layer, ours, results[layer.key], ours[0] - our_counts(layer.loops, layer.array)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("out/scalesim.jsonl"), help="SCALE-Sim's counts so far")
    parser.add_argument("--most", type=float, default=math.inf, help="million accesses of the longest layer to run")
    options = parser.parse_args()
    results = kept_results(options.results)
    by_network = {(array, network): layers_of(array, network) for array in ARRAYS for network in NETWORKS}
    everything = [layer for layers in by_network.values() for layer in layers]
    options.results.parent.mkdir(parents=True, exist_ok=True)
    run_missing(everything, results, options.most, options.results)

    far = 0
    for (array, network), layers in by_network.items():
        print(f"\n{array}, {network}: words, ours / SCALE-Sim's")
        print(f"{'layer':<12}{'input':>22}{'weights':>22}{'output':>18}{'all':>9}{'of padding':>12}")
        sums = [0, 0]
        for layer, ours, theirs, padding in compared(layers, results):
            pairs = [f"{one} / {other}" for one, other in zip(ours, theirs, strict=True)]
            off = sum(ours) / sum(theirs) - 1
            sums[0] += sum(ours)
            sums[1] += sum(theirs)
            far += abs(off) > TOLERANCE
            print(f"{layer.name:<12}{pairs[0]:>22}{pairs[1]:>22}{pairs[2]:>18}{off:>+9.2%}{padding:>12}")
        missing = [layer.name for layer in layers if layer.key not in results]
        if sums[1]:
            print(f"{'all':<12}{f'{sums[0]} / {sums[1]}':>22}{sums[0] / sums[1] - 1:>+49.2%}")
        if missing:
            print(f"not run: {', '.join(missing)}")
    print(f"\n{far} layers differ by more than {TOLERANCE:.0%}")
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
