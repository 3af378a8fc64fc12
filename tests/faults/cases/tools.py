"""torch's own tools that change layers."""

import copy
import types

import torch
from faults.cases.oracle import ERRORS, convolutional, network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import fusion, parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.mkldnn import to_mkldnn

import eden

GROUP = "Tools of torch that change layers"
X = numbers(5, 8)


def both(tool: object, gradients: bool = True) -> None:
    """A tool on a layer before inject_ and after it: reads are those of what the tool makes of the weight."""
    for before in (True, False):
        plain, model = network(), network()
        torch.manual_seed(1)
        tool(plain)
        plain.eval()
        if before:
            torch.manual_seed(1)
            tool(model)
            put(model, X)
        else:
            put(model, X)
            torch.manual_seed(1)
            tool(model)
        check_made(model, plain)


def check_made(model: nn.Module, plain: nn.Module) -> None:
    """Compare with a network whose tool is taken away, so that its weights are Parameters again."""
    flat = network()
    with torch.no_grad():
        plain(X), model(X)
        for ours, theirs in zip(flat, plain, strict=True):
            if isinstance(ours, nn.Linear):
                ours.weight.copy_(theirs.weight)
                ours.bias.copy_(theirs.bias)
        right(model, flat, X, close=1e-5)
    model.train()(X).sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model[0].parameters())
    rows = eden.coverage(model.eval(), sample=X)
    assert rows.weight_share is not None
    assert rows.weight_share > 0.85, rows


@case(GROUP)
def weight_norm() -> None:
    """weight_norm by a parametrization, before inject_ and after."""
    both(lambda model: parametrizations.weight_norm(model[0]))


@case(GROUP)
def weight_norm_hook() -> None:
    """weight_norm by a hook, before inject_ and after."""
    both(lambda model: nn.utils.weight_norm(model[0]))


@case(GROUP)
def spectral_norm() -> None:
    """spectral_norm by a parametrization, before inject_ and after."""
    both(lambda model: parametrizations.spectral_norm(model[0]))


@case(GROUP)
def spectral_norm_hook() -> None:
    """spectral_norm by a hook, before inject_ and after."""
    both(lambda model: nn.utils.spectral_norm(model[0]))


@case(GROUP)
def orthogonal() -> None:
    """An orthogonal parametrization, before inject_ and after."""
    both(lambda model: parametrizations.orthogonal(model[0]))


@case(GROUP)
def pruned() -> None:
    """Pruning, before inject_ and after: memory holds the pruned weight."""
    both(lambda model: prune.l1_unstructured(model[0], "weight", 0.5))


@case(GROUP)
def pruned_for_good() -> None:
    """Pruning after inject_, made permanent."""

    def tool(model: nn.Module) -> None:
        prune.l1_unstructured(model[0], "weight", 0.5)
        prune.remove(model[0], "weight")

    both(tool)


@case(GROUP)
def norm_removed() -> None:
    """weight_norm before inject_, taken away after it, by hook and by parametrization."""
    for make, take in (
        (nn.utils.weight_norm, nn.utils.remove_weight_norm),
        (parametrizations.weight_norm, lambda layer: parametrize.remove_parametrizations(layer, "weight")),
    ):
        plain = network()
        model = copy.deepcopy(plain)
        make(model[0])
        put(model, X)
        take(model[0])
        right(model, plain, X, close=1e-5)


@case(GROUP)
def cached() -> None:
    """A parametrization that is computed once for a whole pass (parametrize.cached)."""
    plain, model = network(), network()
    for each in (plain, model):
        parametrizations.weight_norm(each[0])
    put(model, X)
    with parametrize.cached():
        model(X)
        check_made(model, plain)


@case(GROUP)
def averaged() -> None:
    """Averages of networks, exponential and not, and their batch normalization."""
    for options in ({}, {"multi_avg_fn": get_ema_multi_avg_fn(0.5)}):
        plain, x = convolutional(), numbers(3, 3, 8, 8)
        model = put(copy.deepcopy(plain), x)
        average, theirs = AveragedModel(model, **options), AveragedModel(plain, **options)
        for index in range(3):
            with torch.no_grad():
                for each in (model, plain):
                    each[0].weight.add_(0.1 * index)
            average.update_parameters(model)
            theirs.update_parameters(plain)
        right(average.module.eval(), theirs.module.eval(), x)
        update_bn([x], average)
        assert average.module[1].num_batches_tracked == 1


