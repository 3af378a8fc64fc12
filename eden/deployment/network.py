"""A network under faults as one that computes in integers from a memory image."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eden.deployment.codes import quantized
from eden.deployment.forms import WeightForm, form_of
from eden.deployment.graph import Lowering, has_hooks, traced
from eden.deployment.image import MemoryImage
from eden.deployment.kernels import ENGINES, MOST_PRODUCTS, Product, Window, engine_of
from eden.deployment.writing import by_channel, check_whole_words, located
from eden.faults.classes import original_class
from eden.faults.digests import network_digest
from eden.faults.faulty_layers import FaultyLayer, faulty_layers, layer_operands, require_faults
from eden.faults.layers import stored
from eden.faults.memories import set_errors_
from eden.faults.network import bare, model_device
from eden.faults.operand import Operand
from eden.memory.storage import measure_range


class Deployed(nn.Module):
    """A network that computes in integers; ``eden.deploy`` makes one.

    Convolutions and matrix products take uint8 codes, add in int32 and give the codes that the next layer reads, or
    float32 where something else reads them. It is for inference on the CPU: it has no parameters to train, and what is
    changed in the network or the image afterwards does not reach it.

    Attributes:
        network: the graph that is computed.
        engine: name of what computes.
        integer: layers whose products are of integers.
        in_float: by layer under faults, why it computes in float32, from the values that its words and codes stand for.
        image: the words that it was made from.
    """

    def __init__(
        self, network: nn.Module, engine: str, integer: tuple[str, ...], in_float: dict[str, str], image: MemoryImage
    ) -> None:
        super().__init__()
        self.network, self.engine, self.integer, self.in_float, self.image = network, engine, integer, in_float, image
        self.train(False)

    def train(self, mode: bool = True) -> Deployed:
        """Evaluation mode is the only one. Raises ValueError for the other."""
        if mode:
            raise ValueError("a deployed network cannot be trained; allowed is its evaluation mode")
        super().train(False)
        return self

    def export(self, inputs: Tensor, path: str | os.PathLike[str]) -> Path:
        """Compile it into a package of AOTInductor for runtimes without Python; a C++ compiler is needed.

        It takes the samples and the words of its weights as a memory gives them back, uint8 of shape (bytes,): those of
        each weight one after another, in the order of its metadata (docs/how-to/deploy.md). A package is machine code:
        run none whose origin you do not trust.

        Args:
            inputs: as many samples as it is to compute at once, float32 of shape (N, ...).
            path: the file to write, which ends in ".pt2".

        Returns:
            The path.

        Raises:
            TypeError: for inputs that are no float32 tensor.
            ValueError: for a network that torch.export or AOTInductor cannot take.
            eden.FileError: if the file cannot be written.
        """
        from eden.deployment.package import write_package

        if not isinstance(inputs, Tensor):
            raise TypeError(f"inputs is a {type(inputs).__name__}; allowed is a tensor of samples, shape (N, ...)")
        _check_input(inputs)
        return write_package(self.network, inputs, path, self.image)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network gives, for the same arguments: float32 tensors on the CPU.

        Raises:
            TypeError: for a tensor of another floating-point format.
            ValueError: for a tensor on another device, or with a value that is not finite.
        """
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                _check_input(value)
        with torch.no_grad():
            return self.network(*args, **kwargs)


def _check_input(x: Tensor) -> None:
    if not x.is_cpu:
        raise ValueError(f"an input is on {x.device}; allowed for a deployed network is the CPU")
    if x.is_floating_point():
        if x.dtype != torch.float32:
            raise TypeError(f"an input has the dtype {x.dtype}; allowed for a deployed network is torch.float32")
        if not bool(torch.isfinite(x).all()):
            raise ValueError("an input has a value that is not finite; allowed are finite numbers")


