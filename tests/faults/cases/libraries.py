"""Libraries around torch."""

import copy

import torch
from architectures import define_torchvision_operators
from faults.cases.oracle import Oracle, network, numbers, put, right, same
from faults.cases.registry import Refused, case, refused
from torch import nn

import eden

GROUP = "Other libraries"
X = numbers(5, 8)


@case(GROUP, "accelerate")
def accelerate_hooks() -> None:
    """accelerate's hooks before inject_ and after, taken away again."""
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

    for before in (True, False):
        plain = network()
        model = copy.deepcopy(plain)
        if not before:
            put(model, X)
        add_hook_to_module(model[0], ModelHook())
        if before:
            put(model, X)
        right(model, plain, X)
        remove_hook_from_module(model[0])
        right(model, plain, X)
        eden.remove_(model)
        same(model(X), plain(X))


@case(GROUP, "accelerate")
def accelerate_offloaded() -> None:
    """accelerate's cpu_offload after inject_."""
    from accelerate import cpu_offload

    plain = network()
    model = put(copy.deepcopy(plain), X)
    oracle = Oracle(model, plain)
    cpu_offload(model, execution_device="cpu")
    same(model(X), oracle(X))


@case(GROUP, "accelerate")
def accelerate_offloaded_before() -> Refused:
    """accelerate's cpu_offload before inject_."""
    from accelerate import cpu_offload

    model = network()
    cpu_offload(model, execution_device="cpu")
    return refused("inject_", ValueError, lambda: put(model, X), "offloaded")


@case(GROUP, "accelerate")
def accelerate_prepared() -> None:
    """accelerate's Accelerator in bfloat16."""
    from accelerate import Accelerator

    plain = network()
    model = put(copy.deepcopy(plain), X)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    wrapped, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
    same(wrapped(X), Oracle(model, plain)(X), 2e-2)
    accelerator.backward(wrapped(X).sum())
    optimizer.step()
    assert accelerator.unwrap_model(wrapped) is model


def lora(model: nn.Module) -> nn.Module:
    """A network with PEFT's adapters, which are all zero at first no more."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(r=2, target_modules=["0", "2"], init_lora_weights=False)).eval()


@case(GROUP, "peft", "transformers", "torchvision")
def peft_before() -> None:
    """PEFT's LoRA before inject_: base and adapters are read through memory, merged and not."""
    define_torchvision_operators()
    whole = put(lora(network()), X)
    assert sum("lora" in name and name.endswith(".weight") for name in eden.operands(whole)) == 4
    found = eden.coverage(whole, sample=X)
    assert found.weight_share is not None
    assert found.weight_share > 0.85
    before = whole(X)
    whole.merge_adapter()
    with torch.no_grad(), eden.clean(whole):
        clean = whole(X)
    assert not torch.equal(whole(X), clean)
    whole.unmerge_adapter()
    same(whole(X), before, 1e-2)
    whole(X).sum().backward()
    for name, parameter in whole.named_parameters():
        assert ("lora" in name) == (parameter.grad is not None), name


@case(GROUP, "peft", "transformers", "torchvision")
def peft_after() -> None:
    """PEFT's LoRA after inject_: the base stays under faults, the adapters are named until inject_ is called again."""
    define_torchvision_operators()
    whole = lora(put(network(), X))
    rows = {row.name: row for row in eden.coverage(whole, sample=X).reliable}
    adapters = [row for name, row in rows.items() if "lora" in name and row.kind == "parameter"]
    assert len(adapters) == 4
    assert not any(row.chosen for row in adapters), adapters
    assert all("inject again" in row.note for row in adapters), adapters
    put(whole, X)
    assert sum("lora" in name and name.endswith(".weight") for name in eden.operands(whole)) == 4


@case(GROUP, "opacus", "opt_einsum")
def opacus() -> Refused:
    """Opacus around a network under faults, whose layers have buffers; torch.func gives gradients of each sample."""
    from opacus import GradSampleModule

    model = put(network(), X)
    return refused("GradSampleModule", NotImplementedError, lambda: GradSampleModule(model), "0:FaultyLinear")


@case(GROUP, "timm", "torchvision")
def timm_averages() -> None:
    """timm's averages of a network."""
    define_torchvision_operators()
    from timm.utils import ModelEmaV2, ModelEmaV3

    for kind in (ModelEmaV2, ModelEmaV3):
        plain = network()
        model = put(copy.deepcopy(plain), X)
        ours, theirs = kind(model, decay=0.5), kind(plain, decay=0.5)
        for index in range(3):
            for each in (model, plain):
                with torch.no_grad():
                    each[0].weight.add_(0.1 * index)
            ours.update(model)
            theirs.update(plain)
        right(ours.module, theirs.module, X)


@case(GROUP, "torchvision")
def extracted() -> None:
    """torchvision's feature extraction by fx: layers under faults are leaves."""
    define_torchvision_operators()
    from torchvision.models.feature_extraction import create_feature_extractor

    plain = network()
    model = put(copy.deepcopy(plain), X)
    right(model, plain, X, run=lambda x: create_feature_extractor(model, ["2"])(x)["2"])


@case(GROUP, "transformers", "torchvision")
def transformers_resized() -> None:
    """transformers' GPT-2, whose token embeddings are resized after inject_, with checkpointing."""
    define_torchvision_operators()
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2)).eval()
    x = {"input_ids": torch.arange(16).reshape(2, 8)}
    put(model, x, storage="bfloat16", inputs=None)
    model.resize_token_embeddings(60)
    found = eden.coverage(model, sample=x)
    assert found.weight_share is not None
    assert found.weight_share > 0.9, found
    model.gradient_checkpointing_enable()
    model.train()(**x, labels=x["input_ids"]).loss.backward()


@case(GROUP, "pytorch_lightning", "torchvision")
def lightning() -> None:
    """Lightning's trainer around a network under faults."""
    define_torchvision_operators()
    import pytorch_lightning

    class Module(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    module, plain = Module(), network()
    put(module.net, X)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=5)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    pytorch_lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(module, loader)
    plain.load_state_dict(module.net.state_dict())
    right(module.net.eval(), plain, X)
