"""BLIP-2's image side: a frozen tower of one of several kinds, and a norm that is trained."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze
from vlcourse.layers.states import block_states
from vlcourse.models.base import Trainable
from vlcourse.models.blip_image import GridTokens
from vlcourse.models.blip_vit import BLIPViT, BLIPViTConfig
from vlcourse.models.eva import EVA, EVAConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.resnet import ResNet, ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig

TowerConfig: TypeAlias = EVAConfig | ViTConfig | BLIPViTConfig | ResNetConfig


def tower_width(config: TowerConfig) -> int:
    """Size of a tower's image tokens."""
    return 32 * config.width if isinstance(config, ResNetConfig) else config.width


def _tower(config: TowerConfig, embed: int) -> EVA | ViT | BLIPViT | ResNet:
    if isinstance(config, EVAConfig):
        return EVA(config)
    if isinstance(config, BLIPViTConfig):
        return BLIPViT(config)
    return ViT(config) if isinstance(config, ViTConfig) else ResNet(config, embed)


class SeesImages(Trainable):
    """A model that sees images through a tower that somebody else has trained.

    The tower is frozen: it stays in eval mode whatever calls ``train()``, has no gradient, and may
    be of half precision. What it gives can be computed once and stored (:meth:`image_features`).

    Args:
        image: the tower. Of CLIP's ViT the tokens before the last block are taken (section 4.1), of
            a ResNet the cells of the last grid, of the others the final tokens.
        embed: what a ResNet's pooling gives; it is not used, but belongs to the tower.
        norm_eps: added to the variance in the norm of the image tokens.
        tune: train the tower, too.

    Attributes:
        image: the tower.
        norm_image: (B, N, C) → (B, N, C); for a grid it adds positions, which begin as sines.
    """

    def __init__(self, image: TowerConfig, embed: int, norm_eps: float, tune: bool) -> None:
        super().__init__()
        self.image = _tower(image, embed)
        self.norm_image: nn.Module = nn.LayerNorm(tower_width(image), norm_eps)
        if isinstance(image, ResNetConfig):
            self.norm_image = GridTokens(image.grid, tower_width(image))
        if isinstance(self.image, ResNet):
            self.image.pool.requires_grad_(False)
        if isinstance(self.image, ViT):
            unused = (self.image.blocks[-1], self.image.norm_post)
            for part in unused:
                part.requires_grad_(False)
        self._tune = tune
        if not tune:
            freeze(self.image)

    def image_features(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images → (B, N, C) tokens of the tower, float32, as it left them.

        With a frozen tower they have no gradient, and depend on the image alone: store them, and
        give them to the model in the place of the pixels.
        """
        dtype = next(self.image.parameters()).dtype
        with torch.set_grad_enabled(self._tune and torch.is_grad_enabled()):
            if isinstance(self.image, ViT):
                before_last = self.image.blocks[-2]
                (tokens,) = block_states([before_last], lambda: self.image(pixels.to(dtype)))
                return tokens.float()
            return self.image(pixels.to(dtype))[1]["tokens"].float()

    def image_tokens(self, pixels: Tensor | None = None, features: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) images, or their :meth:`image_features` → (B, N, C): what queries look at.

        Raises:
            ModelError: unless one of the two is given; for features of another width.
        """
        if (pixels is None) == (features is None):
            raise ModelError("the model looks at pixels or at features: give one of the two")
        if features is None:
            features = self.image_features(pixels)  # type: ignore[arg-type]
        width = tower_width(self.image.config)
        if features.ndim != 3 or features.shape[-1] != width:
            raise ModelError(
                f"features are {tuple(features.shape)}, and this tower's are (B, N, {width})"
            )
        return self.norm_image(features.to(next(self.norm_image.parameters()).dtype))


def check_width(image: TowerConfig, qformer: QFormerConfig) -> None:
    """Refuse a Q-Former that expects image tokens of another width than the tower's, and a CLIP's
    ViT that has no block before the last."""
    if isinstance(image, ViTConfig) and image.layers < 2:
        raise ModelError("the tokens before a ViT's last block are taken: it needs two layers")
    if qformer.image_width != tower_width(image):
        raise ModelError(
            f"the image tower's tokens have width {tower_width(image)}, and qformer.image_width "
            f"is {qformer.image_width}: make them equal"
        )


def at_size(model: SeesImages, config: TowerConfig) -> dict[str, Tensor]:
    """The weights of a model's tower for images of the config's size, by their names in it."""
    tower = model.image
    if config.image_size != tower.config.image_size:
        if not isinstance(tower, BLIPViT):
            raise ModelError(f"a {type(tower).__name__} cannot take images of another size here")
        tower = tower.at_resolution(config.image_size)
    return {f"image.{name}": tensor for name, tensor in tower.state_dict().items()}
