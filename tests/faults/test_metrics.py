"""Is each metric what a loop over its definition says, under NaN too, and are other shapes refused by name?"""

import math
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from eden.faults.metrics import METRICS, within

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randn(3, 4, 5, 6, generator=GENERATOR)
MASK = torch.randint(4, (3, 5, 6), generator=GENERATOR)
MASK[0, :2] = -100
MASK[1, 3] = 255
WORDS = torch.randn(3, 6, 7, generator=GENERATOR)
IDS = torch.randint(7, (3, 6), generator=GENERATOR)
IDS[:, 1::2] = WORDS.argmax(2)[:, 1::2]
IDS[:, 1:4:2] = WORDS.argmax(2)[:, :3:2]  # right for the token before
IDS[1, 4:] = -100
PIXELS[0, 2, 4, 1] = WORDS[0, 2, 3] = math.nan


def pixels(sample: int) -> list[tuple[int, int]]:
    """Predicted and true class of what counts."""
    found = []
    for row in range(5):
        for column in range(6):
            values, true = PIXELS[sample, :, row, column], int(MASK[sample, row, column])
            if true not in (-100, 255):
                found.append((-1 if bool(values.isnan().any()) else int(values.argmax()), true))
    return found


def iou(pairs: list[tuple[int, int]]) -> float:
    shares = []
    for one in range(4):
        both = sum(pair == (one, one) for pair in pairs)
        either = sum(one in pair for pair in pairs)
        shares += [both / either] if either else []
    return sum(shares) / len(shares)


def tokens(sample: int, ahead: int) -> list[tuple[bool, float]]:
    """Whether a token that counts is right, and its log-probability."""
    found = []
    for place in range(6 - ahead):
        values, true = WORDS[sample, place], int(IDS[sample, place + ahead])
        if true != -100:
            right = not bool(values.isnan().any()) and int(values.argmax()) == true
            found.append((right, float(values.log_softmax(0)[true])))
    return found


def likelihood(found: list[tuple[bool, float]]) -> float:
    value = math.exp(sum(log for _, log in found) / len(found))
    return 0.0 if math.isnan(value) else value


