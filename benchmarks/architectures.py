"""What of networks that others wrote comes under faults: torchvision's, timm's and transformers', in tiny sizes.

Prints a line for each network: the share of the bytes of its weights (parameters of two or more dimensions, as all
others are biases and normalization, which are reliable by default) and of the bytes of the feature maps that its
products read, that go through the memory after ``eden.inject_`` and ``eden.calibrate_``, the number of its operands,
and, where a share is below 95%, what reads the most of the rest. Weights are random. The libraries are not installed
with EDEN: give them to it in a folder of their own (``pip install --target FOLDER --no-deps torchvision==0.28.0 timm
transformers`` and what transformers needs), on PYTHONPATH. Exits with 1 if a network is not calibrated.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import eden
from eden.faults.coverage import Coverage

ENOUGH = 0.95


def define_torchvision_operators() -> None:
    """Give torchvision its two operators of detection where its own do not load: its wheels are made for CUDA."""
    if _KEPT or _loads_own():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )
    library.impl("nms", _nms, "CPU")
    library.impl("roi_align", _roi_align, "CPU")
    _KEPT.append(library)
    extension = importlib.import_module("torchvision.extension")
    extension._has_ops = lambda: True


_KEPT: list[torch.library.Library] = []


def _loads_own() -> bool:
    spec = importlib.util.find_spec("torchvision")
    try:
        torch.ops.load_library(next(Path(spec.submodule_search_locations[0]).glob("_C*.so")))
    except (AttributeError, OSError, StopIteration):
        return False
    return True


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left, kept = scores.argsort(descending=True), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        overlap = torch.minimum(boxes[best, 2:], boxes[left, 2:]) - torch.maximum(boxes[best, :2], boxes[left, :2])
        common = overlap.clamp(min=0).prod(1)
        left = left[common / (areas[best] + areas[left] - common) <= threshold]
    return torch.stack(kept) if kept else scores.new_empty(0, dtype=torch.int64)


def _roi_align(
    x: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    """One point in the middle of each bin."""
    if len(rois) == 0:
        return x.new_empty(0, x.shape[1], height, width)
    ends = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    steps = [(torch.arange(count) + 0.5) / count for count in (height, width)]
    ys = ends[:, 1, None] + (ends[:, 3] - ends[:, 1])[:, None] * steps[0]
    xs = ends[:, 0, None] + (ends[:, 2] - ends[:, 0])[:, None] * steps[1]
    grid = torch.stack(
        torch.broadcast_tensors(2 * xs[:, None, :] / x.shape[3] - 1, 2 * ys[:, :, None] / x.shape[2] - 1), -1
    )
    return nn.functional.grid_sample(x[rois[:, 0].long()], grid, align_corners=False)


def images(side: int) -> Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))


def tokens(length: int = 8) -> Tensor:
    return torch.randint(4, 60, (3, length), generator=torch.Generator().manual_seed(0))


Made = tuple[nn.Module, Any]


def torchvision_networks() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Torchvision's networks, one of each family."""
    define_torchvision_operators()
    models: Any = importlib.import_module("torchvision.models")
    for name, side in (
        *(("alexnet", 64), ("vgg11", 32), ("resnet18", 32), ("resnext50_32x4d", 32), ("squeezenet1_1", 32)),
        *(("densenet121", 32), ("googlenet", 64), ("inception_v3", 96), ("mobilenet_v2", 32)),
        *(("mobilenet_v3_small", 32), ("shufflenet_v2_x0_5", 32), ("mnasnet0_5", 32), ("efficientnet_b0", 32)),
        *(("regnet_y_400mf", 32), ("convnext_tiny", 32), ("swin_t", 64), ("swin_v2_t", 64)),
    ):
        extra = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        yield name, lambda name=name, side=side, extra=extra: (models.get_model(name, **extra), images(side))
    yield "vit", lambda: (models.VisionTransformer(32, 8, 2, 4, 32, 64), images(32))
    yield "maxvit", lambda: (models.MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 8, 0.0), images(64))
    small = {"weights_backbone": None, "min_size": 64, "max_size": 64}
    for name in ("fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"):
        yield name, lambda name=name: (_detecting(models.get_model(name, **small)), list(images(64)))
    for name in ("retinanet_resnet50_fpn", "fcos_resnet50_fpn"):
        yield name, lambda name=name: (models.get_model(name, **small), list(images(64)))
    yield (
        "ssdlite320_mobilenet_v3_large",
        lambda: (
            models.get_model("ssdlite320_mobilenet_v3_large", weights_backbone=None),
            list(images(64)),
        ),
    )


