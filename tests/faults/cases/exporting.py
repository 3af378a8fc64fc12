"""Compilers, tracers, exporters and copies."""

import copy
import io
import multiprocessing
import pickle
import tempfile
import threading
from pathlib import Path

import torch
import torch.fx
from faults.cases.oracle import Oracle, convolutional, network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import eden

GROUP = "Compilers, tracers, copies"
X = numbers(5, 8)


def pair() -> tuple[nn.Module, nn.Module]:
    plain = network()
    return put(copy.deepcopy(plain), X), plain


@case(GROUP)
def compiled() -> None:
    """torch.compile, fullgraph: the same reads, other rates without compiling again."""
    model, plain = pair()
    run = torch.compile(model, backend="aot_eager", fullgraph=True)
    right(model, plain, X, run=run, gradients=True)
    eden.set_errors_(model, dict.fromkeys(eden.operands(model), eden.Uniform(0.1)))
    with torch.compiler.set_stance("fail_on_recompile"):
        right(model, plain, X, run=run)


@case(GROUP)
def compiled_dynamic() -> None:
    """torch.compile with dynamic batches."""
    model, plain = pair()
    run = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=True)
    for count in (2, 5, 9):
        right(model, plain, numbers(count, 8), run=run)


@case(GROUP)
def compiled_part() -> None:
    """A part that is compiled in place, and one that is wrapped, before inject_ and after."""
    for before in (True, False):
        plain = nn.Sequential(network(), nn.Linear(4, 4))
        model = copy.deepcopy(plain)
        if not before:
            put(model, X)
        model[0].compile(backend="eager")
        model[1] = torch.compile(model[1], backend="eager")
        if before:
            put(model, X)
        right(model, plain, X)


@case(GROUP)
def compiled_before() -> None:
    """A network that was compiled and run before inject_: the compiled one reads through memory, too."""
    plain = network()
    model = copy.deepcopy(plain)
    run = torch.compile(model, backend="eager")
    run(X)
    put(model, X)
    right(model, plain, X, run=run)
    eden.remove_(model)
    same(run(X), plain(X))


@case(GROUP)
def exported() -> None:
    """torch.export, strict and not, with batches of any size."""
    model, plain = pair()
    for strict in (True, False):
        batch = torch.export.Dim("batch", min=1, max=64)
        program = torch.export.export(model, (X,), dynamic_shapes=({0: batch},), strict=strict)
        right(model, plain, numbers(9, 8), run=program.module())


@case(GROUP)
def exported_and_saved() -> None:
    """An exported program that is saved and loaded."""
    model, plain = pair()
    held = io.BytesIO()
    torch.export.save(torch.export.export(model, (X,)), held)
    held.seek(0)
    right(model, plain, X, run=torch.export.load(held).module())


@case(GROUP)
def symbolic_trace() -> None:
    """torch.fx.symbolic_trace: layers under faults are leaves."""
    model, plain = pair()
    right(model, plain, X, run=torch.fx.symbolic_trace(model))


@case(GROUP)
def proxies() -> None:
    """make_fx, of values and of symbols."""
    model, plain = pair()
    for mode in ("real", "fake", "symbolic"):
        right(model, plain, X, run=make_fx(model, tracing_mode=mode, _allow_non_fake_inputs=True)(X))


@case(GROUP)
def jit_trace() -> Refused:
    """torch.jit.trace on faulty memory; on reliable memory it works."""
    model, _ = pair()
    with eden.clean(model), torch.no_grad():
        same(torch.jit.trace(model, X)(X), model(X))
    return refused("torch.jit.trace", Exception, lambda: torch.jit.trace(model, X), "0.weight", "eden.clean")


@case(GROUP)
def jit_script() -> Refused:
    """torch.jit.script."""
    model, _ = pair()
    return refused("torch.jit.script", RuntimeError, lambda: torch.jit.script(model), "0.weight", "eden.remove_")


@case(GROUP)
def scripted_before() -> Refused:
    """inject_ of a network that torch.jit.script made."""
    scripted = torch.jit.script(network())
    return refused("inject_", (ValueError, TypeError), lambda: put(scripted, X), "torch.jit")


