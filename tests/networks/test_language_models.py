"""Are causal language models of Transformers under faults whole, their caches included?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from networks_of_others import FAULTS, LETTERS, RATE, language_loss, next_letters, texts, trained, whole_chain
from torch import Tensor, nn

import eden

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.networks, pytest.mark.usefixtures("one_thread")]

HARSH = eden.Uniform(1e-2)
OF_GROUPS = {"num_attention_heads": 4, "num_key_value_heads": 2}
OF_LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, **OF_GROUPS, "eos_token_id": None}


def llama(attention: str = "sdpa") -> nn.Module:
    config = transformers.LlamaConfig(vocab_size=len(LETTERS), **OF_LLAMA, attn_implementation=attention)
    return transformers.LlamaForCausalLM(config)


def gpt2(attention: str = "sdpa") -> nn.Module:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "eos_token_id": None, "bos_token_id": None}
    config = transformers.GPT2Config(vocab_size=len(LETTERS), **sizes, attn_implementation=attention)
    return transformers.GPT2LMHeadModel(config)


def under_faults(model: nn.Module, faults: eden.Faults = FAULTS) -> nn.Module:
    return eden.calibrate_(eden.inject_(model.eval(), faults), texts())


def in_steps(model: nn.Module, tokens: Tensor, cache: Any = None) -> Tensor:
    """Logits of each position, after all before were written to a cache."""
    cache = transformers.DynamicCache(config=model.config) if cache is None else cache
    steps = [model(step, cache=cache, use_cache=True).logits for step in tokens.split(1, 1)]
    return torch.cat(steps, 1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_cache_is_read_as_the_whole_text_is(make, attention):
    torch.manual_seed(0)
    model = under_faults(make(attention), eden.Faults(HARSH, HARSH, "int8_sign_magnitude", "zero"))
    tokens = next(iter(texts(12)))["input_ids"][:3]
    found = eden.coverage(model, sample=tokens)
    assert found.weight_share > 0.95
    assert found.input_share == 1.0
    ends = (".key", ".value") if attention == "sdpa" else ("product0.second", "product1.second")
    held = [name for name in eden.operands(model) if name.endswith(ends)]
    heads = 2 if make is llama else 4  # those of a group of queries are one, however attention gets them
    notes = {row.name: row.note for row in found.rows}
    assert len(held) == 4
    assert all(notes[name].endswith(f"; {heads * 8} bytes for each position") for name in held)
    # Feature maps of a step lie at the beginning of their memory, those of a whole text one after the other.
    maps = [name for name, info in eden.operands(model).items() if info.kind == "input" and name not in held]
    eden.set_errors_(model, dict.fromkeys(maps))
    with torch.no_grad():
        whole, steps = model(tokens).logits, in_steps(model, tokens)
        alone = torch.cat([in_steps(model, text[None]) for text in tokens])
        static = in_steps(model, tokens, transformers.StaticCache(config=model.config, max_cache_len=16))
        with eden.clean(model):
            exact = model(tokens).logits
    rounding = 0.02 * exact.abs().max()  # of a number or two that comes to be another code
    assert (whole - exact).abs().max() > 10 * rounding
    for other in (steps, alone, static):
        assert (other - whole).abs().max() < rounding


def test_what_is_generated_comes_of_the_faults():
    torch.manual_seed(0)
    model = trained(llama(), texts(), language_loss, 4)
    eden.inject_(model, eden.Faults(HARSH, HARSH, "int8_sign_magnitude", "zero"))
    eden.calibrate_(model, texts())
    prompt = next(iter(texts(8)))["input_ids"][:2]

    def written(chip: int, **options: Any) -> list[list[int]]:
        eden.set_chip_(model, chip)
        return model.generate(prompt, max_new_tokens=12, do_sample=False, pad_token_id=0, **options).tolist()

    with eden.clean(model):
        exact = written(1)
    assert written(1) == written(1) != exact
    assert written(2) != written(1)
    assert written(1, num_beams=2) != exact
    loads = eden.operands(model)["model.layers.0.self_attn.key"].loads
    assert loads == 12


def test_a_sliding_window_is_followed_until_it_moves():
    torch.manual_seed(0)
    config = transformers.MistralConfig(vocab_size=len(LETTERS), **OF_LLAMA, sliding_window=6)
    model = under_faults(transformers.MistralForCausalLM(config))
    tokens = next(iter(texts(8)))["input_ids"][:2]
    with torch.no_grad():
        in_steps(model, tokens[:, :6])
        with pytest.raises(ValueError, match=r"self_attn\.key.*DynamicSlidingWindowLayer moves its tokens once they"):
            in_steps(model, tokens)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_language_model_goes_through_the_whole_chain(make, tmp_path):
    torch.manual_seed(0)
    loader = texts()
    model = under_faults(trained(make(), loader, language_loss, 6))
    made = whole_chain(model, loader, next_letters, language_loss)
    assert any("attn.key" in name for name in made.placement.operands)
    eden.save(model, tmp_path / "network")
    torch.manual_seed(1)
    other = eden.load_(make().eval(), tmp_path / "network")
    tokens = next(iter(loader))["input_ids"][:2]
    for network in (model, other):
        eden.set_errors_(network, dict.fromkeys(eden.operands(network), RATE))
        eden.set_chip_(network, 3)
    with torch.no_grad():
        assert torch.equal(in_steps(model, tokens), in_steps(other, tokens))
    tied = ("transformer.wte", "lm_head")  # GPT-2's head is its table, and one operand with it
    assert set(eden.operands(model)["lm_head.weight"].layers) == ({"lm_head"} if make is llama else {*tied})
