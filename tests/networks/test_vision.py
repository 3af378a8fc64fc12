"""Do vision transformers of timm go through the whole chain?"""

from __future__ import annotations

import pytest
import torch
from networks_of_others import FAULTS, image_loss, trained, whole_chain
from torch import nn
from torch.utils.data import DataLoader, Subset

import eden
from eden.app.datasets import digits

timm = pytest.importorskip("timm")
pytestmark = [pytest.mark.networks, pytest.mark.usefixtures("one_thread")]

OF_IMAGES = {"img_size": 8, "in_chans": 1, "num_classes": 10}
NETWORKS = {
    "vit": lambda: timm.models.VisionTransformer(
        **OF_IMAGES, patch_size=2, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2
    ),
    "swin": lambda: timm.models.SwinTransformer(
        **OF_IMAGES, patch_size=2, embed_dim=32, depths=(2, 2), num_heads=(2, 4), window_size=2, mlp_ratio=2
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_vision_transformer_goes_through_the_whole_chain(name):
    torch.manual_seed(0)
    model: nn.Module = NETWORKS[name]()
    loader = DataLoader(Subset(digits()[0], range(512)), batch_size=32)
    trained(model, loader, image_loss, 15, 5e-3)
    eden.calibrate_(eden.inject_(model, FAULTS), loader)
    images = torch.stack([digits()[0][index][0] for index in range(4)])
    found = eden.coverage(model, sample=images)
    assert found.weight_share > 0.9
    assert found.input_share == 1.0
    # Windows of an image are one sample; so each image is read as it is alone.
    with torch.no_grad():
        eden.set_chip_(model, 4)
        together = model(images)
        assert torch.allclose(model(images[2:3]), together[2:3], atol=1e-5)
    if name == "swin":
        assert eden.operands(model)["layers.0.blocks.0.attn.product0.second"].bytes == 4 * 4 * 32
    whole_chain(model, loader, "top1", image_loss, 0.25)
