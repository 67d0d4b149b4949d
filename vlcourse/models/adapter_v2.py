"""LLaMA-Adapter V2: tuned biases and scales, early fusion, and two kinds of data that never meet.

Gao et al. 2023, "LLaMA-Adapter V2: Parameter-Efficient Visual Instruction Model".

The released code is another model (its issues 74 and 126 say so): it adds what the queries saw to
the prompts of the *last* layers, has no scales, has biases at five of the seven linear maps, and
trains in two phases. Here is the paper's; ``fusion="late"`` is the released one's way, so that its
weights can be loaded (:mod:`vlcourse.weights.adapter`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.around import (
    Around,
    Pieces,
    dressed,
    learned_in,
    stand_in,
    vectors_learned_in,
)
from vlcourse.layers.attention import head_channels
from vlcourse.layers.errors import ModelError
from vlcourse.layers.prompts import Gate, prompted
from vlcourse.layers.ranges import check
from vlcourse.layers.tuned import NormShift
from vlcourse.models.adapter import MOST_PROMPTS, PromptLayer, check_layers, same_shape
from vlcourse.models.adapter_base import AdaptedLLaMA
from vlcourse.models.adapter_image import (
    Towers,
    VisualQueries,
    clip_tower,
    flags,
    image_tokens,
    one_of,
    seen_by_row,
    token_width,
)
from vlcourse.models.adapter_tuned import TunedLayer
from vlcourse.models.base import HEADS, LAYERS, WIDTH
from vlcourse.models.llama import LLaMA, LLaMAConfig
from vlcourse.models.presets import published
from vlcourse.models.vit import ViTConfig


@dataclass(frozen=True)
class AdapterV2Config:
    """Shape of a LLaMA-Adapter V2."""

    llm: LLaMAConfig = LLaMAConfig()
    """The LLaMA around which it stands, which is frozen."""
    image: Towers = field(default_factory=lambda: ViTConfig(224, 14, 1024, 24, 16))
    """CLIP's image tower, which is frozen."""
    image_embed: int = 768
    """Size of CLIP's joint space."""
    prompts: int = 20
    """Learned prompts of a late layer: K."""
    layers: int = 31
    """How many layers have them, counted from the top: L."""
    queries: int = 20
    """Visual tokens that the language model sees."""
    early: int = 1
    """How many layers see them, counted from the bottom; at most those without prompts."""
    visual_width: int = 768
    """Width of the Transformer in which the queries look at the image."""
    visual_layers: int = 8
    """Its blocks; 0 hands the image's tokens on without queries."""
    visual_heads: int = 16
    """Its heads."""
    fusion: Literal["early", "late"] = "early"
    """early: the first layers see the visual tokens, as in the paper; late: they are added to the
    prompts of the last ones, as in the released code."""
    tuned: bool = True
    """Biases, scales and norms are trained."""
    groups: Literal["disjoint", "shared"] = "disjoint"
    """disjoint: captions train what sees and instructions train the rest, as in the paper; shared:
    both train everything."""
    visual_lr: float = 1.0
    """By what the learning rate of the visual side is multiplied: a rate that suits prompts, whose
    numbers are about 1, is large for its matrices."""
    early_lr: float = 1.0
    """By what that of the early gates is multiplied. tanh lets a gate that went far hardly return,
    so a long run wants a smaller rate."""
    late_lr: float = 1.0
    """By what that of prompts, late gates, biases, scales and norms is multiplied. They move the
    ground on which the visual side learns: where they run ahead, captions stay behind."""

    def __post_init__(self) -> None:
        check(self, image_embed=WIDTH, prompts=(1, MOST_PROMPTS), queries=(1, MOST_PROMPTS))
        check(self, visual_width=WIDTH, visual_layers=(0, LAYERS[1]), visual_heads=HEADS)
        check(self, layers=LAYERS, early=LAYERS, visual_lr=(0, 100))
        check(self, early_lr=(0, 100), late_lr=(0, 100))
        head_channels(self.visual_width, self.visual_heads)
        check_layers(self.layers, self.llm)
        if self.fusion == "early" and not 1 <= self.early <= self.llm.layers - self.layers:
            raise ModelError(
                f"early={self.early} is out of range: of the LLaMA's {self.llm.layers} layers "
                f"{self.layers} have prompts, and visual tokens need one of the others, at least"
            )
        if self.fusion == "late" and self.queries != self.prompts:
            raise ModelError(
                f"queries={self.queries} are added to prompts={self.prompts}, one to one: make "
                "them equal"
            )

    def build(self) -> AdapterV2:
        """A freshly initialised adapter, between a fresh image tower and a fresh LLaMA."""
        return AdapterV2(self)

    def adopt(self, model: AdapterV2) -> AdapterV2:
        """A trained one of this very shape; ModelError if it has another."""
        theirs = model.config  # how it is trained is no part of its shape
        own = replace(self, **{name: getattr(theirs, name) for name in _TRAINING})
        return same_shape(own, model)

    @staticmethod
    def preset(name: str) -> AdapterV2Config:
        """The shape of a published adapter, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("LLaMA-Adapter V2", name, PRESETS)


_TRAINING = ("groups", "visual_lr", "early_lr", "late_lr")

# Gao et al. 2023, section 5.1: 20 prompts in the last 31 layers, 20 visual ones in the first. What
# was released has 10 of each, all in the last 31 (llama_adapter.py).
PRESETS: dict[str, AdapterV2Config] = {
    "7B": AdapterV2Config(LLaMAConfig.preset("7B")),
    "7B released": AdapterV2Config(LLaMAConfig.preset("7B"), prompts=10, queries=10, fusion="late"),
}


@dataclass(frozen=True)
class Rows:
    """What the rows of a batch are; None: all of them train it."""

    captions: Tensor | None
    """(B,) bool: which train what sees."""
    instructions: Tensor | None
    """(B,) bool: which train the rest."""
    has: Tensor
    """(B,) bool: which have an image."""

    def shown(self, axes: int) -> Tensor:
        """(B, 1, …) of so many axes, bool: which rows have an image."""
        return self.has.view(-1, *[1] * (axes - 1))


class AdapterV2(AdaptedLLaMA):
    """Version 2.

    Attributes:
        llm: the frozen LLaMA.
        image, image_projection: CLIP's image tower and projection, frozen.
        visual: the image's tokens → visual tokens.
        early: the gates of the first layers, through which visual tokens are seen.
        layers: the top layers' prompts and gates, from the lower ones up.
        tuned: each block's biases, scales and norms.
        norm_final: the last norm, trained on.
    """

    def __init__(self, config: AdapterV2Config) -> None:
        super().__init__(config.llm)
        c = config
        self.config: Any = c
        self.image, self.image_projection = clip_tower(c.image, c.image_embed)
        self.visual: Any = VisualQueries(
            token_width(c.image, c.image_embed),
            c.visual_width, c.visual_layers, c.visual_heads, c.queries, c.llm.width,
            0 if isinstance(c.image, ViTConfig) else c.image.grid,
        )  # fmt: skip
        early = c.early if c.fusion == "early" else 0
        self.early: Any = nn.ModuleList(Gate(c.llm.heads) for _ in range(early))
        self.layers: Any = nn.ModuleList(
            PromptLayer(c.prompts, c.llm.width, c.llm.heads) for _ in range(c.layers)
        )
        tuned = c.llm.layers if c.tuned else 0
        self.tuned: Any = nn.ModuleList(TunedLayer(c.llm) for _ in range(tuned))
        self.norm_final: Any = NormShift(c.llm.width) if c.tuned else None

    # ------------------------------------------------------------------ what it sees

    @torch.no_grad()
    def image_features(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised images → (B, N, C) tokens, float32; they can be stored."""
        dtype = next(self.image.parameters()).dtype
        return image_tokens(self.image, self.image_projection, pixels.to(dtype))

    def look(self, pixels: Tensor | None = None, features: Tensor | None = None) -> Tensor | None:
        """As :meth:`AdaptedLLaMA.look`: (B, M, D) visual tokens."""
        if pixels is None and features is None:
            return None
        one_of(pixels, features, (None, self.visual.into.in_features))
        if pixels is not None:
            features = self.image_features(pixels)
        assert features is not None
        return self.visual(features.to(self.visual.into.weight.dtype))

    # ------------------------------------------------------------------ what stands around

    def around(
        self, seen: Tensor | None = None, rows: Rows | None = None
    ) -> Sequence[Around | None]:
        """As :meth:`AdaptedLLaMA.around`.

        Args:
            seen: (B, M, D) visual tokens.
            rows: which rows train what, and which have an image; None: all rows all of it.
        """
        blocks, below = self.config.llm.layers, self.config.llm.layers - self.config.layers
        instructions = rows.instructions if rows else None
        added = None if len(self.early) else seen
        if added is not None and rows:
            added = added * rows.shown(3)

        def pieces(block: Any, i: int) -> Pieces:
            told: Tensor | None
            found = dressed(block, {})
            if len(self.tuned):
                found = vectors_learned_in(self.tuned[i], instructions).around(block)
            if i >= below:
                own = self.layers[i - below]
                gate = learned_in(own.gate(), instructions)
                own_prompts = learned_in(own.prompts, instructions)  # (K, D) or (B, K, D)
                told = own_prompts if own_prompts.ndim == 3 else own_prompts[None]
                told = told if added is None else told + added
            elif i < len(self.early):
                gate, told = learned_in(self.early[i](), rows.captions if rows else None), seen
                gate = gate * rows.shown(4) if rows else gate
            else:
                return found
            return replace(found, attention=partial(_prompted, found.attention, gate, told))

        return [partial(pieces, i=i) for i in range(blocks)]

    def whole(self, rows: Rows | None = None) -> LLaMA:
        """The LLaMA, its last norm tuned."""
        if self.norm_final is None:
            return self.llm
        norm = vectors_learned_in(self.norm_final, rows.instructions if rows else None)
        return stand_in(self.llm, norm_final=partial(norm, self.llm.norm_final))

    def gates(self) -> Tensor:
        """(early + L, heads): what the prompts' parts are multiplied by, from the bottom up."""
        early = [gate() for gate in self.early]
        return torch.stack([g.flatten() for g in (*early, *(own.gate() for own in self.layers))])

    # ------------------------------------------------------------------ joint training

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"caption": …, "instruct": …}``: each kind of data trains its own parameters (4.2).

        Both kinds go through the model together: what a row does not train is a constant to it.

        Args:
            batch: ``"tokens"`` and ``"targets"`` (B, L) as :class:`LLaMA` takes them;
                ``"captions"`` (B,) bool, which rows are captions (default: none), and
                ``"shown"`` (B,) bool, which have an image (default: all, if there are images);
                ``"pixels"`` or ``"features"``, of the rows that have one, in their order.
        """
        tokens, captions = batch["tokens"], flags(batch, "captions")
        seen, shown = seen_by_row(self, batch)
        rows = Rows(None, None, shown)
        if self.config.groups == "disjoint":
            rows = Rows(captions, ~captions, shown)
            seen = torch.where(captions[:, None, None], seen, seen.detach())
        llm = self.whole(rows)
        hidden = llm.hidden(llm.token(tokens), around=self.around(seen, rows))
        return {
            name: losses.lm(hidden[own], llm.head, batch["targets"][own])
            for name, own in (("caption", captions), ("instruct", ~captions))
        }

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Each loss is a mean over its rows' targets that are learned."""
        captions = flags(batch, "captions")
        learned = (batch["targets"] != -100).sum(dim=1)
        return {"caption": learned[captions].sum(), "instruct": learned[~captions].sum()}

    def lr_factors(self) -> dict[str, float]:
        """Each side's own rates, of the parts that there are."""
        c = self.config
        late = dict.fromkeys(("layers", "tuned", "norm_final"), c.late_lr)
        rates = {"visual": c.visual_lr, "early": c.early_lr, **late}
        there = {name.partition(".")[0] for name, _ in self.named_parameters()}
        return {part: rate for part, rate in rates.items() if part in there}

    # ------------------------------------------------------------------ merging

    @torch.no_grad()
    def merged(self) -> AdapterV2:
        """The same function, with biases, scales and norms inside the LLaMA's own weights.

        That is exact but for rounding, and what remains around it are prompts and gates. The linear
        maps of the new LLaMA have biases, unless all of them are zero. This one does not change.
        """
        other = copy.deepcopy(self)
        other.config = replace(self.config, tuned=False)
        other.tuned, other.norm_final = nn.ModuleList(), None
        for block, tuned in zip(other.llm.blocks, self.tuned, strict=True):
            tuned.merge_into(block)
        if self.norm_final is not None:
            other.llm.norm_final.weight.add_(self.norm_final.shift)
        return other


def _prompted(attention: Any, gate: Tensor, told: Tensor | None, x: Tensor, **named: Any) -> Tensor:
    """An attention that sees prompts, if there are any now or in the cache."""
    cache = named.get("cache")
    if told is None and (cache is None or cache.context is None):
        return attention(x, **named)
    return prompted(attention, gate, x if told is None else told, x, **named)
