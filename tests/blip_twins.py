"""Tiny random BLIPs of transformers, of odd sizes, for the tests of weights and captions."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

VOCAB, PAD, CLS, SEP, DEC, ENC = 97, 0, 2, 3, 95, 96
SIZE = 30
KINDS = {
    "retrieval": "BlipForImageTextRetrieval",
    "caption": "BlipForConditionalGeneration",
    "vqa": "BlipForQuestionAnswering",
}


def hf_config(image_width: int = 20, **text: Any) -> Any:
    """30 px in patches of 6; text of width 24 in 3 heads; no size is another's."""
    image = dict(
        hidden_size=image_width, intermediate_size=44, num_hidden_layers=3, num_attention_heads=2,
        image_size=SIZE, patch_size=6, layer_norm_eps=1e-6,
    )  # fmt: skip
    words = dict(
        vocab_size=VOCAB, hidden_size=24, intermediate_size=50, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=23, bos_token_id=DEC, sep_token_id=SEP,
        eos_token_id=SEP, pad_token_id=PAD, cls_token_id=CLS, enc_token_id=ENC,
    )  # fmt: skip
    return transformers.BlipConfig(
        text_config=words | text, vision_config=image, image_text_hidden_size=10
    )


def hf_twin(kind: str, seed: int = 0, std: float = 0.15, **config: Any) -> Any:
    """One of the three models, every parameter random, so that each of them matters."""
    width = 24 if kind == "vqa" else 20  # its decoder looks at texts, and its config has one width
    model = getattr(transformers, KINDS[kind])(hf_config(**{"image_width": width} | config))
    return randomise(model, seed, std)


def randomise(model: nn.Module, seed: int = 0, std: float = 0.15) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * std
            norm = parameter.ndim == 1 and name.endswith("weight") and "class" not in name
            parameter.copy_(noise.abs() + 1 if norm else noise)
    return model.eval()


def batch(rows: int = 4, size: tuple[int, int] = (SIZE, SIZE)) -> dict[str, Tensor]:
    """Pictures, and texts [CLS] w … [SEP] of different lengths with their mask."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 4, 7, 3, 8, 5][:rows])
    tokens = torch.randint(4, 90, (rows, 9), generator=generator)
    tokens[:, 0] = CLS
    tokens[torch.arange(rows), lengths - 1] = SEP
    mask = torch.arange(9) < lengths[:, None]
    pixels = torch.randn(rows, 3, *size, generator=generator)
    return {"pixels": pixels, "tokens": tokens.where(mask, PAD), "mask": mask}


def to_official(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names → those of salesforce/BLIP, which differ in the image tower only."""
    names = (
        (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
        (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
        (r"^vision_model\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
        (r"^vision_model\.post_layernorm", "visual_encoder.norm"),
        (r"^vision_model\.encoder\.layers", "visual_encoder.blocks"),
        (r"\.self_attn\.projection\.", ".attn.proj."),
        (r"\.self_attn\.", ".attn."),
        (r"\.layer_norm([12])\.", r".norm\1."),
    )
    renamed = {}
    for name, tensor in weights.items():
        for old, new in names:
            name = re.sub(old, new, name)
        renamed[name] = tensor.clone()
    return renamed
