"""Gradients of every kind."""

import copy

import torch
from faults.cases.oracle import Oracle, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacrev, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint, checkpoint_sequential, set_checkpoint_early_stop

import eden

GROUP = "Gradients"
X = numbers(5, 8)


def pair() -> tuple[nn.Module, nn.Module]:
    plain = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    with torch.no_grad():
        for index, parameter in enumerate(plain.parameters()):
            parameter.copy_(numbers(*parameter.shape, seed=index) / 2)
    return put(copy.deepcopy(plain), X), plain


def loss_of(model: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    output: Tensor = functional_call(model, parameters, (x,))
    return output.square().sum()


@case(GROUP)
def other_parameters() -> None:
    """functional_call with other Parameters: those are read through memory."""
    model, plain = pair()
    others = {name: parameter * 2 for name, parameter in plain.named_parameters()}
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(others[name])
    right(model, plain, X, run=lambda x: functional_call(model, others, (x,)))


@case(GROUP)
def per_sample() -> None:
    """Gradients of each sample by grad and vmap: as one after the other."""
    model, _ = pair()
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    each = vmap(grad(lambda p, x: loss_of(model, p, x[None])), in_dims=(None, 0))(parameters, X)
    for index in range(len(X)):
        model.zero_grad()
        model(X[index : index + 1]).square().sum().backward()
        for name, parameter in model.named_parameters():
            same(each[name][index], parameter.grad, 1e-5)


@case(GROUP)
def ensemble() -> None:
    """An ensemble by stack_module_state and vmap: each member reads its own weights from the same cells."""
    members = [pair()[0] for _ in range(3)]
    for index, member in enumerate(members):
        for parameter in member.parameters():
            parameter.data.mul_(1 + index)
    parameters, buffers = stack_module_state(members)
    run = vmap(lambda p, b, x: functional_call(members[0], (p, b), (x,)), in_dims=(0, 0, None))
    found = run(parameters, buffers, X)
    for index, member in enumerate(members):
        same(found[index], member(X), 1e-5)


@case(GROUP)
def jacobian() -> None:
    """jacrev and the Hessian by torch.func: those of the weights as read."""
    model, plain = pair()
    oracle = Oracle(model, plain)
    same(jacrev(model)(X[0]), jacrev(oracle)(X[:1]).reshape(4, 8), 1e-4)
    same(hessian(lambda x: model(x).sum())(X[0]), hessian(lambda x: oracle(x).sum())(X[:1]).reshape(8, 8), 1e-3)


@case(GROUP)
def forward_mode() -> None:
    """Forward-mode gradients, by jvp and by dual tensors."""
    model, plain = pair()
    oracle, tangent = Oracle(model, plain), numbers(5, 8, seed=1)
    same(jvp(model, (X,), (tangent,))[1], jvp(oracle, (X,), (tangent,))[1], 1e-5)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(model(forward_ad.make_dual(X, tangent))).tangent
    assert dual is not None
    same(dual, jvp(oracle, (X,), (tangent,))[1], 1e-5)


@case(GROUP)
def penalty() -> None:
    """A gradient penalty: gradients of gradients."""
    model, plain = pair()
    oracle = Oracle(model, plain)
    found = []
    for run, parameters in ((model, model.parameters()), (oracle, oracle.plain.parameters())):
        x = X.clone().requires_grad_()
        (first,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), list(parameters), allow_unused=True))
    for ours, theirs in zip(*found, strict=True):
        if theirs is not None:
            same(ours, theirs, 1e-4)


@case(GROUP)
def checkpointed() -> None:
    """Activation checkpointing, reentrant, not, sequential, nested, stopping early or not: the same gradients."""
    runs = {
        "not reentrant": lambda model, x: checkpoint(model, x, use_reentrant=False),
        "reentrant": lambda model, x: checkpoint(model, x.requires_grad_(), use_reentrant=True),
        "sequential": lambda model, x: checkpoint_sequential(model, 2, x, use_reentrant=False),
        "nested": lambda model, x: checkpoint(
            lambda y: checkpoint(model, y, use_reentrant=False), x, use_reentrant=False
        ),
    }
    changing = eden.Uniform(0.02, failure=0.5)
    for run in runs.values():
        for early in (True, False):
            results = []
            for segment in (lambda model, x: model(x), run):
                model = put(pair()[1], X, changing).train()
                with set_checkpoint_early_stop(early):
                    for _ in range(2):
                        segment(model, X.clone()).square().sum().backward()
                results.append([parameter.grad for parameter in model.parameters()])
            for ours, theirs in zip(*results, strict=True):
                same(ours, theirs, 1e-6)


@case(GROUP)
def checkpointed_twice() -> Refused:
    """A layer called twice under checkpointing, with errors that change from read to read."""
    layer = put(nn.Sequential(nn.Linear(8, 8)), X, eden.Uniform(0.02, failure=0.5)).train()

    def step() -> None:
        y = checkpoint(layer, checkpoint(layer, X, use_reentrant=False), use_reentrant=False)
        y.sum().backward()

    return refused("backward", RuntimeError, step, "0.weight", "failure=1")


@case(GROUP)
def saved_on_host() -> None:
    """Saved tensors packed and moved by hooks."""
    model, plain = pair()
    with torch.autograd.graph.save_on_cpu():
        right(model, plain, X, gradients=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x):
        right(model, plain, X, gradients=True)


@case(GROUP)
def anomalies() -> None:
    """Anomaly detection."""
    model, plain = pair()
    with torch.autograd.detect_anomaly(check_nan=True):
        right(model, plain, X, gradients=True)


@case(GROUP)
def hooks() -> None:
    """Hooks of layers, global ones and those of tensors see what they see without faults, and may change it."""
    model, plain = pair()
    seen: list[Tensor] = []
    for each in (model, plain):
        each[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
        each[0].register_forward_hook(lambda module, inputs, output: output + 1)
        each[2].register_full_backward_hook(lambda module, gi, go: (gi[0] * 3,))
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    oracle = Oracle(model, plain)
    for each in (model, oracle.plain):
        each[2].weight.register_hook(lambda gradient: gradient / 2)
    # The oracle's reads are hooks, too: those of the network come first in both.
    found, expected = model(X), oracle(X)
    handle.remove()
    same(found, expected)
    same(seen[0], X * 2)
    found.sum().backward()
    expected.sum().backward()
    same(model[0].weight.grad, oracle.plain[0].weight.grad, 1e-5)
    same(model[2].weight.grad, oracle.plain[2].weight.grad, 1e-5)


@case(GROUP)
def grad_scaler() -> None:
    """A gradient scaler around autocast to float16."""
    model, plain = pair()
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[0].weight.detach().clone()
    with torch.autocast("cpu", torch.float16):
        loss = model.train()(X).float().square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    model.eval()
    assert not torch.equal(model[0].weight, before)
    plain.load_state_dict(model.state_dict())
    right(model, plain, X)


@case(GROUP)
def errors_that_change() -> None:
    """A backward pass twice (retain_graph) and errors that change with each read: reads of a pass are its own."""
    model = put(pair()[1], X, eden.Uniform(0.02, failure=0.5))
    outputs = [model(X) for _ in range(2)]
    assert not torch.equal(*outputs)
    loss = outputs[0].sum()
    loss.backward(retain_graph=True)
    first = model[0].weight.grad.clone()
    model.zero_grad()
    loss.backward()
    same(model[0].weight.grad, first)
