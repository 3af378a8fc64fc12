"""Batches, formats and kinds of tensors."""

import copy

import torch
from faults.cases.oracle import ERRORS, Oracle, convolutional, network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import nn

import eden

GROUP = "Batches and tensors"
X = numbers(5, 8)
IMAGES = numbers(3, 3, 8, 8)


@case(GROUP)
def any_batch() -> None:
    """Batches of 1, of 7 and of no sample: each sample as it is alone."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    x = numbers(7, 8)
    whole = model(x)
    same(whole, torch.cat([model(x[i : i + 1]) for i in range(7)]), 1e-6)
    assert model(x[:0]).shape == (0, 4)
    right(model, plain, x)


@case(GROUP)
def one_sample() -> None:
    """A sample without a dimension of its batch."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    same(model(X[0]), model(X[:1])[0], 1e-6)
    plain = convolutional().eval()[:1]
    model = put(copy.deepcopy(plain), IMAGES)
    same(model(IMAGES[0]), model(IMAGES[:1])[0], 1e-6)


@case(GROUP)
def scalar() -> Refused:
    """A scalar where a layer needs a row: torch's own refusal."""
    model = put(network(), X)
    return refused("forward", Exception, lambda: model(torch.tensor(1.0)))


@case(GROUP)
def channels_last() -> None:
    """Images, weights and both in channels-last memory: the same cells."""
    plain = convolutional().eval()
    model = put(copy.deepcopy(plain), IMAGES)
    before = model(IMAGES)
    same(model(IMAGES.to(memory_format=torch.channels_last)), before, 1e-5)
    model.to(memory_format=torch.channels_last)
    same(model(IMAGES.to(memory_format=torch.channels_last)), before, 1e-5)


@case(GROUP)
def strides() -> None:
    """Inputs that are transposed, expanded, sliced or negated views."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    for x in (X.t().contiguous().t(), X[:1].expand(5, 8), numbers(5, 16)[:, ::2], torch._neg_view(X)):
        same(model(x), model(x.clone()))


@case(GROUP)
def inference_mode() -> None:
    """A pass in inference mode, then one that trains."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    with torch.inference_mode():
        right(model, plain, X)
    right(model, plain, X, gradients=True)


@case(GROUP)
def made_in_inference_mode() -> None:
    """A network that is made and put under faults in inference mode."""
    with torch.inference_mode():
        plain = network()
        model = put(copy.deepcopy(plain), X)
        right(model, plain, X)
        eden.set_errors_(model, dict.fromkeys(eden.operands(model), eden.Uniform(0.1)))
        right(model, plain, X)


@case(GROUP)
def double() -> Refused:
    """float64 weights."""
    return refused("inject_", ValueError, lambda: put(network().double(), X.double()), "0.weight", "float64")


@case(GROUP)
def double_later() -> Refused:
    """A network moved to float64 after inject_."""
    model = put(network(), X).double()
    return refused("forward", TypeError, lambda: model(X.double()), "0.weight", "float64")


@case(GROUP)
def complex_numbers() -> Refused:
    """Complex weights."""
    return refused("inject_", ValueError, lambda: put(network().to(torch.complex64), X), "0.weight", "complex64")


@case(GROUP)
def halves() -> None:
    """A network in bfloat16 and one in float16, put under faults there or moved there later."""
    for dtype in (torch.bfloat16, torch.float16):
        plain, x = network().to(dtype), X.to(dtype)
        right(put(copy.deepcopy(plain), x), plain, x)
        moved = put(network(), X).to(dtype)
        right(moved, plain, x)


@case(GROUP)
def autocast() -> None:
    """Autocast to bfloat16: memory holds what the layers were given."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    with torch.autocast("cpu", torch.bfloat16):
        right(model, plain, X, gradients=True, close=1e-2)


@case(GROUP)
def default_dtype() -> None:
    """Another default dtype when the network is made."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        plain, x = network(), X.bfloat16()
        model = put(copy.deepcopy(plain), x)
    finally:
        torch.set_default_dtype(before)
    right(model, plain, x)


@case(GROUP)
def default_device() -> None:
    """A default device of another kind around calls: buffers stay where the network is."""
    plain = network()
    model = copy.deepcopy(plain)
    with torch.device("meta"):
        x = torch.randn(5, 8, device="cpu")
        put(model, x)
        eden.set_errors_(model, dict.fromkeys(eden.operands(model), ERRORS))
        with eden.clean(model):
            model(x)
    right(model, plain, X)


class Labelled(torch.Tensor):
    """A tensor with a label, as fastai's and MONAI's are."""


