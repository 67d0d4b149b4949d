"""How an adapter sees: CLIP's global features at several depths, or its tokens, through queries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.layers.attention import Attention
from vlcourse.layers.block import MLP, Block
from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze
from vlcourse.models.blip2_image import tower_width
from vlcourse.models.blip_image import GridTokens
from vlcourse.models.resnet import ResNet, ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig

Towers = ViTConfig | ResNetConfig


def clip_tower(config: Towers, embed: int) -> tuple[Any, Any]:
    """CLIP's image tower, and the projection behind it, frozen."""
    if isinstance(config, ViTConfig):
        projection = nn.Linear(config.width, embed, bias=False)
        return freeze(ViT(config)), freeze(projection)
    return freeze(ResNet(config, embed)), nn.Identity()  # a ResNet's pooling projects


def one_of(pixels: Tensor | None, features: Tensor | None, shape: tuple[int | None, ...]) -> None:
    """Refuse images and features at once, and features of another shape.

    Args:
        pixels, features: what the model was given; at least one of them is there.
        shape: of one image's features, None for any number.

    Raises:
        ModelError: in words.
    """
    if pixels is not None and features is not None:
        raise ModelError("the model looks at pixels or at features: give one of the two")
    if features is None:
        return
    given = tuple(features.shape[1:])
    if len(given) != len(shape) or any(
        w not in (None, g) for w, g in zip(shape, given, strict=True)
    ):
        wanted = ", ".join("N" if size is None else str(size) for size in shape)
        raise ModelError(f"features are {tuple(features.shape)}, and this tower's (B, {wanted})")


def scale_widths(config: Towers, scales: int) -> list[int]:
    """Sizes of the global features at each of ``scales`` depths.

    Raises:
        ModelError: for more depths than the tower has.
    """
    if isinstance(config, ViTConfig):
        if scales > config.layers:
            raise ModelError(f"scales={scales}: the image tower has {config.layers} blocks")
        return [config.width] * scales
    if scales > 4:
        raise ModelError(f"scales={scales}: a ResNet has 4 stages")
    return [config.width * 4 * 2**stage for stage in range(4 - scales, 4)]


def global_features(image: Any, pixels: Tensor, scales: int) -> Tensor:
    """What the tower sees of the image as a whole, at several depths, side by side.

    Of a ViT the class token after evenly spaced blocks, the last one among them; of a ResNet the
    mean over the cells after each of the last stages.

    Args:
        image: the tower.
        pixels: (B, 3, S, S).
        scales: M, at how many depths.

    Returns:
        (B, C₁ + … + C_M) float32.
    """
    states = image.states(pixels)
    if isinstance(image, ResNet):
        return torch.cat([state.mean(dim=(2, 3)) for state in states[-scales:]], dim=1).float()
    count = len(states)
    depths = [count * (i + 1) // scales - 1 for i in range(scales)]
    return torch.cat([states[depth][:, 0] for depth in depths], dim=1).float()


def image_tokens(image: Any, projection: Any, pixels: Tensor) -> Tensor:
    """(B, 3, S, S) → (B, N, C) tokens, float32: of a ViT all of them in CLIP's joint space, of a
    ResNet the cells before the pooling."""
    tokens = image(pixels)[1]["tokens"]
    if isinstance(image, ViT):
        tokens = projection(image.norm_post(tokens))
    return tokens.float()


def token_width(config: Towers, embed: int) -> int:
    """Size C of :func:`image_tokens`."""
    return embed if isinstance(config, ViTConfig) else tower_width(config)


def flags(batch: dict[str, Any], name: str, default: bool = False) -> Tensor:
    """(B,) bool of a batch, all alike where it does not say."""
    tokens = batch["tokens"]
    return batch.get(name, torch.full((len(tokens),), default, device=tokens.device))


def seen_by_row(model: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """What a model's ``look`` makes of a batch's images, a row for each text.

    A batch without any gets a blank one, and so do its rows without: every rank calls every part in
    each step, the tower too, so that none waits for another.

    Args:
        model: an adapter that sees.
        batch: ``"shown"`` (B,) bool, which rows have an image (default: all, if there are images);
            ``"pixels"`` or ``"features"``, of these rows, in their order.

    Returns:
        (B, M, D), and (B,) bool, which rows have an image; what stands in the others is of none.
    """
    images = {k: batch[k] for k in ("pixels", "features") if batch.get(k) is not None}
    shown = flags(batch, "shown", bool(images))
    if not images:
        size = model.config.image.image_size
        images = {"pixels": torch.zeros(1, 3, size, size, device=shown.device)}
    place = (shown.long().cumsum(0) - 1).clamp(min=0)  # of a row's image among the images
    return model.look(**images)[place], shown


class VisualQueries(nn.Module):
    """Queries that look at an image's tokens in a small Transformer; what they saw goes to a LLaMA.

    As in the released code of LLaMA-Adapter V2, which the paper calls its projection layers.

    Args:
        into: size of the image's tokens.
        width, layers, heads: of the Transformer; with no layers the queries see nothing, and the
            image's tokens themselves go on.
        queries: how many.
        out: size D of the LLaMA's vectors.
        grid: cells along an edge of a convolution's grid, which hardly know where they are: they
            get positions (:class:`GridTokens`). 0: the tokens have some already, as a ViT's do.
    """

    def __init__(
        self, into: int, width: int, layers: int, heads: int, queries: int, out: int, grid: int = 0
    ) -> None:
        super().__init__()
        self.into = nn.Linear(into, width)
        self.norm_into: nn.Module = GridTokens(grid, width) if grid else nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.empty(queries, width)) if layers else None
        self.blocks = nn.ModuleList(
            Block(width, Attention(width, heads), MLP(width, 4 * width)) for _ in range(layers)
        )
        self.out = nn.Linear(width, out)
        self.norm_out = nn.LayerNorm(out)
        if self.queries is not None:
            nn.init.normal_(self.queries)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) → (B, queries, D), or (B, N, D) without layers."""
        x = self.norm_into(self.into(tokens))
        if self.queries is not None:
            x = torch.cat([self.queries.expand(len(x), -1, -1), x], dim=1)
            for block in self.blocks:
                x = block(x)  # (B, queries + N, width)
            x = x[:, : len(self.queries)]
        return self.norm_out(self.out(x))
