"""A causal language model of Transformers that writes with its keys and values in faulty memory.

A Llama of 20,000 parameters learns to write English letters from a page of this documentation. Its weights, its feature
maps and its cache, which is read whole for every token that it writes, lie in a memory with errors; it is boosted,
profiled, and placed in a real module. Needs Transformers: `make test-networks` installs it and runs this.

Expected output (figures after ~ differ from machine to machine):

    read through memory: 99.2% of parameters, 100.0% of feature maps
    a layer's keys: 16 bytes for each position
    BER 3e-03 changes what it writes: True
    letters predicted: ~49.7% on reliable memory, ~32.6% with errors
    after boosting: ~45.9% and ~37.6%
    tolerates BER ~1.1e-03 for a drop of 5%
    DRAM energy saved: ~6.6%
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

import eden

LETTERS = " abcdefghijklmnopqrstuvwxyz.,`-|"


def read_texts() -> DataLoader[Any]:
    """Pieces of 32 letters."""
    page = (Path(__file__).parents[1] / "docs" / "limits.md").read_text(encoding="utf-8").lower()
    tokens = torch.tensor([LETTERS.index(letter) for letter in page if letter in LETTERS])
    pieces = tokens[: len(tokens) // 32 * 32].view(-1, 32)
    return DataLoader([{"input_ids": piece, "labels": piece} for piece in pieces], batch_size=64)  # type: ignore[arg-type]


def train(model: nn.Module, texts: DataLoader[Any], epochs: int, curriculum: eden.Curriculum | None = None) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for batch in texts:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        if curriculum is not None:
            curriculum.step()
    model.eval()


def next_letters(output: Any, target: Tensor) -> Tensor:
    """The share of a text's letters that are predicted from those before."""
    return (output.logits[:, :-1].argmax(-1) == target[:, 1:]).float().mean(-1)


def write(model: Any, prompt: str) -> str:
    tokens = torch.tensor([[LETTERS.index(letter) for letter in prompt]])
    eden.set_chip_(model, 1)
    written = model.generate(tokens, max_new_tokens=24, do_sample=False, pad_token_id=0)[0]
    return "".join(LETTERS[token] for token in written)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = read_texts()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(LETTERS), num_hidden_layers=2, eos_token_id=None, **sizes))
    train(model, texts, 30)

    errors = eden.Device.builtin("ddr3-b33").errors(trcd=7.5).scaled(3e-3)
    eden.inject_(model, eden.Faults(errors, errors, "int8_sign_magnitude", "zero"))
    eden.calibrate_(model, texts)
    coverage = eden.coverage(model, sample=next(iter(texts)))
    print(f"read through memory: {coverage.weight_share:.1%} of parameters, {coverage.input_share:.1%} of feature maps")
    key = next(row for row in coverage.rows if row.name == "model.layers.0.self_attn.key")
    print("a layer's keys:", key.note.split("; ")[1])
    with eden.clean(model):
        exact = write(model, "the errors of a ")
    print(f"BER {errors.ber:.0e} changes what it writes: {write(model, 'the errors of a ') != exact}")

    before = eden.evaluate(model, texts, metric=next_letters, chips=5)
    train(model, texts, 6, eden.Curriculum(model, errors.ber, epochs=6, epochs_per_step=1))
    after = eden.evaluate(model, texts, metric=next_letters, chips=5)
    print(f"letters predicted: {before.clean:.1%} on reliable memory, {before.mean:.1%} with errors")
    print(f"after boosting: {after.clean:.1%} and {after.mean:.1%}")

    search = eden.Search(coarse_only=True)
    tolerance = eden.profile(model, texts, max_drop=0.05, metric=next_letters, search=search, progress=False)
    # The cache would hold all of this network, and nothing be saved: here it is empty, as after other work.
    traffic = eden.traffic(model, platform="cpu", repeated=False)
    placement = eden.place(tolerance, eden.Device.builtin("ddr3-b33"), traffic=traffic)
    saved = eden.savings(traffic, placement).energy_reduction
    print(f"tolerates BER {tolerance.coarse:.1e} for a drop of {tolerance.max_drop:.0%}")
    print(f"DRAM energy saved: {saved:.1%}")


if __name__ == "__main__":
    main()
