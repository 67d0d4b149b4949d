"""LLaMA-Adapter V2: tuned biases and scales, early fusion, and two kinds of data that never meet.

Gao et al. 2023, "LLaMA-Adapter V2: Parameter-Efficient Visual Instruction Model".

The released code is another model (its issues 74 and 126 say so): it adds what the queries saw to
the prompts of the *last* layers, has no scales, has biases at five of the seven linear maps, and
trains in two phases. Here is the paper's; ``fusion="late"`` is the released one's way, so that its
weights can be loaded (:mod:`vlcourse.weights.adapter`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.around import LINEARS, Around, Pieces, dressed, stand_in, still
from vlcourse.layers.errors import ModelError
from vlcourse.layers.prompts import Gate, prompted
from vlcourse.layers.ranges import check
from vlcourse.layers.tuned import BiasScale, NormShift, sizes
from vlcourse.models.adapter import MOST_PROMPTS, PromptLayer, check_layers, same_shape
from vlcourse.models.adapter_base import AdaptedLLaMA
from vlcourse.models.adapter_image import (
    Towers,
    VisualQueries,
    clip_tower,
    image_tokens,
    one_of,
    token_width,
)
from vlcourse.models.base import HEADS, LAYERS, WIDTH
from vlcourse.models.llama import LLaMA, LLaMAConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.names import no_such

Learn = Literal["captions", "instructions", "all"]


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

    def __post_init__(self) -> None:
        check(self, image_embed=WIDTH, prompts=(1, MOST_PROMPTS), queries=(1, MOST_PROMPTS))
        check(self, visual_width=WIDTH, visual_layers=(0, LAYERS[1]), visual_heads=HEADS)
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
        return same_shape(replace(self, groups=model.config.groups), model)

    @staticmethod
    def preset(name: str) -> AdapterV2Config:
        """The shape of a published adapter, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        if name in PRESETS:
            return PRESETS[name]
        raise ModelError(no_such("published LLaMA-Adapter V2", name, PRESETS))


# Gao et al. 2023, section 4.1: 20 prompts in the last 31 layers, 20 visual ones in the first. What
# was released has 10 of each, all in the last 31 (llama_adapter.py).
PRESETS: dict[str, AdapterV2Config] = {
    "7B": AdapterV2Config(LLaMAConfig.preset("7B")),
    "7B released": AdapterV2Config(LLaMAConfig.preset("7B"), prompts=10, queries=10, fusion="late"),
}


