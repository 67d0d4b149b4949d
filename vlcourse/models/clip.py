"""CLIP: two towers, one space (Radford et al. 2021, "Learning Transferable Visual Models…")."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import MLP, Block, activation_called
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.states import block_states
from vlcourse.models.base import CONTEXT, HEADS, HIDDEN, LAYERS, VOCAB, WIDTH, Trainable
from vlcourse.models.presets import published
from vlcourse.models.resnet import ResNet, ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig, resize_positions


@dataclass(frozen=True)
class TextConfig:
    """Shape of the text tower."""

    vocab_size: int = 49408
    """Number of tokens, start and end of text included; the end of text has the largest id."""
    context: int = 77
    """Longest text, in tokens."""
    width: int = 512
    """Size of the token vectors."""
    layers: int = 12
    """Number of Transformer blocks."""
    heads: int = 8
    """Attention heads in each block."""
    mlp_ratio: float = 4.0
    """Hidden size of the MLP, in multiples of the width."""
    activation: str = "quick_gelu"
    """Non-linearity of the MLP: gelu or quick_gelu."""

    def __post_init__(self) -> None:
        check(self, vocab_size=VOCAB, context=CONTEXT, width=WIDTH, layers=LAYERS, heads=HEADS)
        check(self, mlp_ratio=(0, 64), mlp_hidden=HIDDEN)
        head_channels(self.width, self.heads)
        activation_called(self.activation)

    @property
    def mlp_hidden(self) -> int:
        """Hidden size of the MLP."""
        return round(self.width * self.mlp_ratio)


@dataclass(frozen=True)
class CLIPConfig:
    """Shape of a CLIP: the joint dimension and its two towers."""

    embed: int = 512
    """Dimension of the joint space."""
    image: ViTConfig | ResNetConfig = field(default_factory=ViTConfig)
    """The image tower."""
    text: TextConfig = field(default_factory=TextConfig)
    """The text tower."""

    def __post_init__(self) -> None:
        check(self, embed=WIDTH)

    def build(self) -> CLIP:
        """A freshly initialised model of this shape."""
        return CLIP(self)

    def adopt(self, model: CLIP) -> CLIP:
        """A trained CLIP at this config's image size; ModelError if it differs in more."""
        if model.config == self:
            return model
        size = self.image.image_size
        at_size = replace(model.config, image=replace(model.config.image, image_size=size))
        if at_size != self:
            raise ModelError("their models differ in more than the size of the image")
        return model.at_resolution(size)

    @staticmethod
    def preset(name: str) -> CLIPConfig:
        """The shape of a published model, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("CLIP", name, PRESETS)


# Radford et al. 2021, tables 19 (ResNets) and 20 (Vision Transformers). The vocabulary, the context
# and the 12 layers of the text tower are those of table 18 and section 2.4 for all of them.
PRESETS: dict[str, CLIPConfig] = {
    name: CLIPConfig(embed, image, TextConfig(width=text_width, heads=text_heads))
    for name, embed, image, text_width, text_heads in (
        ("RN50", 1024, ResNetConfig(224, (3, 4, 6, 3), 64, 32), 512, 8),
        ("RN101", 512, ResNetConfig(224, (3, 4, 23, 3), 64, 32), 512, 8),
        ("RN50x4", 640, ResNetConfig(288, (4, 6, 10, 6), 80, 40), 640, 10),
        ("RN50x16", 768, ResNetConfig(384, (6, 8, 18, 8), 96, 48), 768, 12),
        ("RN50x64", 1024, ResNetConfig(448, (3, 15, 36, 10), 128, 64), 1024, 16),
        ("ViT-B/32", 512, ViTConfig(224, 32, 768, 12, 12), 512, 8),
        ("ViT-B/16", 512, ViTConfig(224, 16, 768, 12, 12), 512, 8),
        ("ViT-L/14", 768, ViTConfig(224, 14, 1024, 24, 16), 768, 12),
        ("ViT-L/14@336", 768, ViTConfig(336, 14, 1024, 24, 16), 768, 12),
    )
}


class TextTower(nn.Module):
    """Causal Transformer; a text's feature is the state at its end-of-text token."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.width = c.width
        self.token = nn.Embedding(c.vocab_size, c.width)
        self.positions = nn.Parameter(torch.empty(c.context, c.width))
        self.blocks = nn.ModuleList(
            Block(c.width, Attention(c.width, c.heads), MLP(c.width, c.mlp_hidden, c.activation))
            for _ in range(c.layers)
        )
        self.norm_final = nn.LayerNorm(c.width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """CLIP's initialisation (openai/CLIP, ``initialize_parameters``)."""
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        residual_std = self.width**-0.5 * (2 * len(self.blocks)) ** -0.5
        stds = {"out": residual_std, "down": residual_std, "up": (2 * self.width) ** -0.5}
        for name, parameter in self.blocks.named_parameters():
            _, part, linear, *_ = name.split(".")  # as in "0.attention.q.weight"
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=stds.get(linear, self.width**-0.5))
            elif part == "attention":
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode texts.

        Args:
            tokens: (B, L) ids, L ≤ context, each row ending in an end-of-text token and padded
                with smaller ids: under a causal mask nothing after the end of text can reach its
                state.

        Returns:
            (B, width) features at the end-of-text tokens, before any projection, and
            ``{"tokens": (B, L, width)}`` after the final norm.

        Raises:
            ModelError: when a text is longer than the context.
        """
        length = tokens.shape[1]
        if length > self.config.context:
            raise ModelError(
                f"a text has {length} tokens, this tower takes {self.config.context}: truncate it"
            )
        x = self.token(tokens) + self.positions[:length]  # (B, L, D)
        for block in self.blocks:
            x = block(x, causal=True)
        x = self.norm_final(x)
        return eot_pooling(x, tokens), {"tokens": x}

    def states(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(B, L, width) after each block; the texts as in :meth:`forward`."""
        return block_states(self.blocks, lambda: self(tokens))