@case(GROUP)
def initialized_again() -> None:
    """Weights that are set anew: reset_parameters, nn.init, apply, vector_to_parameters."""
    plain = network()
    model = put(copy.deepcopy(plain), X)

    def init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 0.5)
            module.weight.data[0] += 0.25

    for each in (model, plain):
        torch.manual_seed(2)
        each[0].reset_parameters()
        each[2].apply(init)
    right(model, plain, X)
    vector = nn.utils.parameters_to_vector(plain.parameters()) * 2
    for each in (model, plain):
        nn.utils.vector_to_parameters(vector.detach(), each.parameters())
    right(model, plain, X)


@case(GROUP)
def lazy() -> Refused:
    """A lazy layer before its first pass; after it, it is right."""
    plain = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(4))
    with torch.no_grad():
        ready = copy.deepcopy(plain)
        ready(X)
    right(put(copy.deepcopy(ready), X), ready, X)
    return refused("inject_", ValueError, lambda: put(plain, X), "0: not initialized", "1: not initialized")


@case(GROUP)
def meta() -> None:
    """A network on the meta device, materialized after inject_ by to_empty."""
    plain = network().eval()
    model = eden.inject_(copy.deepcopy(plain).to("meta"), eden.Faults(ERRORS, ERRORS, "int8", seed=3))
    model.to_empty(device="cpu")
    model.load_state_dict(plain.state_dict())
    eden.calibrate_(model, [X])
    right(model, plain, X)


@case(GROUP)
def on_meta() -> Refused:
    """calibrate_ of a network on the meta device."""
    model = eden.inject_(network().to("meta"), eden.Faults(ERRORS, ERRORS, "int8"))
    return refused("calibrate_", Exception, lambda: eden.calibrate_(model, [X]), "meta")


@case(GROUP)
def own_forward() -> None:
    """A forward that another tool sets on the layer itself, before inject_ and after."""
    plain = network()
    for before in (True, False):
        model = copy.deepcopy(plain)
        if before:
            model[0].forward = types.MethodType(nn.Linear.forward, model[0])
        put(model, X)
        if before:
            right(model, plain, X)
            continue
        inner = model[0].forward
        model[0].forward = types.MethodType(lambda self, x, inner=inner: inner(x), model[0])
        right(model, plain, X)


@case(GROUP)
def hidden_forward() -> Refused:
    """A forward that another tool sets on the layer before inject_, and that hides the layer's own in a closure."""
    model = network()
    inner = model[0].forward
    model[0].forward = lambda x: inner(x)
    return refused("calibrate_", ValueError, lambda: put(model, X), "0: never called")


@case(GROUP)
def other_class() -> None:
    """A class that is exchanged after inject_, as FSDP2 does it: see also FSDP2 itself."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    model[0].__class__ = type("Sharded", (type(model[0]),), {})
    right(model, plain, X)
    eden.remove_(model)
    same(model(X), plain(X))


@case(GROUP)
def mkldnn() -> Refused:
    """torch.utils.mkldnn.to_mkldnn after inject_."""
    model = put(network(), X)
    return refused("operands", ValueError, lambda: eden.operands(to_mkldnn(model)), "no layer under faults")


@case(GROUP)
def doubled_parameter() -> None:
    """A Parameter exchanged for another after inject_."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    for each in (model, plain):
        each[0].weight = nn.Parameter(numbers(8, 8, seed=4))
    right(model, plain, X, gradients=True)


@case(GROUP)
def transformed_layer() -> None:
    """A transformer's layer with its fast path: layers are read one by one."""
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = numbers(2, 5, 8)
    put(model, x)
    with torch.inference_mode():
        fast = model(x)
    same(fast, model(x), 1e-5)
    found = eden.coverage(model, sample=x)
    assert found.weight_share is not None
    assert found.weight_share > 0.8


@case(GROUP)
def convolution_memory() -> None:
    """Convolution weights moved to channels-last one by one."""
    plain, x = convolutional().eval(), numbers(3, 3, 8, 8)
    model = put(copy.deepcopy(plain), x)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    right(model, plain, x, close=1e-5)


@case(GROUP)
def dynamic_quantization_later() -> None:
    """torch.ao's dynamic quantization after inject_: layers under faults are none that it converts."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    right(quantize_dynamic(model, {nn.Linear}), plain, X)


@case(GROUP)
def folded() -> None:
    """Normalization folded into linear layers after inject_."""
    plain = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)).eval()
    model = put(copy.deepcopy(plain), X)
    for each in (model, plain):
        each[0] = fusion.fuse_linear_bn_eval(each[0], each[1])
        each[1] = nn.Identity()
    right(model, plain, X)