def _detecting(model: Any) -> nn.Module:
    """As many boxes in each image, however little a random network finds."""
    model.rpn._pre_nms_top_n = model.rpn._post_nms_top_n = {"training": 8, "testing": 8}
    model.rpn.score_thresh, model.rpn.nms_thresh = 0.0, 1.0
    model.roi_heads.score_thresh, model.roi_heads.detections_per_img = 0.0, 2
    return model


def timm_networks() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Timm's networks, small ones of many families."""
    define_torchvision_operators()
    timm: Any = importlib.import_module("timm")
    for name, side, options in (
        *(("resnet10t", 32, {}), ("resnetv2_50", 32, {}), ("nf_resnet26", 32, {}), ("repvgg_a0", 32, {})),
        *(("efficientnet_lite0", 32, {}), ("mobilenetv4_conv_small", 32, {}), ("ghostnet_050", 32, {})),
        *(("regnetx_002", 32, {}), ("densenet121", 32, {}), ("hrnet_w18_small", 64, {}), ("dla34", 32, {})),
        *(("convnext_atto", 64, {}), ("convnextv2_atto", 64, {}), ("inception_next_atto", 64, {})),
        *(("poolformer_s12", 64, {}), ("mixer_s32_224", 64, {"img_size": 64}), ("fastvit_t8", 64, {})),
        *(("vit_tiny_patch16_224", 64, {"img_size": 64}), ("deit_tiny_patch16_224", 64, {"img_size": 64})),
        *(("beit_base_patch16_224", 64, {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}),),
        *(("eva02_tiny_patch14_224", 56, {"img_size": 56}), ("cait_xxs24_224", 64, {"img_size": 64, "depth": 2})),
        *(("swin_tiny_patch4_window7_224", 64, {"img_size": 64, "window_size": 4, "embed_dim": 24}),),
        *(("swinv2_tiny_window8_256", 64, {"img_size": 64, "window_size": 4, "embed_dim": 24}),),
        *(("maxvit_rmlp_pico_rw_256", 64, {"img_size": 64}), ("coatnet_pico_rw_224", 64, {"img_size": 64})),
        *(("levit_128s", 64, {"img_size": 64}), ("mobilevit_xxs", 64, {}), ("pvt_v2_b0", 64, {})),
        *(("xcit_nano_12_p16_224", 64, {"img_size": 64, "depth": 2}), ("edgenext_xx_small", 64, {})),
        *(
            ("focalnet_tiny_srf", 64, {"embed_dim": 24}),
            ("davit_tiny", 64, {"img_size": 64}),
            ("tiny_vit_5m_224", 64, {"img_size": 64}),
        ),
    ):
        yield (
            name,
            lambda name=name, side=side, options=options: (
                timm.create_model(name, num_classes=10, **options),
                images(side),
            ),
        )


