"""VideoChat-Embed: a video becomes a soft prompt of a frozen language model that chats about it.

Li et al. 2023, "VideoChat: Chat-Centric Video Understanding", section 3.2 and figure 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from vlcourse.layers.cache import Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze
from vlcourse.layers.positions import Clock
from vlcourse.layers.ranges import check
from vlcourse.layers.states import block_states
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_image import tower_width
from vlcourse.models.blip2_llm import BLIP2LLM, MUTE, BLIP2Decoder, BLIP2LLMConfig
from vlcourse.models.blip_image import GridTokens
from vlcourse.models.gmhra import GMHRA, GMHRAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.presets import published
from vlcourse.models.resnet import ResNet, ResNetConfig
from vlcourse.models.vit import ViT
from vlcourse.names import no_such

Clocks = Literal["none", "order", "seconds"]
Frames = Literal["all", "mean"]


@dataclass(frozen=True)
class VideoChatConfig(BLIP2LLMConfig):
    """Shape of a VideoChat: a BLIP-2 before a decoder, with aggregators and more queries."""

    gmhra: GMHRAConfig = GMHRAConfig()
    """What lets the frames see each other."""
    extra_queries: int = 64
    """Queries for videos, after those that the Q-Former has learned for images."""
    extra_std: float = 0.0
    """How far apart they begin. At 0, as released, all are one, and only the language model's
    positions tell them apart."""
    tune_qformer: bool = False
    """Train the Q-Former, too, which VideoChat leaves as BLIP-2 made it."""
    frames: Frames = "all"
    """What the queries see beside the aggregators' token: the tokens of all frames, or their mean
    over the frames: a baseline without time."""
    clock: Clocks = "none"
    """What each frame's tokens are told of its time: nothing, as in the paper; which in order it
    is; or when it was, in seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, extra_queries=(0, 4096), extra_std=(0, 10))
        for name, kind in (("clock", Clocks), ("frames", Frames)):
            if getattr(self, name) not in get_args(kind):
                raise ModelError(no_such(name, getattr(self, name), get_args(kind)))
        if self.tune_image:
            raise ModelError("VideoChat's image tower is frozen: leave tune_image at false")
        if self.encodes:
            raise ModelError("VideoChat's language model is a decoder, no encoder–decoder")
        self.gmhra.hidden(tower_width(self.image))
        if not isinstance(self.image, ResNetConfig) and self.image.layers <= self.gmhra.layers:
            raise ModelError(
                f"gmhra.layers={self.gmhra.layers} look at as many of the tower's last blocks, and "
                f"it has {self.image.layers}: one more is needed"
            )

    def build(self) -> VideoChat:
        """A freshly initialised model of this shape."""
        return VideoChat(self)

    @staticmethod
    def preset(name: str) -> VideoChatConfig:
        """The shape of a published model, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("VideoChat", name, PRESETS)

    def adopt(self, model: BLIP2LLM | BLIP2) -> VideoChat:
        """A trained model of this shape, or one that begins from a BLIP-2 of either stage.

        Two stages may train other parts. From a BLIP-2 come the tower, its norm, the Q-Former and,
        of a second stage, the projection and the language model; the rest is fresh. ModelError if
        they differ in more.
        """
        if model.config == self:
            assert isinstance(model, VideoChat)
            return model
        if not isinstance(model, VideoChat):
            found = super().adopt(model)
            assert isinstance(found, VideoChat)
            return found
        ours = {name: getattr(self, name) for name in _TRAINING}
        gmhra = replace(model.config.gmhra, dropout=self.gmhra.dropout)
        if replace(model.config, gmhra=gmhra, **ours) != self:
            raise ModelError("their models differ in more than what is trained")
        other = self.build().to(next(model.parameters()).device).train(model.training)
        other.load_state_dict(model.state_dict())
        return other


_TRAINING = ("tune_qformer", "qformer_lr", "extra_std")


class Video(NamedTuple):
    """What the queries look at."""

    tokens: Tensor
    """(B, M, C): each frame's N tokens, frame after frame, and the aggregators' one at the end."""
    mask: Tensor
    """(B, M) bool, False for tokens of frames that are not there."""


class VideoChat(BLIP2Decoder):
    """A frozen image tower, aggregators over its frames, a Q-Former, and a frozen language model.

    An image is a video of one frame. Videos of a batch may have different numbers of frames.

    Attributes:
        image, norm_image: as in :class:`vlcourse.models.blip2_image.SeesImages`.
        gmhra: the aggregators.
        clock: what tells frames their times; absent without one.
        qformer: frozen, unless ``config.tune_qformer``.
        extra: (E, D), the queries for videos.
        projection, llm: as in :class:`vlcourse.models.blip2_llm.BLIP2LLM`.
    """

    begins_from = (BLIP2, BLIP2LLM)
    config: VideoChatConfig

    def __init__(self, config: VideoChatConfig) -> None:
        super().__init__(config)
        c, width = config, tower_width(config.image)
        self.gmhra = GMHRA(c.gmhra, width)
        if c.clock != "none":
            self.clock = Clock(width)
        self.extra = nn.Parameter(torch.zeros(c.extra_queries, c.qformer.width))
        nn.init.normal_(self.extra, std=c.extra_std)
        if not c.tune_qformer:
            freeze(self.qformer)

    @property
    def classes(self) -> int:
        """How many tokens of a frame have no place: 1 with a class token."""
        return 0 if isinstance(self.image, ResNet) else 1

    def frame_states(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """(n, 3, S, S) frames → (n, N, C) after each of the tower's last blocks, at which the
        aggregators look: one for each, or one for all where the grid's size changes on the way."""
        count, tower = max(1, self.config.gmhra.layers), self.image
        if isinstance(tower, ResNet):
            return (self.image_features(pixels),)
        blocks = list(tower.blocks)
        last: list[nn.Module] = blocks[-count - 1 : -1]  # of CLIP's: without the last one
        if not isinstance(tower, ViT):
            last = [*blocks[len(blocks) - count : -1], tower.norm_final]
        pixels = pixels.to(next(tower.parameters()).dtype)
        with torch.no_grad():
            return tuple(state.float() for state in block_states(last, lambda: tower(pixels)))

    def video(
        self,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        seconds: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Video:
        """What the queries look at.

        Args:
            pixels: (B, T, 3, S, S) frames in the order of their times, or (B, 3, S, S) images.
            features: (B, T, N, C), or (B, N, C): stored :meth:`image_features` of the frames, in
                their place. Of a ViT's several last blocks they are not enough.
            seconds: (B, T) when each frame was, for a clock that tells seconds; images have 0.
            shown: (B, T) bool, False for frames that only fill up a batch; they stand at the end.

        Raises:
            ModelError: unless pixels or features are given; for features of another shape, or
                without the seconds that the clock needs.
        """
        if (pixels is None) == (features is None):
            raise ModelError("the model looks at pixels or at features: give one of the two")
        states = self._of_features(features) if pixels is None else self._of_pixels(pixels, shown)
        if shown is None:
            shown = torch.ones(states[-1].shape[:2], dtype=torch.bool, device=states[-1].device)
        dtype = next(self.norm_image.parameters()).dtype
        frames, token = self.gmhra([s.to(dtype) for s in states], self.classes, shown)
        batch, count, places, _ = frames.shape
        frames = self.norm_image(frames.flatten(0, 1)).unflatten(0, (batch, count))
        if self.config.clock != "none":
            frames = frames + self.clock(self._times(frames, seconds))[:, :, None]
        mask = shown.repeat_interleave(places, dim=1)  # (B, T · N)
        if self.config.frames == "mean":
            kept = shown[..., None, None].to(dtype)
            frames = (frames * kept).sum(dim=1, keepdim=True) / kept.sum(dim=1, keepdim=True)
            mask = torch.ones_like(mask[:, :places])
        tokens = frames.flatten(1, 2)
        if token is not None:
            norm = self.norm_image
            token = norm.norm(token) if isinstance(norm, GridTokens) else norm(token)
            tokens = torch.cat([tokens, token], dim=1)
            mask = torch.cat([mask, mask.new_ones(batch, 1)], dim=1)
        return Video(tokens, mask)

    def _of_pixels(self, pixels: Tensor, shown: Tensor | None) -> tuple[Tensor, ...]:
        """(B, T, N, C) after each of the last blocks; of frames that are not there: zeros."""
        if pixels.ndim not in (4, 5):
            raise ModelError(f"pixels are {tuple(pixels.shape)}, and no (B, T, 3, S, S)")
        pixels = pixels[:, None] if pixels.ndim == 4 else pixels
        if shown is None:
            size = pixels.shape[:2]
            return tuple(s.unflatten(0, size) for s in self.frame_states(pixels.flatten(0, 1)))
        found = []
        for state in self.frame_states(pixels[shown]):
            whole = state.new_zeros(*shown.shape, *state.shape[1:])
            whole[shown] = state
            found.append(whole)
        return tuple(found)

    def _of_features(self, features: Tensor | None) -> tuple[Tensor, ...]:
        assert features is not None
        if self.classes and self.config.gmhra.layers > 1:
            raise ModelError(
                "the aggregators look at several blocks of the tower, and features are of one: "
                "give pixels"
            )
        width = tower_width(self.image.config)
        if features.ndim not in (3, 4) or features.shape[-1] != width:
            raise ModelError(
                f"features are {tuple(features.shape)}, and this tower's are (B, T, N, {width})"
            )
        return (features[:, None] if features.ndim == 3 else features,)

    def _times(self, frames: Tensor, seconds: Tensor | None) -> Tensor:
        """(B, T), as the clock tells them."""
        batch, count = frames.shape[:2]
        if self.config.clock == "order":
            return torch.arange(count, device=frames.device).expand(batch, count)
        if seconds is None and count > 1:
            raise ModelError("the clock tells seconds: give the times of the frames")
        return frames.new_zeros(batch, count) if seconds is None else seconds

    def prompt(
        self,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        image_tokens: Tensor | None = None,
        seconds: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> Tensor:
        """As of :meth:`BLIP2LLM.prompt`, Q being the queries for images and for videos.

        Args:
            pixels, features, seconds, shown: as in :meth:`video`.
            image_tokens: (B, M, C) of a video without frames that are not there, instead.
        """
        mask = None
        if image_tokens is None:
            image_tokens, mask = self.video(pixels, features, seconds, shown)
        return self.soft(self.qformer.look(image_tokens, mask, self.extra)[-1])

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"lm": …}``: language modelling of what is answered.

        Args:
            batch: as in :meth:`BLIP2Decoder.losses`, with ``"pixels"`` or ``"features"`` and maybe
                ``"seconds"`` and ``"shown"`` as :meth:`video` takes them.
        """
        seen = {name: batch.get(name) for name in ("pixels", "features", "seconds", "shown")}
        return self.losses_after(self.prompt(**seen), batch)

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        image_tokens: Tensor | None = None,
        seconds: Tensor | None = None,
        shown: Tensor | None = None,
        at: int | Tensor | None = None,
    ) -> Started:
        """As :meth:`BLIP2Decoder.start`.

        Args:
            tokens, mask, new_tokens: as there.
            pixels, features, image_tokens, seconds, shown: as in :meth:`prompt`.
            at: how many tokens stand before the queries, (B,) where rows differ in that.
        """
        soft = self.prompt(pixels, features, image_tokens, seconds, shown)
        return self.start_after(soft, tokens, mask, new_tokens, at)

    def looks(self, **seen: Any) -> Tensor:
        """Where each query looks: (B, Q, T + 1), the frames and the aggregators' token, the mean
        over blocks and heads; each row sums to 1. (Without a token, and with the frames' mean, the
        columns are fewer.)

        Args:
            seen: as in :meth:`video`.
        """
        tokens, mask = self.video(**seen)
        each = self.qformer.cross_attention(lambda: self.qformer.look(tokens, mask, self.extra))
        weights = each.mean(dim=(0, 2))  # (B, Q, M)
        last = 1 if self.config.gmhra.layers else 0
        frames = weights[..., : weights.shape[-1] - last]
        places = self.image.config.grid**2 if isinstance(self.image, ResNet) else (
            1 + self.image.config.patches
        )  # fmt: skip
        frames = frames.unflatten(-1, (-1, places)).sum(dim=-1)  # (B, Q, T)
        return torch.cat([frames, weights[..., weights.shape[-1] - last :]], dim=-1)


# Li et al. 2023: EVA's ViT-g, BLIP-2's Q-Former, and Vicuna-7B or StableVicuna-13B, whose first
# versions have an id of their own for padding.
PRESETS: dict[str, VideoChatConfig] = {
    name: VideoChatConfig(qformer=MUTE, llm=replace(LLaMAConfig.preset(name), vocab_size=32_001))
    for name in ("7B", "13B")
}
