"""ResNet-20 as shipped under uniform errors in all weights and inputs, beside figures of an independent implementation.

Prints, for each storage, correction and bit error rate, the accuracy on the 1,000 CIFAR-10 test images (mean over
passes, its standard error), the independent figure, and whether they agree within 1 point or 3 standard errors of their
difference, whichever is more: the independent figures are means of two passes, so they have an error of their own,
taken to be as large a pass as ours. Needs EDEN_DATA.
"""

import argparse
import sys

import torch

import eden
from eden.app.datasets import cifar10, pretrained_resnet
from eden.faults.chips import draw_chip

# Independent implementation: two passes over the set in batches of 100, errors independent for every element, weights
# drawn again for each batch, ranges over the first 500 training images.
REFERENCE = {
    ("float32", "none"): {0.0: 91.5, 1e-7: 90.7, 1e-6: 79.7, 1e-5: 21.0},
    ("float32", "zero"): {1e-6: 91.7, 1e-5: 91.6, 1e-4: 91.2, 1e-3: 83.9, 3e-3: 60.0},
    ("int8", "none"): {1e-5: 91.6, 1e-4: 90.0, 1e-3: 55.0, 3e-3: 16.0},
}


REFERENCE_PASSES = 2


def accuracies(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, chips: int, per_chip: int) -> torch.Tensor:
    """Accuracy in percent over the set on each of ``chips`` groups; a group's batches are on chips of their own."""
    result = []
    for chip in range(chips):
        correct = 0
        for number, start in enumerate(range(0, len(x), per_chip)):
            eden.set_chip_(model, draw_chip(0, "evaluation", chip * len(x) + number))
            correct += int((model(x[start : start + per_chip]).argmax(1) == y[start : start + per_chip]).sum())
        result.append(100.0 * correct / len(x))
    return torch.tensor(result)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=20, help="passes over the test set, at least 20")
    parser.add_argument("--batch", type=int, default=100, help="images that share a chip")
    parser.add_argument("--layout", choices=("contiguous", "restart"), default="contiguous", help="cells of a batch")
    arguments = parser.parse_args()
    train, test = cifar10(500)
    x, y = test.tensors
    disagree = 0
    print(f"{'storage':<8} {'correction':<10} {'BER':>7} {'accuracy':>9} {'std err':>8} {'reference':>9}  agrees")
    with torch.inference_mode():
        for (storage, correction), figures in REFERENCE.items():
            for ber, reference in figures.items():
                model = pretrained_resnet(20)
                errors = eden.Uniform(ber)
                eden.inject_(model, eden.Faults(errors, errors, storage, correction, batch=arguments.layout))
                eden.calibrate_(model, train.tensors[0].split(100))
                found = accuracies(model, x, y, arguments.chips, arguments.batch)
                error = float(found.std() / len(found) ** 0.5)
                of_difference = float(found.std()) * (1 / len(found) + 1 / REFERENCE_PASSES) ** 0.5
                off, allowed = abs(float(found.mean()) - reference), max(1.0, 3 * of_difference)
                agrees = off <= allowed
                disagree += not agrees
                print(
                    f"{storage:<8} {correction:<10} {ber:>7.0e} {float(found.mean()):>9.2f} {error:>8.2f} "
                    f"{reference:>9.1f}  {'yes' if agrees else 'NO'} (off {off:.2f}, allowed {allowed:.2f})",
                    flush=True,
                )
    print(f"{disagree} of {sum(map(len, REFERENCE.values()))} figures disagree")
    return int(disagree > 0)


if __name__ == "__main__":
    sys.exit(main())