EXPECTED: dict[str, tuple[Tensor, Tensor, list[float]]] = {
    "pixel_accuracy": (PIXELS, MASK, [sum(a == b for a, b in pixels(i)) / len(pixels(i)) for i in range(3)]),
    "mean_iou": (PIXELS, MASK, [iou(pixels(i)) for i in range(3)]),
    **{
        f"{name}{what}": (WORDS, IDS, [score(tokens(i, ahead)) for i in range(3)])
        for name, ahead in (("", 0), ("next_", 1))
        for what, score in (
            ("token_accuracy", lambda found: sum(right for right, _ in found) / len(found)),
            ("inverse_perplexity" if not ahead else "token_inverse_perplexity", likelihood),
        )
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_scores_are_those_of_a_loop(name: str) -> None:
    output, target, expected = EXPECTED[name]
    for held in (output, OrderedDict(out=output, aux=target), {"logits": output}, SimpleNamespace(logits=output)):
        assert METRICS[name](held, target).tolist() == pytest.approx(expected, abs=1e-6)
    assert 0.0 < max(expected) < 1.0


def test_pixels_of_other_forms() -> None:
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    assert METRICS["pixel_accuracy"](mask - 0.75, mask).tolist() == [1.0]  # one class, a mask of floats
    assert METRICS["mean_iou"](-mask, mask).tolist() == [0.25]
    quarter = torch.zeros(1, 3, 2, 2)
    quarter[:, 1] = 1.0
    assert METRICS["pixel_accuracy"](quarter, torch.ones(1, 8, 8, dtype=torch.uint8)).tolist() == [1.0]
    volume = METRICS["mean_iou"](torch.eye(3).reshape(1, 3, 3, 1, 1), torch.arange(3).reshape(1, 3, 1, 1))
    assert volume.tolist() == [1.0]


def boxes(*rows: tuple[float, float, float, float, int, float]) -> dict[str, Tensor]:
    table = torch.tensor(rows).reshape(-1, 6)
    return {"boxes": table[:, :4], "labels": table[:, 4].long(), "scores": table[:, 5]}


THERE = boxes((0, 0, 10, 10, 1, 0), (20, 20, 30, 30, 2, 0))
BOXES = [
    (THERE | {"scores": torch.ones(2)}, THERE, 1.0),
    (boxes((0, 0, 10, 9, 1, 0.9), (20, 20, 30, 30, 1, 0.9)), THERE, 0.5),  # the second of another class
    (boxes((0, 0, 10, 10, 1, 0.9), (0, 0, 10, 9, 1, 0.8)), THERE, 0.5),  # a box is hit once
    (boxes((0, 0, 10, 10, 1, 0.4)), THERE, 0.0),  # of too low a score
    (boxes((0, 0, 10, 4.9, 1, 0.9), (20, 20, 30, 25, 2, 0.9)), THERE, 0.5),  # 0.49 and 0.5 of overlap
    (boxes((math.nan, 0, 10, 10, 1, 0.9), (20, 20, 30, 30, 2, math.nan)), THERE, 0.0),
    (boxes(), boxes(), 1.0),
    (boxes((0, 0, 1, 1, 1, 0.9)), boxes(), 0.0),
    (boxes(), THERE, 0.0),
    # The box of the higher score takes the one that it overlaps most, and leaves the other one the next.
    (boxes((0, 0, 10, 11, 1, 0.9), (0, 0, 10, 10, 1, 0.8)), boxes((0, 0, 10, 10, 1, 0), (0, 0, 10, 12, 1, 0)), 1.0),
]


def test_boxes() -> None:
    found = METRICS["box_f1"]([found for found, _, _ in BOXES], tuple(there for _, there, _ in BOXES))
    assert found.tolist() == pytest.approx([score for *_, score in BOXES])


def test_regression() -> None:
    output, target = torch.tensor([[1.0, 2.0], [math.nan, 4.4]]), torch.tensor([[1.05, 2.5], [3.0, 4.1]])
    assert within(absolute=0.1)(output, target).tolist() == [0.5, 0.0]
    assert within(relative=0.1)(output, target).tolist() == [0.5, 0.5]
    assert within(0.1)(torch.ones(2, 1), torch.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"absolute is 0\.0, relative 0\.0"):
        within()


@pytest.mark.parametrize(
    ("name", "output", "target", "message"),
    [
        ("top1", torch.zeros(2, 1), IDS[:2, 0], r"output is \(2, 1\) torch.float32; allowed .*classes >= 2"),
        ("top1", torch.zeros(2, 3), torch.tensor([0, 3]), "a target is 3; allowed for 3 classes is 0 to 2"),
        ("top5", {"loss": PIXELS}, IDS, "output is a dict of 'loss'; allowed is a tensor"),
        ("pixel_accuracy", PIXELS, MASK[:2], r"target is \(2, 5, 6\) torch.int64; allowed .* \(3, 5, 6\)"),
        ("mean_iou", PIXELS, MASK.clamp(max=9) + 1, "a target is .* allowed for 4 classes is 0 to 3, and -100 and 255"),
        ("mean_iou", PIXELS[:, :1], MASK / 2, "target is .* torch.float32; allowed is an integer tensor"),
        ("pixel_accuracy", PIXELS, torch.full((3, 5, 6), 255), "sample 0 of a batch has no target that counts"),
        ("token_accuracy", WORDS, IDS[:, 1:], r"target is \(3, 5\) torch.int64; allowed .*\(3, 6\)"),
        ("next_token_accuracy", WORDS[0], IDS, r"output is \(6, 7\) torch.float32; allowed .*tokens, vocabulary"),
        ("box_f1", PIXELS, [THERE], "output is .* allowed is a list with a mapping of 'boxes'"),
        ("box_f1", [THERE], [], "output has 1 samples, the target 0"),
        ("box_f1", [{"boxes": PIXELS}], [THERE], "sample 0 of the network's output is a dict of 'boxes'; allowed"),
        ("box_f1", [THERE | {"boxes": MASK}], [THERE], r"has the shapes \(3, 5, 6\) of 'boxes'"),
    ],
)
def test_other_shapes_are_refused(name: str, output: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"metric '{name}': .*{message}"):
        METRICS[name](output, target)
