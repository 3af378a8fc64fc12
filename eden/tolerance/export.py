"""A network under faults as one compiled file, with its operands' rates as inputs, for programs without Python.

``export`` compiles it with AOTInductor. How the operands' cells fail, the chip and the access numbers are inputs of
what comes out, so that one file answers a whole search: that of ``eden.profile``, or that of the program
``eden-profile``, which come to the same tolerance.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from eden import _core
from eden.common.packages import exported, package_path, write_compiled
from eden.faults import memories
from eden.faults.borrow import borrowed
from eden.faults.digests import network_digest
from eden.faults.faulty_layers import faulty_layers
from eden.faults.memories import scalable_errors
from eden.faults.reads import Reads
from eden.memory.lines import LineModel
from eden.memory.planes import operand_and_plane, plane_mask
from eden.tolerance.network import check_searchable, moved_bytes
from eden.tolerance.package import (
    METADATA_KEY,
    PackagedOperand,
    PackageInfo,
    check_packageable,
    filled,
    inputs_of,
    table_entries,
)

SAMPLES_PER_RUN = 64
"""Samples that a package computes at once where ``export`` is not told otherwise."""


class _Exported(nn.Module):
    """A network whose regions, table, chip and access numbers are arguments."""

    def __init__(self, network: nn.Module, rows: Mapping[str, int], calls: Mapping[str, int]) -> None:
        super().__init__()
        self.network, self._rows, self._calls = network, dict(rows), dict(calls)

    def forward(self, x: Tensor, regions: Tensor, chip: Tensor, access: Tensor, table: Tensor | None = None) -> Tensor:
        """The network's output.

        Args:
            x: the network's input.
            regions: int64, a row for each operand, or each of its planes.
            chip: int64 scalar, seed of the chip.
            access: int64 scalar, forward passes since the chip was set.
            table: int64 vector, of the regions' lines; None where there are none.
        """
        held: dict[str, Tensor] = {}
        for name, layer in faulty_layers(self.network).items():
            prefix = f"{name}." if name else ""
            held[f"{prefix}eden_chip"] = chip
            held[f"{prefix}eden_access"] = access * self._calls[name]
            for operand in layer.eden_faults.operands():
                row = self._rows[operand.name]
                held[prefix + operand.buffers.region] = regions[row : row + len(operand.places)]
                if table is not None:
                    held[prefix + operand.buffers.table] = table
        output: Tensor = torch.func.functional_call(self.network, held, (x,))
        return output


def _packaged_operands(model: nn.Module) -> tuple[PackagedOperand, ...]:
    infos = memories.operands(model)
    errors = scalable_errors(model)
    moved = moved_bytes(infos)
    corrections = {
        operand.name: operand.correction
        for layer in faulty_layers(model).values()
        for operand in layer.eden_faults.operands()
    }
    found = []
    used = 0
    for name, info in infos.items():
        lines = errors.get(name)
        first = None
        address = info.address
        if isinstance(info.errors, tuple):
            if len(info.errors) > 1:
                count = len(info.errors)
                raise ValueError(
                    f"{name} lies in {count} pieces of memory; allowed in a package is one (eden.set_errors_)"
                )
            address = info.errors[0][1]
        if lines is not None:
            check_packageable(lines, name)
        if isinstance(lines, LineModel):
            first = used
            used += 2 * lines.line_probabilities().size
        found.append(
            PackagedOperand(
                name=name,
                kind="weight" if info.kind == "weight" else "input",
                bytes=info.bytes or 0,
                moved_bytes=moved[name],
                storage=info.storage,
                address=address,
                plane=plane_mask(info.plane),
                correction=corrections[info.operand],  # type: ignore[arg-type]
                errors=None if lines is None else lines.to_dict(),
                table_first=first,
            )
        )
    return tuple(found)


def _refuse_gates(program: torch.export.ExportedProgram) -> None:
    """Raise ValueError, naming the layer, where a read is of as many samples as values decide: none read nothing."""
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

    for node in program.graph.nodes:
        if getattr(node.target, "namespace", "") != "eden":
            continue
        shapes = [x.meta["val"] for x in node.all_input_nodes if isinstance(x.meta.get("val"), Tensor)]
        if any(free_unbacked_symbols(x) for x in shapes):
            path = [name for name, _ in (node.meta.get("nn_module_stack") or {}).values()]
            raise ValueError(
                f"{path[-1].removeprefix('network.') if path else node.name} reads as many samples as a gate lets "
                "through; allowed in a package are layers that read all of them: profile the network itself"
            )


def export(
    model: nn.Module, inputs: Tensor, path: str | os.PathLike[str], *, samples_per_run: int = SAMPLES_PER_RUN
) -> Path:
    """Compile a network under faults into a package of AOTInductor that takes its operands' rates.

    The network is compiled in evaluation mode, for the CPU or the GPU that it is on, and stays as it was. A C++
    compiler is needed. A package is machine code: run none whose origin you do not trust.

    Args:
        model: a network on the CPU or a GPU after ``inject_`` and ``calibrate_``, from one tensor (N, ...) to one
            (N, classes).
        inputs: samples, shape (N, ...), of the dtype that the network takes, on its device; they say what the package
            takes.
        path: the file to write, which ends in ".pt2".
        samples_per_run: samples that the package computes at once; others wait, missing ones are filled up.

    Returns:
        The path.

    Raises:
        ValueError: naming what the package could not hold: an error model (allowed are Uniform, DataDependent, and
            Bitline and Wordline with measured rates), an operand in several pieces of memory or never read, a layer
            that reads as many samples as a gate lets through, a network on several devices, with another output, or
            that torch.export or AOTInductor cannot take.
        TypeError: for inputs that are no tensor.
        eden.FileError: if the file cannot be written.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; allowed is a torch.nn.Module")
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs is a {type(inputs).__name__}; allowed is a tensor of samples, shape (N, ...)")
    if inputs.dim() < 1 or len(inputs) == 0:
        raise ValueError(f"inputs has the shape {tuple(inputs.shape)}; allowed is (N, ...) with N of 1 or more")
    if isinstance(samples_per_run, bool) or not isinstance(samples_per_run, int) or samples_per_run < 1:
        raise ValueError(f"samples_per_run is {samples_per_run!r}; allowed is an int, 1 or more")
    target = package_path(path)
    devices = sorted({str(tensor.device) for tensor in (*model.parameters(), *model.buffers(), inputs)})
    if len(devices) > 1 or inputs.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"the network and its samples are on {', '.join(devices)}; allowed for a package is the CPU or one GPU"
        )
    check_searchable(memories.operands(model), model)
    operands = _packaged_operands(model)
    batch = filled(inputs[:samples_per_run], samples_per_run)
    with borrowed(model), torch.no_grad():
        for layer in faulty_layers(model).values():
            layer.eden_access.zero_()
        reads = Reads(model)
        reads.begin()
        output = reads.call(model, batch)
        reads.end()
        if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != samples_per_run:
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"the network's output is {found}; allowed in a package is a tensor (batch, classes)")
        calls = {name: int(layer.eden_access) for name, layer in faulty_layers(model).items()}
        reads.check()
        unread = [name for name, count in calls.items() if count == 0]
        if unread:
            raise ValueError(f"{', '.join(unread)}: never called in a forward pass; leave them out with filter_fn")
        info = PackageInfo(
            eden_version=importlib.metadata.version("eden-dram"),
            random_layout=_core.RANDOM_LAYOUT_VERSION,
            input_shape=tuple(batch.shape),
            input_dtype=str(batch.dtype).removeprefix("torch."),
            classes=output.shape[1],
            table_entries=table_entries(operands),
            operands=operands,
            network=network_digest(model),
        )
        errors = {operand.name: one for operand in operands if (one := operand.model) is not None}
        regions, chip, access, table = inputs_of(info, errors, 0, 0, inputs.device)
        # Of an operand in planes, the first one's; `operands` has them one after the other.
        rows: dict[str, int] = {}
        for row, operand in enumerate(operands):
            rows.setdefault(operand_and_plane(operand.name)[0], row)
        arguments = (batch, regions, chip, access) + (() if table is None else (table,))
        program = exported(_Exported(model, rows, calls), arguments)
        _refuse_gates(program)
    write_compiled(program, target, {METADATA_KEY: info.text()})
    return target
