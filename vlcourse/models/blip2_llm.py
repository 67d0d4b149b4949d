"""BLIP-2's second stage: what the queries saw becomes a soft prompt of a frozen language model.

Li et al. 2023, section 3.2 and figure 3.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.cache import Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze
from vlcourse.layers.ranges import check
from vlcourse.models.base import EPS, WIDTH, Trainable
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_image import SeesImages, TowerConfig, at_size, check_width
from vlcourse.models.eva import EVAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.presets import published
from vlcourse.models.qformer import QFormer
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.models.soft_prompt import insert, insert_targets, prepend
from vlcourse.models.transformers_llm import TransformersConfig
from vlcourse.models.vit import ViTConfig

LLMConfig: TypeAlias = LLaMAConfig | Seq2SeqConfig | TransformersConfig
MUTE = QFormerConfig(text="none")


@dataclass(frozen=True)
class BLIP2LLMConfig:
    """Shape of a BLIP-2 whose language model writes."""

    image: TowerConfig = field(default_factory=EVAConfig)
    """The image tower, which is frozen."""
    image_embed: int = 256
    """What a ResNet's pooling gives: not used, but part of the tower."""
    norm_eps: float = 1e-5
    """Added to the variance in the image tokens' norm. (transformers' settings say 1e-6.)"""
    tune_image: bool = False
    """Train the image tower, too, as the paper does for captions."""
    qformer: QFormerConfig = MUTE
    """The Q-Former, without its parts for text."""
    llm: LLMConfig = LLaMAConfig()
    """The language model, which is frozen: a decoder, or an encoder–decoder."""
    spread: int = 1
    """How many of the language model's vectors each query becomes: 1 in the paper, where these are
    the wider ones."""
    qformer_lr: float = 1.0
    """The Q-Former's learning rate, in multiples of the projection's."""
    queries_at: int = 0
    """How many tokens stand before the queries. 0 as in the paper: [queries][</s>] text; 1 for a
    decoder that learned to begin with its start token: [<s>][queries] text."""

    def __post_init__(self) -> None:
        check(self, image_embed=WIDTH, norm_eps=EPS, queries_at=(0, 4096), spread=(1, 64))
        check(self, qformer_lr=(0, 1_000))
        if self.qformer.text != "none":
            raise ModelError(
                f"in the second stage the Q-Former has no text: set qformer.text to none, not "
                f"{self.qformer.text!r}"
            )
        check_width(self.image, self.qformer)
        if self.queries_at and self.encodes:
            raise ModelError("an encoder reads the queries first: leave queries_at at 0")

    @property
    def encodes(self) -> bool:
        """Whether the language model is an encoder–decoder."""
        if isinstance(self.llm, TransformersConfig):
            return self.llm.encodes
        return isinstance(self.llm, Seq2SeqConfig)

    def build(self) -> BLIP2LLM:
        """A freshly initialised model of this shape."""
        return BLIP2Seq2Seq(self) if self.encodes else BLIP2Decoder(self)

    @staticmethod
    def preset(name: str) -> BLIP2LLMConfig:
        """The shape of a published model, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("BLIP-2 with a language model", name, PRESETS)

    def adopt(self, model: BLIP2LLM | BLIP2) -> BLIP2LLM:
        """A trained model at this config's image size, or one that begins from a first stage.

        From a first stage come the image tower, its norm, and the Q-Former without its parts for
        text; the projection and the language model are fresh. ModelError if it differs in more.
        """
        if model.config == self:
            assert isinstance(model, BLIP2LLM)
            return model
        old = model.config
        size = replace(old.image, image_size=self.image.image_size)
        qformer = replace(self.qformer, text=old.qformer.text)
        if not isinstance(model, BLIP2):  # a text's ids mean nothing without one
            same = (old.llm, old.qformer) == (self.llm, self.qformer) and old.spread == self.spread
        else:
            ids = {n: getattr(old.qformer, n) for n in _OF_TEXT}
            same = replace(qformer, **ids) == old.qformer
        if not same or size != self.image:
            raise ModelError("their models differ in more than their losses and the size of images")
        other = self.build().to(next(model.parameters()).device).train(model.training)
        own = other.state_dict()
        found = model.state_dict() | at_size(model, self.image)
        other.load_state_dict(own | {name: t for name, t in found.items() if name in own})
        return other


_OF_TEXT = ("vocab_size", "context", "cls", "sep", "pad", "dec")


class BLIP2LLM(SeesImages):
    """A frozen image tower, a Q-Former, a linear map, and a frozen language model.

    Only what lies between the two frozen ones is trained. Both stay in eval mode whatever calls
    ``train()``, and have no gradient; the gradient passes through the language model to its prompt.
    Either may be of half precision (``model.llm.bfloat16()``).

    Attributes:
        image, norm_image: as in :class:`SeesImages`.
        qformer, projection: what makes the prompt.
        llm: the language model.
    """

    begins_from: tuple[type[Trainable], ...] = (BLIP2,)

    def __init__(self, config: BLIP2LLMConfig) -> None:
        c = config
        super().__init__(c.image, c.image_embed, c.norm_eps, c.tune_image)
        self.config = c
        self.qformer = QFormer(c.qformer)
        llm: Any = freeze(c.llm.build())
        width = llm.width if isinstance(c.llm, TransformersConfig) else c.llm.width
        self.projection = nn.Linear(c.qformer.width, c.spread * width)
        self.llm: Any = llm

    def prompt(
        self,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Tensor:
        """(B, 3, S, S) images, their :meth:`image_features` or :meth:`image_tokens` → (B, Q ·
        spread, d) vectors among which the language model's tokens take their place, in its
        precision."""
        seen = self.image_tokens(pixels, features) if image_tokens is None else image_tokens
        return self.soft(self.qformer.look(seen)[-1])

    def soft(self, states: Tensor) -> Tensor:
        """(B, Q, D) final states of queries → (B, Q · spread, d), in the language model's
        precision."""
        soft = self.projection(states)  # (B, Q, spread · d)
        soft = soft.unflatten(-1, (self.config.spread, -1)).flatten(1, 2)  # (B, Q · spread, d)
        return soft.to(next(self.llm.parameters()).dtype)

    @property
    def vocab_size(self) -> int:
        """Number of the language model's tokens."""
        return int(self.llm.vocab_size)

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss is a mean over the targets that are learned."""
        return {"lm": (batch["targets"] != -100).sum()}

    def lr_factors(self) -> dict[str, float]:
        """What the first stage has taught may be kept by learning more slowly than the projection,
        which begins from nothing."""
        slow = self.config.qformer_lr
        return {} if slow == 1 else {"qformer": slow, "norm_image": slow}

    @abstractmethod
    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Started:
        """Look, read a prompt, make room for ``new_tokens`` (:mod:`vlcourse.generate.loop`).

        Args:
            tokens: (B, P) ids of what is asked, or None.
            mask: (B, P) bool, False for padding, anywhere.
            new_tokens: how many will be written.
            pixels, features, image_tokens: as in :meth:`prompt`.

        Raises:
            ModelError: when there is not one prompt for each image.
        """

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.llm.step(tokens, cache)


class BLIP2Decoder(BLIP2LLM):
    """The language model is a decoder: it goes on from [queries ‖ text] (figure 3, top).

    With ``config.queries_at`` n the text's first n tokens stand before the queries.
    """

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"lm": …}``: language modelling of a text about an image.

        Args:
            batch: ``"pixels"`` (B, 3, S, S), or ``"features"`` (B, N, C); ``"tokens"`` and
                ``"targets"`` (B, L), as :class:`LLaMA` takes them: padded on the right, the target
                is the next token, -100 where nothing is to be learned (a prompt, padding). The
                queries learn nothing. ``"at"`` (B,), if rows have other numbers of tokens before
                the queries than ``config.queries_at``.
        """
        soft = self.prompt(batch.get("pixels"), batch.get("features"))
        return self.losses_after(soft, batch)

    def losses_after(self, soft: Tensor, batch: dict[str, Any]) -> dict[str, Tensor]:
        """:meth:`losses` of the batch's texts with (B, Q, D) vectors among them."""
        at = batch.get("at", self.config.queries_at)
        x, _ = insert(self.llm.token(batch["tokens"]), soft, at)
        targets = insert_targets(batch["targets"], soft.shape[1], at)
        return {"lm": losses.lm(self.llm.hidden(x), self.llm.head, targets)}

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Started:
        """As :meth:`BLIP2LLM.start`; the text goes on from the prompt."""
        soft = self.prompt(pixels, features, image_tokens)
        return self.start_after(soft, tokens, mask, new_tokens)

    def start_after(
        self,
        soft: Tensor,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        at: int | Tensor | None = None,
    ) -> Started:
        """:meth:`start` with (B, Q, D) vectors; ``at``: how many tokens stand before them, (B,)
        where rows differ in that, by default ``config.queries_at``."""
        at = self.config.queries_at if at is None else at
        if tokens is None and at != 0:
            raise ModelError(
                f"queries stand after {at} tokens here: give a prompt that "
                "begins with the id of the text's start"
            )
        if tokens is None:
            return self.llm.start(None, None, new_tokens, x=soft)
        _one_each(tokens, soft)
        x, seen = insert(self.llm.token(tokens), soft, at, mask)
        read = tokens if mask is None else tokens.masked_fill(~mask, -1)
        return self.llm.start(None, seen, new_tokens, x=x)._replace(tokens=read)


