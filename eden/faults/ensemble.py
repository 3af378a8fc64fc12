"""Several networks that decide together: copies on chips of their own, reads of one memory, or weights rounded anew."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from eden.common.arguments import check_choice, check_int, check_seed
from eden.faults.config import Faults
from eden.faults.faulty_layers import faulty_layers
from eden.faults.layers import layer_class
from eden.faults.network import bare
from eden.faults.reach import FilterFn, check_initialized, check_readable, eligible_layers, join_names
from eden.memory import storage as quantization

_OVER = ("chips", "reads", "roundings")
_DECISIONS = ("mean", "vote")
_EXACT = 1e-4  # of a step: nearer to a code than float32 tells, and so that code itself


class Ensemble(nn.Module):
    """A network several times over, whose members decide together; made before ``eden.inject_``, then as any network.

    Args:
        model: the trained network, not under faults; it is copied, and stays as it is. Its output is one tensor.
        members: how many decide, from 1.
        over: what members differ in. "chips": each is a copy with memory of its own, whose weak cells are independent
            of the others' (operands ``networks.0.conv1.weight``, ``networks.1.conv1.weight`` and so on): so many times
            the bytes and the traffic. "reads": one network (``networks.0``) is read from one memory so many times, so
            that only what fails now and then (``failure`` below 1) differs: the bytes of one, so many times the
            traffic. "roundings": copies as of "chips" whose weights are rounded at random to the two nearest codes of
            their storage, each with the probability that makes the mean the weight (of one bit, plus or minus the mean
            magnitude, of weights between these: Courbariaux et al., NeurIPS 2015). Reading them changes nothing more.
        decision: "mean": the mean of the members' outputs. "vote": of outputs (batch, classes, ...), the number of
            members for which a class is the highest, float32, and half of their mean probability, which decides where
            votes are equal. A member whose output for a sample is not finite has no vote; without any it is NaN.
        faults: of "roundings" alone: the ``Faults`` that the ensemble will be put under, for the storage of weights.
        filter_fn: of "roundings" alone: as in ``inject_``; what it leaves out is not rounded.
        seed: of "roundings": the first members of larger ensembles are those of smaller ones.

    Raises:
        TypeError, ValueError: naming the argument or the weight, for what is none of this, a network under faults,
            and storages whose weights have no symmetric codes.
    """

    def __init__(
        self,
        model: nn.Module,
        members: int,
        over: str = "chips",
        decision: str = "mean",
        *,
        faults: Faults | None = None,
        filter_fn: FilterFn | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}; allowed is a torch.nn.Module")
        check_int("members", members, 1)
        check_choice("over", over, _OVER)
        check_choice("decision", decision, _DECISIONS)
        check_seed("seed", seed)
        if faulty_layers(model):
            raise ValueError(
                f"{type(model).__name__} is under faults; allowed is a network before eden.inject_, or after "
                "eden.remove_: the ensemble is put under them"
            )
        if over == "roundings":
            _check_faults(faults)
        elif faults is not None or filter_fn is not None:
            which = "filter_fn" if faults is None else "faults"
            raise ValueError(f"{which} is given with over={over!r}, which rounds nothing; allowed is None")
        self.members, self.over, self.decision = members, over, decision
        self.networks = nn.ModuleList(copy.deepcopy(bare(model)) for _ in range(1 if over == "reads" else members))
        if faults is not None:
            generator = torch.Generator().manual_seed(seed)
            for network in self.networks:
                _round_(network, faults, filter_fn, generator)
        self.train(model.training)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The members' decision for what each of them is given."""
        reads = self.members if self.over == "reads" else 1
        outputs = [_tensor(network(*args, **kwargs)) for network in self.networks for _ in range(reads)]
        return torch.stack(outputs).mean(0) if self.decision == "mean" else _votes(torch.stack(outputs))


def _tensor(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"the output of a member is a {type(output).__name__}; allowed is a tensor")
    return output


