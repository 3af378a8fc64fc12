"""Are low-rank adapters of PEFT trained, merged and kept under faults as without them?"""

from __future__ import annotations

import pytest
import torch
from networks_of_others import FAULTS, LETTERS, language_loss, next_letters, texts, trained, whole_chain
from torch import Tensor, nn

import eden

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.networks, pytest.mark.usefixtures("one_thread")]


def base(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 64, "eos_token_id": None, "bos_token_id": None}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=len(LETTERS), **sizes)).eval()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(LETTERS), **sizes)).eval()


def adapted(kind: str, model: nn.Module | None = None) -> nn.Module:
    model = base(kind) if model is None else model
    targets = ["c_attn"] if kind == "gpt2" else ["q_proj", "v_proj"]
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, fan_in_fan_out=kind == "gpt2")
    torch.manual_seed(1)
    return peft.get_peft_model(model, config).eval()


def logits(model: nn.Module) -> Tensor:
    eden.set_chip_(model, 5)
    with torch.no_grad():
        return model(next(iter(texts()))["input_ids"]).logits


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_are_boosted_on_a_frozen_base(kind, tmp_path):
    loader = texts()
    trained_base = trained(base(kind), loader, language_loss, 4)
    model = adapted(kind, trained_base)
    eden.calibrate_(eden.inject_(model, FAULTS), loader)
    infos = eden.operands(model)
    layer = "base_model.model.transformer.h.0.attn.c_attn" if kind == "gpt2" else ""
    layer = layer or "base_model.model.model.layers.0.self_attn.q_proj"
    of_layer = [f"{layer}.{name}.weight" for name in ("base_layer", "lora_A.default", "lora_B.default")]
    assert infos.keys() > {*of_layer, f"{layer}.lora_B.default.input"}
    # At first B is all zero, and reads as zero whatever its cells do: the adapter changes nothing.
    first = logits(model)
    with model.disable_adapter():
        assert torch.equal(logits(model), first)
    frozen = {name: each.clone() for name, each in model.named_parameters() if not each.requires_grad}
    whole_chain(model, loader, next_letters, language_loss)
    assert all(torch.equal(each, frozen[name]) for name, each in model.named_parameters() if name in frozen)

    with eden.clean(model):
        apart = logits(model)
        model.merge_adapter()
        assert (logits(model) - apart).abs().max() < 0.1 * apart.abs().max(), "codes of the sum are others"
    with pytest.raises(ValueError, match=r"lora_A\.default\.weight"):  # merged adapters are not read
        eden.evaluate(model, loader, metric=next_letters, chips=1)
    model.unmerge_adapter()
    with eden.clean(model):
        assert torch.allclose(logits(model), apart, atol=1e-4)

    expected = logits(model)
    eden.save(model, tmp_path / "network")
    assert torch.equal(logits(eden.load_(adapted(kind), tmp_path / "network")), expected)
    model.save_pretrained(tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(trained(base(kind), loader, language_loss, 4), tmp_path / "adapter").eval()
    eden.calibrate_(eden.inject_(loaded, FAULTS), loader)
    kept = {name: bounds for name, bounds in eden.ranges(model).items() if infos[name].kind == "input"}
    eden.calibrate_(loaded, ranges=kept)
    eden.set_errors_(loaded, {name: info.errors for name, info in eden.operands(model).items()})
    assert torch.equal(logits(loaded), expected)

    merged = model.merge_and_unload()
    eden.inject_(merged, FAULTS)  # names and addresses of what it is now
    assert not any("lora" in name or "base_layer" in name for name in eden.operands(merged))
    eden.calibrate_(merged, loader)
    eden.evaluate(merged, loader, metric=next_letters, chips=1)


def test_adapters_that_come_after_the_faults_are_named():
    model = eden.calibrate_(eden.inject_(base("llama"), FAULTS), texts())
    later = adapted("llama", model)
    rows = {row.name: row for row in eden.coverage(later).reliable}
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert rows[name].note == "not there when faults came: inject again"
    eden.calibrate_(eden.inject_(later, FAULTS), texts())
    assert name in eden.operands(later)