@case(GROUP)
def traced_part() -> None:
    """A part that torch.jit.trace made before inject_: named by coverage with its weights."""
    plain = network()
    model = nn.Sequential(torch.jit.trace(plain, X), nn.Linear(4, 4))
    put(model, X)
    found = eden.coverage(model, sample=X)
    rows = {row.name: row for row in found.reliable}
    assert not rows["0.0.weight"].chosen, rows["0.0.weight"]
    assert found.weight_share is not None
    assert found.weight_share < 0.5


@case(GROUP)
def fused() -> None:
    """Convolution and normalization fused after inject_: the fused weights are read through memory."""
    plain, x = convolutional().eval(), numbers(3, 3, 8, 8)
    model = put(copy.deepcopy(plain), x)
    for each in (plain, model):
        each[0] = nn.utils.fusion.fuse_conv_bn_eval(each[0], each[1])
        each[1] = nn.Identity()
    right(model, plain, x)


@case(GROUP)
def copied() -> None:
    """deepcopy, copy, pickle, torch.save of the whole network: the same reads, each with faults of its own."""
    model, plain = pair()
    held = io.BytesIO()
    torch.save(model, held)
    held.seek(0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(held, weights_only=False)):
        right(other, plain, X, gradients=True)
        eden.set_errors_(other, dict.fromkeys(eden.operands(other), eden.Uniform(0.2)))
        right(other, plain, X)
        right(model, plain, X)
    right(copy.copy(model), plain, X)


@case(GROUP)
def state() -> None:
    """state_dict has the keys of the plain network, and loads into either, by copying, assigning and swapping."""
    model, plain = pair()
    assert list(model.state_dict()) == list(plain.state_dict())
    other = {name: value * 2 for name, value in plain.state_dict().items()}
    plain.load_state_dict(other)
    for assign in (False, True):
        model = put(network(), X)
        model.load_state_dict(other, assign=assign)
        right(model, plain, X, gradients=True)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model = put(network(), X)
        model.load_state_dict(other)
        model.to(torch.float32)
        right(model, plain, X)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@case(GROUP)
def state_hooks() -> None:
    """Hooks of state_dict and of loading."""
    model, plain = pair()
    for each in (model, plain):
        each.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.update(extra=torch.ones(1)))
        each.register_load_state_dict_pre_hook(lambda module, state, *rest: state.pop("extra"))
    model.load_state_dict(plain.state_dict())
    right(model, plain, X)


def _in_child(model: nn.Module, folder: str) -> None:
    torch.save(model(X), Path(folder) / "output.pt")


@case(GROUP)
def forked() -> None:
    """A worker that is forked, with the network in shared memory."""
    model, plain = pair()
    model.share_memory()
    with tempfile.TemporaryDirectory() as folder:
        worker = multiprocessing.get_context("fork").Process(target=_in_child, args=(model, folder))
        worker.start()
        worker.join()
        found = torch.load(Path(folder) / "output.pt")
    same(found, Oracle(model, plain)(X))


@case(GROUP)
def threads() -> None:
    """Two threads that run the network at once."""
    model, plain = pair()
    expected = Oracle(model, plain)(X)
    found: list[Tensor] = []

    def run() -> None:
        for _ in range(50):
            found.append(model(X))

    workers = [threading.Thread(target=run) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 100
    for each in found:
        same(each, expected)


@case(GROUP)
def fake_tensors() -> None:
    """A pass with fake tensors, as planners of memory run it."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    model, _ = pair()
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert model(torch.empty(7, 8)).shape == (7, 4)


@case(GROUP)
def counters() -> None:
    """Counters of operations and the profiler around a pass."""
    from torch.utils.flop_counter import FlopCounterMode

    model, plain = pair()
    with FlopCounterMode(display=False) as ours:
        right(model, plain, X, run=model)
    with FlopCounterMode(display=False) as theirs:
        plain(X)
    assert ours.get_total_flops() % theirs.get_total_flops() == 0
    with torch.profiler.profile() as profile:
        right(model, plain, X)
    assert any("eden::corrupt" in event.name for event in profile.events())