def deploy(model: nn.Module, image: MemoryImage | str | os.PathLike[str], *, engine: str | None = None) -> Deployed:
    """A network that computes in integers from the words of a memory image.

    Of each convolution of two dimensions and each linear layer whose weight and input are codes of 8 bits the weight's
    codes are read from the image once, corrected as the network corrects them, and packed for the engine. Batch
    normalization, a sum and a ReLU that follow are folded in. All else is computed in float32, layers under faults from
    the values that their words and codes stand for (``Deployed.in_float`` says which and why).

    Weights have the errors that the image has in it (``MemoryImage.corrupted``). Feature maps are kept in the network's
    codes, on reliable memory: flips in them are what a device's memory adds when it runs, and ``eden.evaluate``
    simulates them.

    Args:
        model: a network under faults on the CPU, calibrated, in float32; it stays as it is.
        image: words of this network, of ``eden.memory_image`` or its ``corrupted``; or the path of their file.
        engine: "onednn", torch's kernels for quantized networks on x86, or "reference", which computes the same sums by
            their definition, slowly, on every processor; None for the first where its sums are exact, and else the
            second (``Deployed.engine``).

    Raises:
        TypeError: for an image that is none.
        eden.FileError: for a file of one that cannot be used.
        ValueError: naming what is not allowed: an image of another network, or of words where the placement that the
            network is under does not have them; an engine that this torch or processor lacks; a storage of other words;
            a network that is not calibrated, is on a GPU, not in float32, or has no one graph; or one without any layer
            that integers can compute.
    """
    if isinstance(image, (str, os.PathLike)):
        image = MemoryImage.load(image)
    if not isinstance(image, MemoryImage):
        raise TypeError(f"image is a {type(image).__name__}; allowed is what eden.memory_image returns, or its file")
    engine = engine_of(engine)
    require_faults(model)
    inner = bare(model)
    _check_network(inner)
    if image.header.provenance is None:
        raise ValueError(
            "the memory image does not say of which network it is; allowed is what eden.memory_image writes"
        )
    image.header.check_made_from("memory image", network=network_digest(inner))
    read = _Weights(inner, image)
    layers = faulty_layers(inner)
    if "" in layers:
        raise ValueError(
            f"{original_class(type(inner)).__name__} reads operands itself, as a single layer or in functions of its "
            "own; allowed for integer inference are networks whose layers read them, as in torch.nn.Sequential "
            "before eden.inject_"
        )
    reasons = {name: _why_in_float(layer) for name, layer in layers.items()}
    products = {name: _product(layers[name], read) for name, reason in reasons.items() if reason is None}
    plain = _in_float(inner, read)
    graph = traced(plain, frozenset(layers))
    lowering = Lowering(plain, graph, products, ENGINES[engine])
    integer = tuple(name for name in layers if name in lowering.layers)
    in_float = {
        name: reason or "it is called inside of another layer, or with other arguments than its input"
        for name, reason in reasons.items()
        if name not in integer
    }
    if not integer:
        raise ValueError(
            f"{type(inner).__name__} has no layer that integers can compute: "
            + "; ".join(f"{name}: {reason}" for name, reason in in_float.items())
        )
    return Deployed(lowering.module(), engine, integer, in_float, image)


def _check_network(model: nn.Module) -> None:
    device = model_device(model)
    if device.type != "cpu":
        raise ValueError(f"the network is on {device}; allowed for integer inference is the CPU")
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise ValueError(f"{name} is {parameter.dtype}; allowed for integer inference is torch.float32")