def eot_pooling(states: Tensor, tokens: Tensor) -> Tensor:
    """(B, L, D) states, (B, L) ids → (B, D): each text's state at its end of text, the largest id.

    Of several largest ids the first one counts.
    """
    end = tokens.argmax(dim=-1)  # (B,)
    return states[torch.arange(len(states), device=states.device), end]


class CLIP(Trainable):
    """An image tower and a text tower whose features meet in one space.

    The temperature is learned as t = log(1/τ), starts at log(1/0.07), and exp(t) is clipped at 100
    (section 2.5).
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.image: ViT | ResNet
        self.image_projection: nn.Linear | nn.Identity
        if isinstance(config.image, ViTConfig):
            self.image = ViT(config.image)
            self.image_projection = nn.Linear(self.image.width, config.embed, bias=False)
            nn.init.normal_(self.image_projection.weight, std=self.image.width**-0.5)
        else:
            self.image = ResNet(config.image, config.embed)
            self.image_projection = nn.Identity()  # the attention pooling projects
        self.text = TextTower(config.text)
        self.text_projection = nn.Linear(self.text.width, config.embed, bias=False)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / 0.07)]))
        nn.init.normal_(self.text_projection.weight, std=self.text.width**-0.5)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images → (B, embed) embeddings, not L2-normalised."""
        return self.image_projection(self.image(pixels)[0])

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, L) token ids → (B, embed) embeddings, not L2-normalised."""
        return self.text_projection(self.text(tokens)[0])

    def scale(self) -> Tensor:
        """exp(t), the inverse temperature, at most 100."""
        return self.log_scale.exp().clamp(max=100)

    def at_resolution(self, image_size: int) -> CLIP:
        """A copy for images of another size: the same weights, its positions interpolated.

        This begins the paper's last epoch of ViT-L/14 at 336 px (section 2.5; FixRes, Touvron et
        al. 2019). All its parameters have gradients; it is in this model's mode, on its device.

        Args:
            image_size: height and width of the images, in pixels.

        Raises:
            ModelError: when the tower cannot have this size.
        """
        config = replace(self.config, image=replace(self.config.image, image_size=image_size))
        with torch.device("meta"):
            other = CLIP(config)
        weights = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        tower = "image" if isinstance(self.image, ViT) else "image.pool"
        name = f"{tower}.positions"
        grid = math.isqrt(len(other.get_parameter(name)) - 1)
        weights[name] = resize_positions(weights[name], grid)
        other.load_state_dict(weights, assign=True)
        return other.train(self.training)

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Figure 3: (B, 3, S, S) images and (C, L) texts → (B, C) logits, exp(t) · cosines."""
        return losses.similarity(self.encode_image(pixels), self.encode_text(tokens), self.scale())

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"pixels": (B, 3, S, S), "tokens": (B, L)}`` → ``{"itc": contrastive loss}``."""
        image = self.encode_image(batch["pixels"])
        text = self.encode_text(batch["tokens"])
        return {"itc": losses.itc(image, text, self.scale())}
