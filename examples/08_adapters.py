"""Low-rank adapters of PEFT make up for a part of a memory's errors: the base stays as it is, the adapters are boosted.

A Llama of 20,000 parameters is trained on reliable memory and frozen. Adapters beside its layers learn under faults in
base and adapters; at first an adapter is all zero, and reads as zero whatever its cells do. Merged into the base,
they are part of one matrix again. Needs Transformers and PEFT: `make test-networks` installs them and runs this.

Expected output (figures after ~ differ from machine to machine):

    base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight: 1024 bytes
    base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight: 256 bytes
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight: 256 bytes
    trained: 8192 of 28832 parameters
    letters predicted with adapters of zero: ~48.9% on reliable memory, ~37.1% with errors
    with boosted ones: ~49.2% and ~38.8%
    merged: ~48.8% and ~37.7%, in 31 operands
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
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
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=3e-3)
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


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = read_texts()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=len(LETTERS), num_hidden_layers=2, eos_token_id=None, **sizes))
    train(base, texts, 30)

    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    errors = eden.Uniform(3e-3)
    eden.inject_(model, eden.Faults(errors, errors, "int8_sign_magnitude", "zero"))
    eden.calibrate_(model, texts)
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    for name in (f"{layer}.base_layer.weight", f"{layer}.lora_A.default.weight", f"{layer}.lora_B.default.weight"):
        print(f"{name}: {eden.operands(model)[name].bytes} bytes")

    before = eden.evaluate(model, texts, metric=next_letters, chips=3)
    train(model, texts, 6, eden.Curriculum(model, errors.ber, epochs=6, epochs_per_step=1))
    after = eden.evaluate(model, texts, metric=next_letters, chips=3)
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    print(f"trained: {trained} of {sum(each.numel() for each in model.parameters())} parameters")
    print(
        f"letters predicted with adapters of zero: {before.clean:.1%} on reliable memory, {before.mean:.1%} with errors"
    )
    print(f"with boosted ones: {after.clean:.1%} and {after.mean:.1%}")

    merged = model.merge_and_unload()  # layers, and so names and places, are others: inject again
    eden.inject_(merged, eden.Faults(errors, errors, "int8_sign_magnitude", "zero"))
    eden.calibrate_(merged, texts)
    found = eden.evaluate(merged, texts, metric=next_letters, chips=3)
    print(f"merged: {found.clean:.1%} and {found.mean:.1%}, in {len(eden.operands(merged))} operands")


if __name__ == "__main__":
    main()
