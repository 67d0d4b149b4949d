"""Small LLaMAs with adapters around them, whose every weight is large enough to matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlcourse.models.adapter import Adapter, AdapterConfig, ImageAdapter, ImageAdapterConfig
from vlcourse.models.adapter_v2 import AdapterV2, AdapterV2Config
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.lora import LoRA, LoRAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig

WORDS = 43
LLAMA = LLaMAConfig(WORDS, 36, 4, 6, kv_heads=2, hidden=28, context=64)  # grouped, of odd widths


def loud(model: Any, std: float = 0.3) -> Any:
    """The model with every parameter moved away from where it begins."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * std)
    return model


def adapter(seed: int = 0, **changes: Any) -> Adapter:
    """A fresh one around a LLaMA whose weights are loud."""
    torch.manual_seed(seed)
    config = AdapterConfig(**{"llm": LLAMA, "prompts": 5, "layers": 3} | changes)
    model = config.build()
    loud(model.llm, 0.1)
    return model


TOWERS = {
    "vit": ViTConfig(image_size=16, patch_size=8, width=12, layers=3, heads=3),
    "grid": ResNetConfig(16, (1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1)),
}


def image_adapter(tower: str = "vit", seed: int = 0, **changes: Any) -> ImageAdapter:
    """The same with eyes."""
    torch.manual_seed(seed)
    config = ImageAdapterConfig(
        **{"llm": LLAMA, "prompts": 5, "layers": 3, "image": TOWERS[tower], "image_embed": 8}
        | {"scales": 2, "projection": 7}
        | changes
    )
    model = config.build()
    for part in (model.llm, model.image):
        loud(part, 0.1)
    return model


def v2(tower: str = "vit", seed: int = 0, **changes: Any) -> AdapterV2:
    """A version 2, whose frozen parts are loud."""
    torch.manual_seed(seed)
    config = AdapterV2Config(
        **{"llm": LLAMA, "image": TOWERS[tower], "image_embed": 8, "prompts": 5, "layers": 2}
        | {"queries": 3, "early": 2, "visual_width": 10, "visual_layers": 2, "visual_heads": 2}
        | changes
    )
    model = config.build()
    for part in (model.llm, model.image, model.image_projection):
        loud(part, 0.1)
    return model


def lora(seed: int = 0, **changes: Any) -> LoRA:
    """LoRA around a LLaMA whose weights are loud."""
    torch.manual_seed(seed)
    model = LoRAConfig(**{"llm": LLAMA, "rank": 3, "alpha": 5.0} | changes).build()
    loud(model.llm, 0.1)
    return model


def pictures(n: int = 3, seed: int = 2) -> Tensor:
    """(n, 3, 16, 16) noise."""
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def text(n: int = 3, length: int = 9, seed: int = 1) -> Tensor:
    """(n, length) random ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(WORDS, (n, length), generator=generator)


def batch(n: int = 3, seed: int = 1) -> dict[str, Tensor]:
    """Texts whose second half is learned."""
    tokens = text(n, 10, seed)
    targets = tokens[:, 1:].clone()
    targets[:, :4] = -100
    return {"tokens": tokens[:, :-1], "targets": targets}
