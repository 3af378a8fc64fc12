"""Loops, optimizers and parallel training."""

import contextlib
import copy
import tempfile
from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from faults.cases.oracle import Oracle, network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import Tensor, nn

import eden

GROUP = "Loops and parallel training"
X = numbers(8, 8)


def trained(step: object, chips: str = "one") -> None:
    """A loop on a network under faults: its Parameters become those of the oracle's own loop."""
    plain = network()
    model = put(copy.deepcopy(plain), X).train()
    theirs = copy.deepcopy(plain)
    step(model, model)
    model.eval()
    other = put(theirs, X)
    oracle = Oracle(other, plain)
    step(oracle, oracle.plain)
    for (name, ours), expected in zip(model.named_parameters(), oracle.plain.parameters(), strict=True):
        assert not torch.equal(ours, dict(plain.named_parameters())[name]), name
        same(ours, expected, 1e-4)


@case(GROUP)
def plain_loop() -> None:
    """A loop of one's own with Adam and clipped gradients."""

    def step(run: object, module: nn.Module) -> None:
        optimizer = torch.optim.Adam(module.parameters())
        for index in range(3):
            optimizer.zero_grad()
            run(numbers(8, 8, seed=index)).square().mean().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            optimizer.step()

    trained(step)


@case(GROUP)
def accumulated() -> None:
    """Gradients accumulated over parts of a batch."""

    def step(run: object, module: nn.Module) -> None:
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        for part in X.split(2):
            (run(part).square().sum() / len(X)).backward()
        optimizer.step()

    trained(step)


@case(GROUP)
def closures() -> None:
    """L-BFGS, whose step runs the network several times."""

    def step(run: object, module: nn.Module) -> None:
        optimizer = torch.optim.LBFGS(module.parameters(), lr=0.1, max_iter=4)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = run(X).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)

    trained(step)


@case(GROUP)
def in_backward() -> None:
    """Optimizers that step inside the backward pass."""

    def step(run: object, module: nn.Module) -> None:
        for parameter in module.parameters():
            optimizer = torch.optim.SGD([parameter], 0.01)
            parameter.register_post_accumulate_grad_hook(lambda _, optimizer=optimizer: optimizer.step())
        for _ in range(2):
            run(X).square().mean().backward()

    trained(step)


@case(GROUP)
def adversarial() -> None:
    """A generator and a critic with an optimizer each, the critic reading what the generator gave twice."""

    def step(run: object, module: nn.Module) -> None:
        one, two = (torch.optim.SGD(module[index].parameters(), 0.1) for index in (0, 2))
        for _ in range(2):
            run(X.detach()).sum().backward()
            two.step()
            two.zero_grad()
            run(X).square().sum().backward()
            one.step()
            one.zero_grad()

    trained(step)


@case(GROUP)
def distilled() -> None:
    """A student under faults that learns from a copy on reliable memory."""

    def step(run: object, module: nn.Module) -> None:
        teacher = network().requires_grad_(False)
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        F.kl_div(run(X).log_softmax(-1), teacher(X * 2).softmax(-1), reduction="batchmean").backward()
        optimizer.step()

    trained(step)


@contextlib.contextmanager
def one_rank() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


@case(GROUP)
def data_parallel() -> None:
    """DistributedDataParallel with two forwards for one backward, no_sync and a static graph."""
    with one_rank():
        for options in ({}, {"static_graph": True}, {"gradient_as_bucket_view": True, "broadcast_buffers": False}):
            plain = network()
            model = nn.parallel.DistributedDataParallel(put(copy.deepcopy(plain), X), **options)
            oracle = Oracle(model.module, plain)
            for run in (model, oracle):
                (run(X).square().sum() + run(X * 2).square().sum()).backward()
            for ours, theirs in zip(model.parameters(), oracle.plain.parameters(), strict=True):
                same(ours.grad, theirs.grad, 1e-5)
        with model.no_sync():
            model(X).sum().backward()


@case(GROUP)
def data_parallel_before() -> None:
    """inject_ of a network that DistributedDataParallel or DataParallel is around already."""
    with one_rank():
        for wrap in (nn.parallel.DistributedDataParallel, nn.DataParallel):
            plain = network()
            model = wrap(copy.deepcopy(plain))
            put(model, X)
            right(model.module, plain, X, run=model, gradients=True)


@case(GROUP)
def fully_sharded() -> None:
    """FSDP2 (fully_shard) on one rank, before inject_ and after, and remove_."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    with one_rank():
        mesh = init_device_mesh("cpu", (1,))
        for before in (True, False):
            plain = network()
            model = copy.deepcopy(plain)
            if not before:
                put(model, X)
            fully_shard(model[0], mesh=mesh)
            fully_shard(model, mesh=mesh)
            if before:
                put(model, X)
            theirs = put(copy.deepcopy(plain), X)
            same(model(X), Oracle(theirs, plain)(X))
            model(X).sum().backward()
            eden.remove_(model)
            same(model(X), plain(X))


@case(GROUP)
def tensor_parallel() -> Refused:
    """Tensor parallelism (parallelize_module) of a layer under faults, before inject_ and after."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    with one_rank():
        mesh = init_device_mesh("cpu", (1,))
        model = put(network(), X)
        parallelize_module(model, mesh, {"0": ColwiseParallel()})
        refused("the first read", TypeError, lambda: model(X), "tensor parallelism")
        model = network()
        parallelize_module(model, mesh, {"0": ColwiseParallel()})
        return refused("calibrate_", TypeError, lambda: put(model, X), "tensor parallelism")


@case(GROUP)
def replicated_functions() -> None:
    """DistributedDataParallel around functions that read weights."""

    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(8, 8)
            self.w = nn.Parameter(numbers(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(torch.relu(self.body(x)), self.w)

    alone = put(nn.Sequential(Functions()), X)
    assert "0.w" in eden.operands(alone)
    assert "0.w.input" in eden.operands(alone)
    expected = copy.deepcopy(alone)
    expected(X).square().sum().backward()
    with one_rank():
        model = nn.parallel.DistributedDataParallel(alone)
        (model(X).square().sum() / 2 + model(X).square().sum() / 2).backward()
        for ours, theirs in zip(alone.parameters(), expected.parameters(), strict=True):
            same(ours.grad, theirs.grad, 1e-5)