def _votes(outputs: Tensor) -> Tensor:
    """Votes of members, and half of their mean probability; ``outputs`` (members, batch, classes, ...)."""
    if outputs.dim() < 3 or outputs.shape[2] < 2:
        raise ValueError(
            f"the output of a member has the shape {tuple(outputs.shape[1:])}; allowed to vote is (batch, classes, "
            "...) of two classes or more"
        )
    outputs = outputs.float()
    valid = outputs.isfinite().all(2, keepdim=True)
    known = torch.where(valid, outputs, 0.0)
    votes = torch.zeros_like(known).scatter_(2, known.argmax(2, keepdim=True), 1.0)
    # Divided by the number of those that vote: 0 / 0 where there is none.
    probability = (known.softmax(2) * valid).sum(0) / valid.sum(0)
    return (votes * valid).sum(0) + 0.5 * probability


def _check_faults(faults: Faults | None) -> None:
    if not isinstance(faults, Faults):
        raise TypeError(
            f"faults is a {type(faults).__name__}; allowed with over='roundings' is the eden.Faults that the ensemble "
            "will be put under, whose storage weights are rounded to"
        )
    storage = faults.storage
    codes = storage in quantization.CODE_BITS and storage not in quantization.UNSIGNED
    if not (codes or storage == "sign") or faults.quantization != "symmetric":
        signed = [*(name for name in quantization.CODE_BITS if name not in quantization.UNSIGNED), "sign"]
        raise ValueError(
            f"faults keeps weights as {faults.quantization} {storage!r}; allowed with over='roundings' are symmetric "
            f"{', '.join(signed)}"
        )


def _round_(network: nn.Module, faults: Faults, filter_fn: FilterFn | None, generator: torch.Generator) -> None:
    """Round a network's weights at random, in place."""
    check_initialized(network, filter_fn)
    done: set[int] = set()
    for name, layer in eligible_layers(network)[0].items():
        if filter_fn is not None and not filter_fn(name, layer):
            continue
        for role in layer_class(layer).roles(layer):
            if role.kind == "input" or role.indices or role.part not in faults.parameters:
                continue
            path, _, own = role.name.rpartition(".")
            weight = layer.get_submodule(path)._parameters.get(own)
            full = join_names(name, role.name)
            if weight is None:
                raise ValueError(
                    f"{full} is no Parameter of its layer; allowed to round is one, not what is made of it"
                )
            check_readable(full, layer, weight, faults.storage)
            if weight.is_meta or not bool(weight.isfinite().all()):
                raise ValueError(f"{full} has no values, or one that is not finite; allowed to round are finite ones")
            if id(weight) not in done:
                done.add(id(weight))
                channel_dim = role.channel_dim if faults.weight_channels else -1
                with torch.no_grad():
                    weight.copy_(_rounded(weight, faults.storage, channel_dim, generator))


def _rounded(weight: Tensor, storage: str, channel_dim: int, generator: torch.Generator) -> Tensor:
    """A tensor's values rounded at random to the codes that its storage would keep it as."""
    values = weight.detach().float().cpu()
    drawn = torch.rand(values.shape, generator=generator, device="cpu")
    one_bit = storage == "sign"
    if one_bit:
        scale = quantization.mean_magnitude(values, channel_dim)
    else:
        scale = cast(Tensor, quantization.measure_range(values, storage, False, False, channel_dim)[0])
    if channel_dim >= 0:
        scale = scale.reshape([-1 if dim == channel_dim else 1 for dim in range(values.dim())])
    steps = values / torch.where(scale == 0, 1.0, scale)
    if one_bit:
        return torch.where(drawn < 0.5 + 0.5 * steps, scale, -scale)
    nearest = steps.round()
    drawn_codes = torch.floor(steps + drawn)
    # The largest magnitude has to stay, or the codes would cover another range.
    return torch.where((steps - nearest).abs() < _EXACT, nearest, drawn_codes) * scale