@case(GROUP)
def tensor_subclass() -> None:
    """Inputs of a subclass of Tensor."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    x = X.as_subclass(Labelled)
    same(torch.Tensor(model(x)), model(X))
    assert isinstance(model(x), Labelled) == isinstance(plain(x), Labelled)


@case(GROUP)
def parameter_subclass() -> None:
    """A weight of a subclass of Parameter."""

    class Named(nn.Parameter):
        pass

    plain = network()
    plain[0].weight = Named(plain[0].weight.detach())
    model = put(copy.deepcopy(plain), X)
    right(model, plain, X, gradients=True)


@case(GROUP)
def sparse_weight() -> Refused:
    """A sparse weight."""
    model = network()
    model[0].weight = nn.Parameter(model[0].weight.detach().to_sparse())
    return refused("inject_", ValueError, lambda: put(model, X), "0.weight", "sparse")


@case(GROUP)
def sparse_weight_later() -> Refused:
    """A weight that becomes sparse after inject_."""
    model = put(network(), X)
    model[0].weight = nn.Parameter(model[0].weight.detach().to_sparse_csr())
    return refused("forward", (TypeError, ValueError, RuntimeError), lambda: model(X), "0.weight", "sparse")


@case(GROUP)
def sparse_input() -> Refused:
    """A sparse input."""
    model = put(network(), X)
    return refused("forward", (TypeError, ValueError, RuntimeError), lambda: model(X.to_sparse()), "0.input", "sparse")


@case(GROUP)
def nested_input() -> Refused:
    """A nested tensor as input."""
    model = put(network(), X)
    x = torch.nested.nested_tensor([numbers(2, 8), numbers(3, 8)], layout=torch.jagged)
    return refused("forward", (TypeError, ValueError, RuntimeError), lambda: model(x), "0.input")


@case(GROUP)
def quantized_input() -> Refused:
    """A tensor of torch's own quantized dtypes as input."""
    model = put(network(), X)
    x = torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)
    return refused("forward", (TypeError, ValueError, RuntimeError), lambda: model(x), "0.input")


@case(GROUP)
def not_a_number() -> None:
    """NaN and infinity in an input: they come out as they do of int8 without faults, and no other sample has them."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    x = X.clone()
    x[1, 2], x[3, 0] = torch.nan, torch.inf
    same(model(x)[[0, 2, 4]], model(X)[[0, 2, 4]])
    assert model(x).isfinite().all()


@case(GROUP)
def sparse_gradients() -> None:
    """An embedding with sparse gradients."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Embedding(11, 8, sparse=True), nn.Linear(8, 4))
    model = put(copy.deepcopy(plain), torch.arange(6).reshape(2, 3))
    model(torch.arange(6)).sum().backward()
    assert model[0].weight.grad.is_sparse
    right(model, plain, torch.arange(6).reshape(2, 3))


@case(GROUP)
def packed_sequence() -> None:
    """A packed sequence into an LSTM: each sample as it is alone."""
    torch.manual_seed(0)
    model = nn.LSTM(8, 8, batch_first=True).eval()
    x = numbers(3, 5, 8)
    eden.inject_(model, eden.Faults(ERRORS, ERRORS, "int8"))
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 2]), batch_first=True)
    eden.calibrate_(model, [packed])
    whole, _ = nn.utils.rnn.pad_packed_sequence(model(packed)[0], batch_first=True)
    for index, length in enumerate((5, 4, 2)):
        same(whole[index, :length], model(x[index : index + 1, :length])[0][0], 1e-5)


@case(GROUP)
def deterministic() -> None:
    """Deterministic algorithms, memory filled."""
    plain = network()
    model = put(copy.deepcopy(plain), X)
    torch.use_deterministic_algorithms(True)
    try:
        right(model, plain, X, gradients=True)
    finally:
        torch.use_deterministic_algorithms(False)


@case(GROUP)
def in_place() -> None:
    """In-place operations on what a layer gives and on what it was given."""
    plain = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Dropout(0.0, inplace=True), nn.Linear(8, 4))
    model = put(copy.deepcopy(plain), X)
    right(model, plain, X, gradients=True)
    oracle = Oracle(model, plain)
    x, y = X.clone(), X.clone()
    ours, theirs = model(x.mul_(2)), oracle(y.mul_(2))
    same(ours.add_(1), theirs.add_(1))


@case(GROUP)
def random_numbers() -> None:
    """Torch's generator is as it was after inject_, calibrate_, a pass and coverage."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = network()
    torch.set_rng_state(before)
    put(model, X)
    model(X)
    eden.coverage(model, sample=X)
    assert torch.equal(torch.get_rng_state(), before)
