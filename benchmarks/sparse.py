"""What sparse weights give: speed beside other products, and what they tolerate beside dense weights.

Speed: edges per second of the network of the Sparse DNN Graph Challenge (Kepner et al., HPEC 2019; GraphChallenge.org),
1,024 neurons with 32 connections each in 120 layers, connections 1/16 by the rule of RadiX-Net, bias -0.30, rectified
with a ceiling of 32, on MNIST's test images of 32 x 32 pixels, black or white. Processor seconds of a thread, in turns;
the median over rounds, and of ratios that of the rounds' own. A sample whose neurons are all 0 is computed to the end.

Tolerance: a classifier of MNIST in 16 x 16 pixels, of two layers of 256 neurons with 16 connections each and a dense
last one, trained, beside the same network of dense layers: as `Faults.int8` keeps it, the rate that all operands stand
at once, its certificate as placed in a module, and the accuracy with errors in one kind of operand alone.

Needs the folder named by EDEN_DATA. The exit status is 0 however the figures turn out.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from mnist import mnist
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eden
from eden.app.models import radix_net

RADICES = (32, 32)
NEURONS = 32 * 32
BIAS, CEILING = -0.30, 32.0
SIDE = 16
"""Of the images of the classifier, and its neurons' connections."""

MAX_DROP = 0.01


def pixels(samples: TensorDataset, count: int, side: int) -> TensorDataset:
    """The first images, resized, black or white, and their labels."""
    images, labels = (each[:count] for each in samples.tensors)
    large = F.interpolate(images, size=(side, side), mode="bilinear")
    return TensorDataset((large > 0.5).float().flatten(1), labels)


def challenge(layers: int) -> nn.Sequential:
    """The Graph Challenge's network."""
    bias, weights = torch.full((NEURONS,), BIAS), radix_net(RADICES, 1 / 16)
    return nn.Sequential(
        *(
            each
            for number in range(layers)
            for each in (
                eden.SparseLinear(weights[number % len(weights)], bias),
                nn.Hardtanh(0.0, CEILING, inplace=True),
            )
        )
    ).eval()


