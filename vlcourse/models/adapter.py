"""LLaMA-Adapter: learned prompts in the top layers, behind a gate that is closed at first.

Zhang et al. 2023, "LLaMA-Adapter: Efficient Fine-tuning of Language Models with Zero-init
Attention".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.around import Around, Pieces
from vlcourse.layers.errors import ModelError
from vlcourse.layers.prompts import Gate, GateKind, prompt_weights, prompted
from vlcourse.layers.ranges import check
from vlcourse.models.adapter_base import AdaptedLLaMA
from vlcourse.models.adapter_image import (
    Towers,
    clip_tower,
    global_features,
    one_of,
    scale_widths,
    seen_by_row,
)
from vlcourse.models.base import HIDDEN, LAYERS, WIDTH
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.presets import published
from vlcourse.models.vit import ViTConfig

MOST_PROMPTS = 4096


@dataclass(frozen=True)
class AdapterConfig:
    """Shape of a LLaMA-Adapter."""

    llm: LLaMAConfig = LLaMAConfig()
    """The LLaMA around which it stands, which is frozen."""
    prompts: int = 10
    """Learned prompts of a layer: K."""
    layers: int = 30
    """How many layers have them, counted from the top: L."""
    gate: GateKind = "tanh"
    """tanh: one gate a head, as in the paper; linear: one a layer, without tanh, as in peft."""
    gate_std: float = 0.0
    """Deviation of the gates at the beginning: 0 is zero-init; 1 is random, for the ablation."""

    def __post_init__(self) -> None:
        check(self, prompts=(1, MOST_PROMPTS), layers=LAYERS, gate_std=(0, 100))
        check_layers(self.layers, self.llm)

    def build(self) -> Adapter:
        """A freshly initialised adapter, around a freshly initialised LLaMA."""
        return Adapter(self)

    def adopt(self, model: Adapter) -> Adapter:
        """A trained one of this very shape; ModelError if it has another."""
        return same_shape(self, model)

    @staticmethod
    def preset(name: str) -> AdapterConfig:
        """The shape of a published adapter, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("LLaMA-Adapter", name, PRESETS)


def check_layers(layers: int, llm: LLaMAConfig) -> None:
    """Refuse more adapted layers than there are."""
    if layers > llm.layers:
        raise ModelError(f"layers={layers} is out of range: the LLaMA has {llm.layers} layers")


def same_shape(config: Any, model: Any) -> Any:
    """The model if it has this config; else ModelError."""
    if model.config != config:
        raise ModelError("their models differ")
    return model