class TunedLayer(nn.Module):
    """Biases and scales around a block's seven linear maps, and its two norms trained on."""

    def __init__(self, config: LLaMAConfig) -> None:
        super().__init__()
        of = sizes(config)
        self.linears = nn.ModuleDict({name: BiasScale(of[name][1]) for name in LINEARS})
        self.norm1, self.norm2 = NormShift(config.width), NormShift(config.width)

    def around(self, block: Any) -> Pieces:
        """The block's pieces, tuned."""
        pieces = dressed(block, dict(self.linears.items()))
        norm1, norm2 = partial(self.norm1, block.norm1), partial(self.norm2, block.norm2)
        return replace(pieces, norm1=norm1, norm2=norm2)


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

    def around(self, seen: Tensor | None = None, learn: Learn = "all") -> Sequence[Around | None]:
        """As :meth:`AdaptedLLaMA.around`.

        Args:
            seen: (B, M, D) visual tokens.
            learn: whose data are read; what they do not train is constant.
        """
        language = learn in ("instructions", "all")
        early = self.early if learn in ("captions", "all") else still(self.early)
        late, tuned = self.layers, self.tuned
        if not language:
            late, tuned = still(late), still(tuned)
        blocks, below = self.config.llm.layers, self.config.llm.layers - self.config.layers

        def pieces(block: Any, i: int) -> Pieces:
            found = tuned[i].around(block) if len(tuned) else dressed(block, {})
            if i >= below:
                added = seen if not len(early) else None
                own: Any = late[i - below]
                told = own.prompts[None] if added is None else own.prompts + added
                attention = partial(prompted, found.attention, own.gate(), told)
            elif i < len(early):
                attention = partial(_seeing, found.attention, early[i](), seen)
            else:
                return found
            return replace(found, attention=attention)

        return [partial(pieces, i=i) for i in range(blocks)]

    def whole(self, learn: Learn = "all") -> LLaMA:
        """The LLaMA, its last norm tuned."""
        if self.norm_final is None:
            return self.llm
        norm = self.norm_final if learn != "captions" else still(self.norm_final)
        return stand_in(self.llm, norm_final=partial(norm, self.llm.norm_final))

    def gates(self) -> Tensor:
        """(early + L, heads): what the prompts' parts are multiplied by, from the bottom up."""
        early = [gate() for gate in self.early]
        return torch.stack([g.flatten() for g in (*early, *(own.gate() for own in self.layers))])

    # ------------------------------------------------------------------ joint training

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"caption": …, "instruct": …}``: each kind of data trains its own parameters (3.2).

        Args:
            batch: ``"tokens"`` and ``"targets"`` (B, L) as :class:`LLaMA` takes them;
                ``"captions"`` (B,) bool, which rows are captions (default: none), and
                ``"shown"`` (B,) bool, which have an image (default: all, if there are images);
                ``"pixels"`` or ``"features"``, of the rows that have one, in their order.
        """
        sums: dict[str, Tensor] = {}
        for name, count in self.counts(batch).items():
            total = batch["tokens"].new_zeros((), dtype=torch.float32)
            for rows, seen in self._parts(batch, name):
                learn = _LEARN[name] if self.config.groups == "disjoint" else "all"
                targets = batch["targets"][rows]
                share = (targets != -100).sum() / count.clamp(min=1)
                total = total + share * self._loss(batch["tokens"][rows], targets, seen, learn)
            sums[name] = total
        return sums

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Each loss is a mean over its rows' targets that are learned."""
        captions = _flags(batch, "captions")
        learned = (batch["targets"] != -100).sum(dim=1)
        return {"caption": learned[captions].sum(), "instruct": learned[~captions].sum()}

    def _parts(
        self, batch: dict[str, Any], name: str
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The rows of a kind with an image, and those without; and the images."""
        images = {k: batch[k] for k in ("pixels", "features") if batch.get(k) is not None}
        shown = _flags(batch, "shown", bool(images))
        rows = _flags(batch, "captions") == (name == "caption")
        place = shown.long().cumsum(0) - 1  # of a row's image among the images
        for having in (rows & shown, rows & ~shown):
            if having.any():
                its = {k: image[place[having]] for k, image in images.items()}
                yield having, its if bool(shown[having].any()) else {}

    def _loss(
        self, tokens: Tensor, targets: Tensor, images: dict[str, Tensor], learn: Learn
    ) -> Tensor:
        with torch.set_grad_enabled(learn != "instructions" and torch.is_grad_enabled()):
            seen = self.look(**images)
        llm = self.whole(learn)
        hidden = llm.hidden(llm.token(tokens), around=self.around(seen, learn))
        return losses.lm(hidden, llm.head, targets)

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
            assert isinstance(tuned, TunedLayer)
            for norm, shift in ((block.norm1, tuned.norm1), (block.norm2, tuned.norm2)):
                norm.weight.add_(shift.shift)
            for name, around in tuned.linears.items():
                part = block.attention if name in LINEARS[:4] else block.mlp
                _merge(getattr(part, name), around)
        if self.norm_final is not None:
            other.llm.norm_final.weight.add_(self.norm_final.shift)
        return other


_LEARN: dict[str, Learn] = {"caption": "captions", "instruct": "instructions"}


def _seeing(attention: Any, gate: Tensor, seen: Tensor | None, x: Tensor, **named: Any) -> Tensor:
    """Early fusion: an attention that sees visual tokens, if there are any now or in the cache."""
    cache = named.get("cache")
    if seen is None and (cache is None or cache.context is None):
        return attention(x, **named)
    return prompted(attention, gate, x if seen is None else seen, x, **named)


def _flags(batch: dict[str, Any], name: str, default: bool = False) -> Tensor:
    """(B,) bool of a batch, all alike where it does not say."""
    tokens = batch["tokens"]
    return batch.get(name, torch.full((len(tokens),), default, device=tokens.device))


def _merge(linear: nn.Linear, around: Any) -> None:
    weight, bias = around.merged(linear.weight, linear.bias)
    linear.weight.copy_(weight)
    if bias.any():
        linear.bias = nn.Parameter(bias, requires_grad=False)