def by_scipy(network: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """The network by SciPy's product, of features by samples."""
    matrices = []
    for layer in network[::2]:
        values, columns, rows = (x.detach().numpy() for x in (layer.values, layer.columns, layer.rows))
        matrices.append(scipy.sparse.csr_array((values.copy(), columns.copy(), rows.copy()), (NEURONS, NEURONS)))

    def run(x: Tensor) -> Tensor:
        y = x.t().contiguous().numpy()
        for matrix in matrices:
            y = matrix @ y
            y += np.float32(BIAS)
            np.clip(y, 0.0, CEILING, out=y)
        return torch.from_numpy(y).t()

    return run


def by_torch(network: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """The network by torch.sparse, of features by samples."""
    matrices = [torch.sparse_csr_tensor(x.rows.long(), x.columns.long(), x.values.detach()) for x in network[::2]]

    def run(x: Tensor) -> Tensor:
        y = x.t().contiguous()
        for matrix in matrices:
            y = torch.sparse.mm(matrix, y).add_(BIAS).clamp_(0.0, CEILING)
        return y.t()

    return run


def speed(x: Tensor, layers: int, ber: float, rounds: int) -> None:
    """Print edges per second."""
    plain, weights, everything = (challenge(layers) for _ in range(3))
    errors = eden.Uniform(ber)
    eden.inject_(weights, eden.Faults(errors, correction="zero"))
    eden.inject_(everything, eden.Faults(errors, errors, correction="zero"))
    eden.calibrate_(everything, [x])
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "SciPy, without faults": by_scipy(plain),
        "torch.sparse, without faults": by_torch(plain),
        "eden.SparseLinear, without faults": plain,
        f"weights at BER {ber:g}": weights,
        f"weights and feature maps at BER {ber:g}": everything,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    outputs = {}
    with torch.no_grad():
        for number in range(rounds + 1):  # the first is not counted
            for name, run in ways.items():
                begin = time.process_time()
                outputs[name] = run(x)
                if number:
                    seconds[name].append(time.process_time() - begin)
    edges = layers * NEURONS * max(RADICES) * len(x)
    others = list(zip(*list(seconds.values())[:2], strict=True))
    print(f"{len(x)} samples, {layers} layers, {edges / 1e9:.1f} billion edges")
    first = next(iter(outputs.values()))
    for name, taken in seconds.items():
        ratio = statistics.median(min(pair) / own for pair, own in zip(others, taken, strict=True))
        alive = int((outputs[name].sum(1) > 0).sum())
        print(
            f"{name}: {edges / statistics.median(taken) / 1e9:.2f} billion edges/s, {ratio:.2f} of the faster ", end=""
        )
        print(f"of the first two; {alive} samples alive, within {float((outputs[name] - first).abs().max()):.1g}")


def classifier(sparse: bool) -> nn.Sequential:
    """Two hidden layers, sparse or dense, and a dense last one."""
    torch.manual_seed(0)
    neurons, connections = SIDE * SIDE, SIDE
    weights = radix_net((SIDE, SIDE), torch.randn(2, neurons, connections) * (2 / connections) ** 0.5)
    first, second = (
        eden.SparseLinear(weight, torch.zeros(neurons)) if sparse else nn.Linear(neurons, neurons) for weight in weights
    )
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(neurons, 10))


def tolerance(sparse: bool, train_set: TensorDataset, validation: TensorDataset, epochs: int) -> None:
    """Print what a classifier tolerates."""
    model = classifier(sparse)
    eden.train(model, train_set, eden.Recipe(epochs=epochs))
    eden.inject_(model, eden.Faults.int8(eden.Uniform(1e-3)))
    eden.calibrate_(model, train_set.tensors[0][:1000].split(200))
    loader = DataLoader(validation, batch_size=200)
    found = eden.profile(model, loader, max_drop=MAX_DROP, search=eden.Search(coarse_only=True), progress=False)
    infos = eden.operands(model)
    size = sum(info.bytes or 0 for info in infos.values() if info.kind == "weight")
    moved = eden.traffic(model, "eyeriss")
    placement = eden.place(found, eden.Device.builtin("ddr3-b33"), traffic=moved)
    proof = eden.certify(model, loader, placement=placement, max_drop=MAX_DROP, progress=False)
    account = eden.savings(moved, placement)
    print(f"{'sparse' if sparse else 'dense'}: accuracy {found.reference_accuracy:.2%}, {size} bytes of weights")
    print(f"  all operands at once: BER {found.coarse:.2g}; certified as placed: {proof.certified}; ", end="")
    print(f"DRAM energy saved {account.energy_reduction:.1%}")
    kinds = ("values", "columns", "rows", "weight", "input")
    for kind in kinds:
        of_kind = {name: eden.Uniform(1e-3) if name.endswith(f".{kind}") else None for name in infos}
        if any(of_kind.values()):
            read = eden.evaluate(model, validation, errors=of_kind, chips=10)
            print(f"  1e-3 in {kind} alone: {read.mean:.2%} +- {read.standard_error:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256, help="samples of the network of the challenge")
    parser.add_argument("--layers", type=int, default=120)
    parser.add_argument("--ber", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=10_000, help="of MNIST, that a classifier is trained with")
    parser.add_argument("--validation", type=int, default=1000, help="of MNIST's test images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", choices=("speed", "tolerance"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    train_set, test_set = mnist()
    if options.only != "tolerance":
        speed(pixels(test_set, options.batch, 32).tensors[0], options.layers, options.ber, options.rounds)
    if options.only != "speed":
        sets = pixels(train_set, options.images, SIDE), pixels(test_set, options.validation, SIDE)
        for sparse in (True, False):
            tolerance(sparse, *sets, options.epochs)


if __name__ == "__main__":
    main()