@dataclass(frozen=True)
class ImageAdapterConfig(AdapterConfig):
    """Shape of a LLaMA-Adapter that sees."""

    image: Towers = field(default_factory=ViTConfig)
    """CLIP's image tower, which is frozen."""
    image_embed: int = 512
    """What a ResNet's pooling gives: not used, but part of the tower."""
    scales: int = 4
    """At how many depths of the tower global features are taken: M."""
    projection: int = 68
    """Hidden size of the MLP between the features and the prompts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, image_embed=WIDTH, scales=(1, LAYERS[1]), projection=HIDDEN)
        scale_widths(self.image, self.scales)

    def build(self) -> ImageAdapter:
        """A freshly initialised adapter, between a fresh image tower and a fresh LLaMA."""
        return ImageAdapter(self)


# Zhang et al. 2023, section 4.1: K = 10 prompts in the last L = 30 of the 7B's 32 layers. For the
# multimodal one the paper gives 1.8 M in all, and no sizes: an MLP of 68 brings it to 1.79 M.
PRESETS: dict[str, AdapterConfig] = {
    "7B": AdapterConfig(LLaMAConfig.preset("7B")),
    "7B multimodal": ImageAdapterConfig(
        LLaMAConfig.preset("7B"), image=ViTConfig(224, 14, 1024, 24, 16), image_embed=768
    ),
}


class PromptLayer(nn.Module):
    """One layer's prompts and their gate.

    Args:
        prompts: K.
        width: D.
        heads: of the attention.
        kind, std: as in :class:`Gate`.
    """

    def __init__(
        self, prompts: int, width: int, heads: int, kind: GateKind = "tanh", std: float = 0.0
    ) -> None:
        super().__init__()
        self.prompts = nn.Parameter(torch.empty(prompts, width))
        self.gate = Gate(heads, kind, std)
        nn.init.normal_(self.prompts)  # as the released code and peft draw them

    def around(self, block: Any, added: Tensor | None = None) -> Pieces:
        """The block's pieces, its attention with the prompts.

        Args:
            block: a LLaMA's.
            added: (B, 1, D) or (B, K, D), added to the prompts; None for nothing.
        """
        told = self.prompts[None] if added is None else self.prompts + added
        attention = partial(prompted, block.attention, self.gate(), told)
        return Pieces(block.norm1, attention, block.norm2, block.mlp)


class Adapter(AdaptedLLaMA):
    """Version 1, for text: K prompts in each of the top L layers, and nothing else is trained.

    Attributes:
        llm: the frozen LLaMA.
        layers: the top layers' prompts and gates, from the lower ones up.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__(config.llm)
        c = config
        self.config: Any = c
        self.layers: Any = nn.ModuleList(
            PromptLayer(c.prompts, c.llm.width, c.llm.heads, c.gate, c.gate_std)
            for _ in range(c.layers)
        )

    def around(self, seen: Tensor | None = None) -> Sequence[Around | None]:
        """As :meth:`AdaptedLLaMA.around`; ``seen`` is added to every prompt."""
        below: list[Around | None] = [None] * (self.config.llm.layers - self.config.layers)
        return [*below, *(partial(layer.around, added=seen) for layer in self.layers)]

    def gates(self) -> Tensor:
        """(L, heads), or (L, 1): what the prompts' part is multiplied by."""
        return torch.stack([layer.gate().flatten() for layer in self.layers])

    @torch.no_grad()
    def looks(
        self, tokens: Tensor, mask: Tensor | None = None, pixels: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Which prompts each position looks at: (B, heads, L, K) for each layer that has some.

        Args:
            tokens, mask, pixels: as in :meth:`forward`.
        """
        found: list[Tensor] = []
        seen = self.look(pixels)

        def noting(layer: Any, block: Any) -> Pieces:
            pieces = layer.around(block, seen)
            told = layer.prompts[None] if seen is None else layer.prompts + seen

            def attention(x: Tensor, **named: Any) -> Tensor:
                found.append(prompt_weights(block.attention, told, x, named["rotation"]))
                return pieces.attention(x, **named)

            return replace(pieces, attention=attention)

        below = self.config.llm.layers - self.config.layers
        around = [*([None] * below), *(partial(noting, layer) for layer in self.layers)]
        self.llm.hidden(self.llm.token(tokens), None, mask, around)
        return tuple(found)


class ImageAdapter(Adapter):
    """Version 1 with eyes: what CLIP sees of an image as a whole is added to every prompt (3.4).

    Its text-only use is the same model without an image: nothing is added then.

    Attributes:
        image: the frozen image tower.
        projection: its global features → one vector, I_p.
    """

    def __init__(self, config: ImageAdapterConfig) -> None:
        super().__init__(config)
        c = config
        self.image, _ = clip_tower(c.image, c.image_embed)
        into = sum(scale_widths(c.image, c.scales))
        self.projection: Any = nn.Sequential(
            nn.Linear(into, c.projection), nn.GELU(), nn.Linear(c.projection, c.llm.width)
        )

    @torch.no_grad()
    def image_features(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images → (B, C) global features, float32; they can be stored."""
        dtype = next(self.image.parameters()).dtype
        return global_features(self.image, pixels.to(dtype), self.config.scales)

    def look(self, pixels: Tensor | None = None, features: Tensor | None = None) -> Tensor | None:
        """As :meth:`AdaptedLLaMA.look`: (B, 1, D), what is added to each prompt."""
        if pixels is None and features is None:
            return None
        one_of(pixels, features, (self.projection[0].in_features,))
        if pixels is not None:
            features = self.image_features(pixels)
        assert features is not None
        return self.projection(features.to(self.projection[0].weight.dtype))[:, None]

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """As :meth:`AdaptedLLaMA.losses`; some rows may have no image.

        Args:
            batch: also ``"shown"``, as :func:`seen_by_row` takes it.
        """
        seen, shown = seen_by_row(self, batch)
        around = self.around(seen * shown[:, None, None])
        hidden = self.llm.hidden(self.llm.token(batch["tokens"]), around=around)
        return {"lm": losses.lm(hidden, self.llm.head, batch["targets"])}