class _Weights:
    """What the words of an image stand for."""

    def __init__(self, model: nn.Module, image: MemoryImage) -> None:
        self._read: dict[str, tuple[WeightForm, Tensor, Tensor]] = {}
        for layer, operand in layer_operands(model, "weight"):
            if operand.name in self._read:
                continue
            check_whole_words(operand)
            held = image.header.operands.get(operand.name)
            values = stored(layer, operand.role.name).detach()
            if held is None or held.storage != operand.storage or held.bytes != values.numel():
                found = "no words" if held is None else f"{held.bytes} bytes of {held.storage}"
                raise ValueError(
                    f"{operand.name}: the memory image has {found}; allowed is the network's, {values.numel()} bytes "
                    f"of {operand.storage}"
                )
            if isinstance(operand.errors, tuple) and located(operand, values.numel()) != list(held.pieces):
                raise ValueError(
                    f"{operand.name} lies in the memory image from bit {held.pieces[0].address_bits} on, and the "
                    f"network is under a placement that has it elsewhere; allowed is the image of that placement"
                )
            form, scale = _weight_form(operand, values)
            self._read[operand.name] = form, form.read(image.words[operand.name]), scale

    def of(self, operand: Operand) -> tuple[WeightForm, Tensor, Tensor]:
        """How a weight is kept, its int8 codes, and their scale, of a shape that goes with it."""
        return self._read[operand.name]

    def values(self, operand: Operand) -> Tensor:
        """float32 of a weight's shape."""
        _, codes, scale = self._read[operand.name]
        return codes.float() * scale


def _weight_form(operand: Operand, values: Tensor) -> tuple[WeightForm, Tensor]:
    """How a weight of such values is kept, and its scale."""
    scale, _, bounds = measure_range(values, operand.storage, False, True, operand.channel_dim)
    assert scale is not None
    assert bounds is not None
    scale = by_channel(scale, operand.channel_dim, values.dim())
    low, high = (quantized(end, scale, 0, operand.storage, False) for end in bounds)
    form = WeightForm(operand.name, operand.storage, tuple(values.shape), low, high, operand.correction)
    return form, scale


def _why_in_float(layer: FaultyLayer) -> str | None:
    """Why no product of integers takes a layer's place, None where one does."""
    cls = original_class(type(layer))
    by_role: Mapping[str, Operand] = layer.eden_faults.by_role
    if cls not in (nn.Conv2d, nn.Linear):
        return f"no integer kernel computes a {cls.__name__}"
    if "weight" not in by_role or "input" not in by_role:
        missing = "weight" if "weight" not in by_role else "input"
        return f"its {missing} is not under faults, and so not in codes"
    if has_hooks(layer):
        return "it has hooks, which take float32"
    if isinstance(layer, nn.Conv2d) and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        return f"its padding is {layer.padding!r} of mode {layer.padding_mode!r}"
    products = stored(layer, "weight")[0].numel()
    if products > MOST_PRODUCTS:
        return f"an output is a sum of {products} products, and an int32 holds {MOST_PRODUCTS}"
    return None


def _product(layer: Any, read: _Weights) -> Product:
    by_role: Mapping[str, Operand] = layer.eden_faults.by_role
    weight, codes, scale = read.of(by_role["weight"])
    outputs = len(codes)
    bias = torch.zeros(outputs)
    if layer.bias is not None:
        bias = read.values(by_role["bias"]) if "bias" in by_role else layer.bias.detach().clone()
    window = None
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        window = Window(tuple(layer.stride), tuple(layer.padding), tuple(layer.dilation), layer.groups)
    scale = scale.reshape(-1).expand(outputs).contiguous()
    return Product(codes.contiguous(), scale, bias, form_of(layer, by_role["input"]), window, weight=weight)


def _in_float(model: nn.Module, read: _Weights) -> nn.Module:
    """A copy in evaluation mode whose layers under faults compute from what was read, on reliable feature maps."""
    copied = copy.deepcopy(model).eval()
    set_errors_(copied, {operand.name: None for _, operand in layer_operands(copied, "input", absent=True)})
    for name, layer in faulty_layers(copied).items():
        faults = layer.eden_faults
        for role, operand in list(faults.by_role.items()):
            if operand.kind == "weight":
                *path, last = operand.role.name.split(".")
                owner = layer.get_submodule(".".join(path))
                if last in owner._parameters:
                    setattr(owner, last, nn.Parameter(read.values(operand), requires_grad=False))
                elif last in owner._buffers:
                    setattr(owner, last, read.values(operand))
                else:
                    raise ValueError(
                        f"{name}.{operand.role.name} is made anew at each look, as a parametrization does; allowed for "
                        "integer inference are plain parameters (torch.nn.utils.parametrize.remove_parametrizations)"
                    )
                del faults.by_role[role]
    return copied
