"""BLIP-2's first stage: a Q-Former learns what of an image a text would tell.

Li et al. 2023, "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and
Large Language Models", section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.models.base import EPS, WIDTH
from vlcourse.models.blip2_image import SeesImages, TowerConfig, at_size, check_width
from vlcourse.models.eva import EVAConfig
from vlcourse.models.matching import Matcher, hard_pairs
from vlcourse.models.presets import published
from vlcourse.models.qformer import QFormer
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.names import no_such

TASKS = ("itc", "itm", "itg")


@dataclass(frozen=True)
class BLIP2Config:
    """Shape of a BLIP-2's first stage, and how it is trained."""

    embed: int = 256
    """Dimension of the space in which queries and text are compared."""
    image: TowerConfig = field(default_factory=EVAConfig)
    """The image tower, which is frozen."""
    image_embed: int = 0
    """What a ResNet's pooling gives: not used, but part of the tower; 0: as ``embed``."""
    norm_eps: float = 1e-5
    """Added to the variance in the image tokens' norm. (transformers' settings say 1e-6.)"""
    tune_image: bool = False
    """Train the image tower, too."""
    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    """The Q-Former."""
    tasks: tuple[str, ...] = TASKS
    """The losses: itc, itm, itg, or some of them. What the others need is not trained."""
    temperature_lr: float = 1.0
    """τ's learning rate, in multiples of the others'."""
    smoothing: float = 0.1
    """Label smoothing of ITC and ITG."""
    prompt: int = 1
    """Tokens at the beginning of each text that ITG leaves out, [CLS] included."""

    def __post_init__(self) -> None:
        check(self, embed=WIDTH, image_embed=(0, WIDTH[1]), norm_eps=EPS, smoothing=(0, 1))
        check(self, temperature_lr=(0, 1_000), prompt=(1, self.qformer.context))
        for task in self.tasks:
            if task not in TASKS:
                raise ModelError(no_such("loss of BLIP-2's first stage", task, TASKS))
        if not self.qformer.reads or ("itg" in self.tasks and not self.qformer.writes):
            raise ModelError(
                f"a Q-Former whose text is {self.qformer.text!r} has not the losses "
                f"{', '.join(self.tasks)}"
            )
        check_width(self.image, self.qformer)

    @property
    def text(self) -> QFormerConfig:
        """What reads and writes the texts: the Q-Former."""
        return self.qformer

    def build(self) -> BLIP2:
        """A freshly initialised model of this shape."""
        return BLIP2(self)

    @staticmethod
    def preset(name: str) -> BLIP2Config:
        """The shape of a published model, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("BLIP-2", name, PRESETS)

    def adopt(self, model: BLIP2) -> BLIP2:
        """A trained BLIP-2 for this config's losses and image size; ModelError if it differs in
        more."""
        if model.config == self:
            return model
        old = model.config
        size = replace(old.image, image_size=self.image.image_size)
        if (old.embed, old.qformer) != (self.embed, self.qformer) or size != self.image:
            raise ModelError("their models differ in more than their losses and the size of images")
        other = BLIP2(self).to(model.temperature.device).train(model.training)
        other.load_state_dict(model.state_dict() | at_size(model, self.image))
        return other


# Section 4.1: CLIP's ViT-L/14, whose last block is not used, and EVA-CLIP's ViT-g/14.
PRESETS: dict[str, BLIP2Config] = {
    "ViT-L/14": BLIP2Config(
        image=ViTConfig(224, 14, 1024, 24, 16), qformer=QFormerConfig(image_width=1024)
    ),
    "ViT-g/14": BLIP2Config(),
}


class BLIP2(SeesImages, Matcher):
    """A frozen image tower and a Q-Former, with three losses that train it at once.

    ITC compares queries and text apart, ITM looks at them together, ITG writes the text from what
    the queries saw. The temperature τ is learned, starts at 0.07, and is kept within 0.001 and 0.5
    (the official code lets it go where it likes).
    """

    def __init__(self, config: BLIP2Config) -> None:
        c = config
        super().__init__(c.image, c.image_embed or c.embed, c.norm_eps, c.tune_image)
        self.config = c
        self.qformer = QFormer(c.qformer)
        self.image_projection = nn.Linear(c.qformer.width, c.embed)
        self.text_projection = nn.Linear(c.qformer.width, c.embed)
        self.itm_head = nn.Linear(c.qformer.width, 2)
        self.temperature = nn.Parameter(torch.tensor([0.07]))
        self._train_only(c.tasks)

    def _train_only(self, tasks: tuple[str, ...]) -> None:
        """Freeze what none of the losses reaches."""
        last: Any = self.qformer.blocks[-1]
        if "itc" not in tasks:
            self.image_projection.requires_grad_(False)
            self.text_projection.requires_grad_(False)
            self.temperature.requires_grad_(False)
            if "itg" not in tasks:  # nobody asks for the text's last states
                last.mlp_text.requires_grad_(False)
                last.norm_text.requires_grad_(False)
        if "itm" not in tasks:
            self.itm_head.requires_grad_(False)
            if "itc" not in tasks:  # nor for the queries'
                for name in ("cross", "norm_cross", "mlp_query", "norm_query"):
                    if hasattr(last, name):
                        getattr(last, name).requires_grad_(False)
        if "itg" not in tasks and self.config.qformer.writes:
            head = self.qformer.head
            for part in (head.dense, head.norm, head.out):
                part.requires_grad_(False)
            self.qformer.words.token.requires_grad_(True)  # the head's matrix, too

    def encode_image(
        self, pixels: Tensor | None = None, image_tokens: Tensor | None = None
    ) -> Tensor:
        """(B, 3, S, S) images, or their (B, N, C) tokens → (B, Q, embed): an embedding of each
        query, not L2-normalised."""
        return self.image_projection(self.qformer.look(self._seen(pixels, image_tokens))[-1])

    def encode_text(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L) ids → (B, embed) embeddings, not L2-normalised."""
        return self.text_projection(self.qformer.read(tokens, mask, only_first=True)[:, 0])

    def similarity(self, image: Tensor, text: Tensor) -> Tensor:
        """(B, Q, embed) and (C, embed) embeddings → (B, C) cosines of the query that fits best."""
        return losses.query_similarity(image, text)

    def match(
        self,
        pixels: Tensor | None,
        tokens: Tensor,
        mask: Tensor | None = None,
        image_tokens: Tensor | None = None,
        *,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Does the text fit the image? (B, 2) logits, [no, yes]: the mean of all queries'.

        Args:
            pixels: (M, 3, S, S), or None when ``image_tokens`` (M, N, C) are given.
            tokens, mask, rows: as in :meth:`QFormer.ground`; M = B without ``rows``.
        """
        states = self.qformer.ground(self._seen(pixels, image_tokens), tokens, mask, rows=rows)
        return self.itm_head(states).mean(dim=1)

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) images and (C, L) texts → (B, C) similarities / τ."""
        image, text = self.encode_image(pixels), self.encode_text(tokens, mask)
        return self.similarity(image, text) / self.temperature

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The losses of ``config.tasks``, of pairs of an image and its text.

        The queries look at each image once for ITC and ITG: no text may change what they see there
        (the unimodal and the causal mask agree on that), and once more for each pair of ITM.

        Args:
            batch: ``"pixels"`` (B, 3, S, S), or ``"features"`` (B, N, C) of :meth:`image_features`;
                ``"tokens"`` (B, L) ids, [CLS] w … [SEP] and padding; ``"mask"`` (B, L) bool. Maybe
                ``"groups"`` (B,): pairs with one number fit each other; and foils for ITM
                (:func:`vlcourse.models.matching.hard_pairs`).

        Over ranks the batch is all ranks' together.

        Raises:
            ModelError: when the ranks have different numbers of pairs, or a pair has no negative.
        """
        c, tokens, mask = self.config, batch["tokens"], batch["mask"]
        losses.same_rows(len(tokens), tokens.device)
        seen = self.image_tokens(batch.get("pixels"), batch.get("features"))
        found: dict[str, Tensor] = {}
        looked = self.qformer.look(seen)
        if c.tasks != ("itg",):
            to_text, to_image = self._similarities(looked[-1], self.encode_text(tokens, mask))
        if "itc" in c.tasks:
            positives = losses.own_pairs(len(tokens), tokens.device)
            if "groups" in batch:
                positives = batch["groups"][:, None] == losses.gather_rows(batch["groups"])
            found["itc"] = losses.itc_smoothed(to_text, to_image, positives, c.smoothing)
        if "itm" in c.tasks:
            pairs = hard_pairs(to_text, to_image, seen, batch)
            logits = self.match(None, pairs.tokens, pairs.mask, pairs.images, rows=pairs.rows)
            found |= pairs.losses(logits)
        if "itg" in c.tasks:
            targets = losses.lm_targets(tokens, mask, c.prompt)
            hidden = self.qformer.decode(tokens, looked[:-1])
            found["itg"] = losses.lm(hidden, self.qformer.head, targets, c.smoothing)
        return found

    def _similarities(self, queries: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """(n, Q, D) states, (n, embed) → (n, N) logits of each image to all ranks' texts, and of
        each text to all images."""
        image = self.image_projection(queries)
        to_text = self.similarity(image, losses.gather_rows(text))
        to_image = self.similarity(losses.gather_rows(image), text).T
        return to_text / self.temperature, to_image / self.temperature

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """ITG is a mean over the tokens that are learned, the loss of foils one over the foils."""
        found = {}
        if "itg" in self.config.tasks:
            targets = losses.lm_targets(batch["tokens"], batch["mask"], self.config.prompt)
            found["itg"] = (targets != -100).sum()
        if "itm" in self.config.tasks and "foil_rows" in batch:
            found["foils"] = torch.tensor(len(batch["foil_rows"]))
        return found

    def lr_factors(self) -> dict[str, float]:
        """τ is no weight of a network, and need not learn as fast as they do."""
        return {"temperature": self.config.temperature_lr}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """τ goes back into its bounds."""
        self.temperature.clamp_(0.001, 0.5)

    def _seen(self, pixels: Tensor | None, image_tokens: Tensor | None) -> Tensor:
        if (pixels is None) == (image_tokens is None):
            raise ModelError("BLIP-2 looks at pixels or at image tokens: give one of the two")
        return self.image_tokens(pixels) if image_tokens is None else image_tokens

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config.qformer.vocab_size

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
            tokens, mask, new_tokens: as in :meth:`QFormer.start`.
            pixels: (B, 3, S, S), or None when ``image_tokens`` (B, N, C) are given.
        """
        return self.qformer.start(tokens, mask, new_tokens, self._seen(pixels, image_tokens))

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.qformer.step(tokens, cache)
