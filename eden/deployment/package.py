"""A deployed network as one compiled file, which takes the words of its weights, for programs without Python."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from eden.common.files import HEADER_KEY
from eden.common.packages import exported, package_path, write_compiled
from eden.deployment.image import MemoryImage
from eden.deployment.kernels import OneDnn, Reference

FORMAT, VERSION = "eden-deployed", 1
"""Of the JSON object in a package's metadata."""


class _FromWords(fx.Interpreter):
    """A network's graph with weights that are arguments, by layer as ``pack`` gave them."""

    def __init__(self, network: fx.GraphModule, packed: dict[str, Tensor]) -> None:
        super().__init__(network)
        self._packed = packed

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a layer gives."""
        layer = self.fetch_attr(target)
        if isinstance(layer, (OneDnn, Reference)):
            codes, added = (*args, None)[:2]
            return layer.compute(self._packed[target], codes, added, fused=False)
        return layer(*args, **kwargs)


class _Packaged(nn.Module):
    """A network whose weights' words are an argument."""

    def __init__(self, network: nn.Module, image: MemoryImage) -> None:
        super().__init__()
        assert isinstance(network, fx.GraphModule)
        self.network = network
        products = {name: layer for name, layer in network.named_modules() if isinstance(layer, (OneDnn, Reference))}
        needed = {layer.product.weight.name for layer in products.values() if layer.product.weight is not None}
        self.operands = [name for name in image.header.operands if name in needed]
        self._products, first = products, 0
        self._places: dict[str, slice] = {}
        for name in self.operands:
            size = image.header.operands[name].bytes
            self._places[name] = slice(first, first + size)
            first += size

    def forward(self, x: Tensor, words: Tensor) -> Any:
        """The network's output for samples and the words of ``operands``, one after another."""
        packed = {}
        for name, layer in self._products.items():
            weight = layer.product.weight
            assert weight is not None
            packed[name] = layer.pack(weight.read(words[self._places[weight.name]]))
        return _FromWords(self.network, packed).run(x)


def write_package(network: nn.Module, inputs: Tensor, path: str | os.PathLike[str], image: MemoryImage) -> Path:
    """Compile a deployed network into a package.

    Args:
        network: its graph.
        inputs: samples, as many as the package is to compute at once.
        path: the file to write, which ends in ".pt2".
        image: words of its weights, which say how many there are of each; the package takes others, too.

    Returns:
        The path.

    Raises:
        ValueError: for a network that torch.export or AOTInductor cannot take.
        eden.FileError: if the file cannot be written.
    """
    target = package_path(path)
    packaged = _Packaged(network, image).eval()
    words = torch.cat([image.words[name] for name in packaged.operands])
    provenance = image.header.provenance
    body = {
        "format": FORMAT,
        "version": VERSION,
        "network": None if provenance is None else provenance.of.get("network"),
        "input_shape": list(inputs.shape),
        "operands": {name: image.header.operands[name].bytes for name in packaged.operands},
    }
    _tell_shapes()
    with torch.no_grad():
        program = exported(packaged, (inputs, words))
    write_compiled(program, target, {HEADER_KEY: json.dumps(body)})
    return target


def _tell_shapes() -> None:
    """Tell torch.export what packed weights look like, which torch does not say of its own operator."""
    with contextlib.suppress(RuntimeError):  # known already
        torch.library.register_fake("onednn::qconv_prepack")(_packed_like)


def _packed_like(weight: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(weight)