_TEXT = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT |= {"intermediate_size": 64, "max_position_embeddings": 64}
_GROUPED = {**_TEXT, "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 0}


def transformers_networks() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Transformers' architectures, of two layers and 32 features."""
    define_torchvision_operators()
    library: Any = importlib.import_module("transformers")

    def text(name: str, kind: str = "Model", **options: Any) -> Callable[[], Made]:
        def make() -> Made:
            config = getattr(library, f"{name}Config")(**options)
            config._attn_implementation = "sdpa" if name not in _EAGER else "eager"
            model = getattr(library, f"{name}{kind}")(config)
            batch = {"input_ids": tokens()}
            if getattr(config, "is_encoder_decoder", False):
                batch["decoder_input_ids"] = tokens(6)
            return model, batch

        return make

    for name in ("Bert", "Roberta", "Electra", "XLMRoberta"):
        yield name, text(name, "ForSequenceClassification", **_TEXT)
    yield "Albert", text("Albert", "ForSequenceClassification", embedding_size=16, **_TEXT)
    yield "DebertaV2", text("DebertaV2", "ForSequenceClassification", **_TEXT)
    yield (
        "DistilBert",
        text("DistilBert", "ForSequenceClassification", vocab_size=64, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    )
    yield "GPT2", text("GPT2", "LMHeadModel", vocab_size=64, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    for name in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Phi3"):
        yield name, text(name, "ForCausalLM", **_GROUPED)
    yield "Mixtral", text("Mixtral", "ForCausalLM", num_local_experts=4, **_GROUPED)
    yield "GPTNeoX", text("GPTNeoX", "ForCausalLM", **_TEXT)
    yield "Bloom", text("Bloom", "ForCausalLM", vocab_size=64, hidden_size=32, n_layer=2, n_head=2)
    yield (
        "OPT",
        text("OPT", "ForCausalLM", **{**_TEXT, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    )
    yield "Falcon", text("Falcon", "ForCausalLM", **_TEXT)
    halves = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    halves |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "d_model": 32, "vocab_size": 64}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    yield (
        "T5",
        text("T5", "ForConditionalGeneration", vocab_size=64, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2),
    )
    yield "Bart", text("Bart", "ForConditionalGeneration", **halves, **ends, max_position_embeddings=64)
    yield (
        "Whisper",
        lambda: (
            library.WhisperForConditionalGeneration(
                library.WhisperConfig(**halves, **ends, num_mel_bins=8, max_source_positions=8, max_target_positions=16)
            ),
            {"input_features": torch.randn(3, 8, 16), "decoder_input_ids": tokens(6)},
        ),
    )
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    vision |= {"image_size": 32, "patch_size": 8}
    yield "ViT", lambda: (library.ViTForImageClassification(library.ViTConfig(**vision)), {"pixel_values": images(32)})
    yield (
        "Swin",
        lambda: (
            library.SwinForImageClassification(
                library.SwinConfig(
                    image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4
                )
            ),
            {"pixel_values": images(32)},
        ),
    )
    yield (
        "CLIP",
        lambda: (
            library.CLIPModel(
                library.CLIPConfig(text_config={**_TEXT, "eos_token_id": 2}, vision_config=vision, projection_dim=16)
            ),
            {"input_ids": tokens(), "pixel_values": images(32)},
        ),
    )
    yield (
        "Wav2Vec2",
        lambda: (
            library.Wav2Vec2ForCTC(
                library.Wav2Vec2Config(
                    **{**_TEXT, "conv_dim": (16, 16), "conv_stride": (5, 2), "conv_kernel": (10, 3)},
                    num_conv_pos_embeddings=8,
                    num_conv_pos_embedding_groups=2,
                )
            ),
            {"input_values": torch.randn(3, 400)},
        ),
    )


_EAGER = ("DebertaV2", "T5", "Bloom")
LIBRARIES = {"torchvision": torchvision_networks, "timm": timm_networks, "transformers": transformers_networks}


@dataclasses.dataclass(frozen=True)
class Share:
    """How much of a network is under faults.

    Attributes:
        weights: share of the bytes of parameters of two or more dimensions.
        inputs: share of the bytes of feature maps that products read.
        operands: how many there are.
        why: what reads most of the rest where a share is low, "" where none is.
    """

    weights: float
    inputs: float
    operands: int
    why: str

    @classmethod
    def of(cls, found: Coverage) -> Share:
        """From what coverage shows."""
        through = sum(row.bytes or 0 for row in found.faulty if row.kind == "weight")
        left = [row for row in found.reliable if not row.chosen and row.bytes]
        weights = [row for row in left if row.kind in ("parameter", "weight", "packed", "buffer")]
        maps = [row for row in left if row.kind == "function"]
        maps += [row for row in found.reliable if row.kind == "input" and row.bytes]
        beside = sum(row.bytes or 0 for row in weights)
        share, inputs = through / (through + beside) if through else 0.0, found.input_share or 0.0
        low = [*(weights if share < ENOUGH else ()), *(maps if inputs < ENOUGH else ())]
        largest = sorted(low, key=lambda row: -(row.bytes or 0))[:2]
        why = "; ".join(f"{row.name}: {row.note.split('; eden.')[0]}" for row in largest)
        return cls(share, inputs, len(found.faulty), why)


def measured(model: nn.Module, batch: Any) -> Share:
    """How much of a network is under faults after calibration with a batch."""
    errors = eden.Uniform(1e-4)
    eden.inject_(model.eval(), eden.Faults(errors, errors))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = [(batch,)] if isinstance(batch, list) else [batch]
        try:
            eden.calibrate_(model, loader)
        except ValueError as error:
            if "samples=" not in str(error):
                raise
            # Tokens that a router sends to an expert, boxes of an image: each entry in the same cells.
            eden.calibrate_(model, loader, samples={"*.experts.*": (0, 1), "*roi_heads.*": (0, 1)})
        return Share.of(eden.coverage(model, sample=loader[0]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="libraries or networks; all otherwise")
    parser.add_argument("--seconds", action="store_true", help="print how long each took, too")
    arguments = parser.parse_args()
    failed = 0
    print("| library | network | weights | feature maps | operands | below 95%: why |\n|---|---|---|---|---|---|")
    for library, networks in LIBRARIES.items():
        if arguments.only and library not in arguments.only and set(arguments.only) & set(LIBRARIES):
            continue
        for name, make in networks():
            if arguments.only and not {library, name} & set(arguments.only):
                continue
            torch.manual_seed(0)
            start = time.perf_counter()
            try:
                found = measured(*make())
                line = f"{found.weights:.1%} | {found.inputs:.1%} | {found.operands} | {found.why}"
            except Exception as error:  # whatever a network raises: the others are still of interest
                failed += 1
                line = f"- | - | - | {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            took = f" ({time.perf_counter() - start:.0f} s)" if arguments.seconds else ""
            print(f"| {library} | {name} | {line}{took} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
