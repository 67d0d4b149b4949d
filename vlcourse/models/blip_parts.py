"""The parts of a BLIP and what each computes: an image tower, a MED, and what compares the two.

Li et al. 2022, figure 2. How they are trained: :mod:`vlcourse.models.blip`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.models.blip_image import tower
from vlcourse.models.blip_vit import BLIPViT, BLIPViTConfig
from vlcourse.models.matching import Matcher
from vlcourse.models.med import MED
from vlcourse.models.med_config import MEDConfig
from vlcourse.models.resnet import ResNet, ResNetConfig


class BLIPParts(Matcher):
    """What a BLIP is, whatever its losses: it compares, matches and writes.

    One whose text model only writes (``text.roles``, a published captioner) has no projections, no
    ITM head and no τ; one that only reads cannot write.
    """

    def __init__(self, image: BLIPViTConfig | ResNetConfig, text: MEDConfig, embed: int) -> None:
        super().__init__()
        self.image, self.grid = tower(image, embed)
        self.text = MED(text)
        if text.reads:
            # a ResNet's attention pooling projects
            self.image_projection: nn.Module = nn.Identity()
            if isinstance(self.image, BLIPViT):
                self.image_projection = nn.Linear(self.image.width, embed)
            self.text_projection = nn.Linear(text.width, embed)
            self.itm_head = nn.Linear(text.width, 2)
            self.temperature = nn.Parameter(torch.tensor([0.07]))

    def train_only(self, tasks: tuple[str, ...]) -> None:
        """Freeze what none of the losses reaches."""
        blocks: Any = list(self.text.blocks)
        used: dict[str, list[nn.Module]] = {}
        if self.text.config.reads:
            readers = [b.reader for b in blocks]
            alone = [m for r in readers for m in (r.attention, r.norm_attention, r.mlp, r.norm_mlp)]
            used["itc"] = [self.image_projection, self.text_projection, self.text.reading, *alone]
            used["itm"] = [self.grid, self.itm_head, self.text.reading, *readers]
        if self.text.config.writes:
            writers = [b.writer for b in blocks]
            used["lm"] = [self.grid, self.text.writing, self.text.head, *writers]
        self.requires_grad_(False)
        self.image.requires_grad_(True)
        for module in (module for task in tasks for module in used[task]):
            module.requires_grad_(True)
        if self.text.config.reads:
            self.temperature.requires_grad_("itc" in tasks)
        if "itc" not in tasks and isinstance(self.image, ResNet):
            self.image.pool.requires_grad_(False)

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised images → (B, embed) embeddings and (B, N, width) tokens."""
        feature, seen = self.image(pixels)
        return self._projected(feature), self.grid(seen["tokens"])

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) images → (B, embed) embeddings, not L2-normalised."""
        return self._projected(self.image(pixels)[0])

    def _projected(self, feature: Tensor) -> Tensor:
        if not self.text.config.reads:
            raise ModelError("this BLIP only writes: it has nothing to compare images with")
        return self.image_projection(feature)

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) images → (B, N, width): what the text model looks at."""
        return self.grid(self.image(pixels)[1]["tokens"])

    def encode_text(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L) ids → (B, embed) embeddings, not L2-normalised."""
        return self.text_projection(self.text.encode(tokens, mask, only_first=True)[:, 0])

    def similarity(self, image: Tensor, text: Tensor) -> Tensor:
        """(B, embed) and (C, embed) embeddings → (B, C) cosines."""
        return losses.similarity(image, text)

    def match(
        self,
        pixels: Tensor | None,
        tokens: Tensor,
        mask: Tensor | None = None,
        image_tokens: Tensor | None = None,
        *,
        rows: Tensor | None = None,
        cls_for_enc: bool = False,
    ) -> Tensor:
        """Does the text fit the image? (B, 2) logits, [no, yes].

        Args:
            pixels: (M, 3, S, S), or None when ``image_tokens`` (M, N, C) are given.
            tokens, mask, rows, cls_for_enc: as in :meth:`MED.ground`; M = B without ``rows``.
        """
        seen = self._seen(pixels, image_tokens)
        states = self.text.ground(
            tokens, seen, mask, rows=rows, cls_for_enc=cls_for_enc, only_first=True
        )
        return self.itm_head(states[:, 0])

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) images and (C, L) texts → (B, C) cosines / τ, as CLIP's."""
        image, text = self.encode_image(pixels), self.encode_text(tokens, mask)
        return losses.similarity(image, text, 1 / self.temperature)

    def _seen(self, pixels: Tensor | None, image_tokens: Tensor | None) -> Tensor:
        if (pixels is None) == (image_tokens is None):
            raise ModelError("BLIP looks at pixels or at image tokens: give one of the two")
        return self.image_tokens(pixels) if image_tokens is None else image_tokens  # type: ignore

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.text.config.vocab_size

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Started:
        """Look, read a prompt, make room for ``new_tokens`` (:mod:`vlcourse.generate.loop`).

        Args:
            tokens, mask, new_tokens: as in :meth:`MED.start`.
            pixels: (B, 3, S, S), or None when ``image_tokens`` (B, N, C) are given.
        """
        return self.text.start(tokens, mask, new_tokens, self._seen(pixels, image_tokens))

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.text.step(tokens, cache)