class BLIP2Seq2Seq(BLIP2LLM):
    """The language model is an encoder–decoder: it reads [queries ‖ prefix], and writes what
    follows (figure 3, bottom)."""

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"lm": …}``: prefix language modelling of a text about an image.

        Args:
            batch: ``"pixels"`` (B, 3, S, S), or ``"features"`` (B, N, C); ``"tokens"`` and
                ``"targets"`` (B, L) of the decoder, and maybe ``"inputs"`` (B, P) with
                ``"inputs_mask"``, the prefix, as :class:`Seq2Seq` takes them
                (:func:`vlcourse.data.collate.prefix.prefix_lm` makes them).
        """
        soft = self.prompt(batch.get("pixels"), batch.get("features"))
        x, mask = self._read(soft, batch.get("inputs"), batch.get("inputs_mask"))
        hidden = self.llm.decode(batch["tokens"], self.llm.encode(None, mask, x), mask)
        return {"lm": losses.lm(hidden, self.llm.head, batch["targets"])}

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Started:
        """As :meth:`BLIP2LLM.start`; the encoder reads the prompt, and the text begins anew."""
        soft = self.prompt(pixels, features, image_tokens)
        x, seen = self._read(soft, tokens, mask)
        return self.llm.start(None, seen, new_tokens, x=x)

    def _read(
        self, soft: Tensor, tokens: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if tokens is None:
            return soft, None
        _one_each(tokens, soft)
        return prepend(self.llm.token(tokens), soft, mask)


def _one_each(tokens: Tensor, soft: Tensor) -> None:
    if len(tokens) != len(soft):
        raise ModelError(f"there are {len(tokens)} prompts for {len(soft)} images: give one each")


def _opt(width: int, hidden: int) -> TransformersConfig:
    """OPT (Zhang et al. 2022, table 1)."""
    return TransformersConfig.of(
        "opt", vocab_size=50_272, hidden_size=width, word_embed_proj_dim=width, ffn_dim=hidden,
        num_hidden_layers=32, num_attention_heads=32, max_position_embeddings=2048,
    )  # fmt: skip


# Li et al. 2023, table 2: 104, 107, 108, 103, 107 and 108 M are trained.
_IMAGES: dict[str, TowerConfig] = {"L": ViTConfig(224, 14, 1024, 24, 16), "g": EVAConfig()}
PRESETS: dict[str, BLIP2LLMConfig] = {
    f"ViT-{image} {name}": BLIP2LLMConfig(
        image=_IMAGES[image],
        qformer=replace(MUTE, image_width=_IMAGES[image].width),
        llm=llm,
    )
    for image, name, llm in (
        ("L", "OPT-2.7B", _opt(2560, 10_240)),
        ("g", "OPT-2.7B", _opt(2560, 10_240)),
        ("g", "OPT-6.7B", _opt(4096, 16_384)),
        ("L", "FlanT5-XL", Seq2SeqConfig.preset("xl")),
        ("g", "FlanT5-XL", Seq2SeqConfig.preset("xl")),
        ("g", "FlanT5-XXL", Seq2SeqConfig.preset("xxl")),
    )
}
