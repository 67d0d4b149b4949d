"""blip2.masks: ITC and ITG under their masks, and under one that lets the answer through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

from torch import Tensor

from vlcourse import losses
from vlcourse.evals import captions, metrics, rerank
from vlcourse.models import qformer_masks
from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.med import switch_first
from vlcourse.recipes import RECIPES
from vlcourse.teach.blip.experiments.cache import each, kept
from vlcourse.teach.blip.experiments.score import DIRECTIONS, Found, minus, with_ends
from vlcourse.teach.blip2.experiments import arms
from vlcourse.teach.measurement import Measurement

SEEDS = (0, 1, 2)
LEAKS = {"right masks": (), "ITC leaks": ("itc",), "ITG leaks": ("itg",)}
LAST = 5  # rows of the log, of 25 steps each, whose mean is the training loss
Scores = Mapping[str, Sequence[Found]]


@dataclass(frozen=True)
class MaskedConfig(BLIP2Config):
    """A first stage that computes ITC and ITG by masks, some of them bidirectional."""

    leaks: tuple[str, ...] = ()
    """The losses whose mask hides nothing."""

    def build(self) -> Masked:
        """A freshly initialised model."""
        return Masked(self)


class Masked(BLIP2):
    """A BLIP-2 whose ITC and ITG are computed over [queries ‖ text], each under a mask."""

    config: MaskedConfig

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """As of `BLIP2`, for ITC and ITG."""
        tokens, mask, count = batch["tokens"], batch["mask"], self.config.qformer.queries
        seen = self.image_tokens(batch.get("pixels"), batch.get("features"))
        states = self.qformer(seen, tokens, self._allowed("itc", mask))  # (n, Q + L, D)
        image = self.image_projection(states[:, :count])
        to_text = self.similarity(image, self.text_projection(states[:, count])) / self.temperature
        own, smoothing = losses.own_pairs(len(tokens), tokens.device), self.config.smoothing
        begun = switch_first(tokens, self.config.qformer.dec)
        written = self.qformer(seen, begun, self._allowed("itg", mask))[:, count:]
        targets = losses.lm_targets(tokens, mask)
        return {
            "itc": losses.itc_smoothed(to_text, to_text.T, own, smoothing),
            "itg": losses.lm(written, self.qformer.head, targets, smoothing),
        }

    def _allowed(self, loss: str, mask: Tensor) -> Tensor:
        right = {"itc": qformer_masks.unimodal, "itg": qformer_masks.multimodal_causal}[loss]
        kind = qformer_masks.bidirectional if loss in self.config.leaks else right
        return kind(self.config.qformer.queries, mask)


def arm(name: str, seed: int, settings: arms.Settings) -> dict[str, float]:
    """What a first stage can do, and its training losses at the end.

    Returns:
        ``recall``: recall@1, queries and texts encoded apart, the mean of both directions;
        ``true``: captions of which every word holds; ``itc``, ``itg``: nats.
    """
    s = settings

    def make() -> dict[str, float]:
        shape: Any = arms.first_recipe(s, arms.Arm(), seed).model
        rest = {n: getattr(shape, n) for n in BLIP2Config.__dataclass_fields__}
        config = MaskedConfig(**{**rest, "tasks": ("itc", "itg")}, leaks=LEAKS[name])
        model, result = arms.first_stage(s, arms.Arm(), seed, config)
        tokenizer = RECIPES[arms.FIRST].tokenizer()
        both = rerank.retrieval(model, tokenizer, s.pairs, k=0)
        scenes = captions.caption_set(s.scenes, s.objects)
        said = captions.caption_details(model, tokenizer, scenes)
        rows = result.history[-LAST:]
        return {
            "recall": mean(both[f"{way} itc"] for way in DIRECTIONS),
            "true": float(said["true"].mean()),
            **{loss: mean(row[loss] for row in rows) for loss in ("itc", "itg")},
        }

    return kept("blip2 masks", [name, seed, asdict(replace(s, rates=()))], make)


def masks(seeds: Sequence[int] = SEEDS, settings: arms.Settings | None = None) -> Measurement:
    """Train first stages whose masks are right, or let the answer through.

    Args:
        seeds: of weights and pictures, the same for all arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: recall@1 of 256, right masks minus leaking ITC, paired by seed. In
        ``others``: "ITC's loss" and "ITG's loss" for the right masks' training loss minus the
        leaking one's, in nats; "true captions" for right masks minus leaking ITG.
    """
    s = settings or arms.Settings()
    jobs = [(name, seed, s) for seed in seeds for name in LEAKS]
    found = dict(zip((job[:2] for job in jobs), each(arm, jobs), strict=True))
    return compare({name: [found[name, seed] for seed in seeds] for name in LEAKS}, seeds, s)


def compare(scores: Scores, seeds: Sequence[int], settings: arms.Settings) -> Measurement:
    """From the arms' numbers to what `masks` returns."""
    right, itc, itg = (scores[name] for name in LEAKS)
    others = with_ends("ITC's loss", minus(right, itc, "itc"))
    others |= with_ends("ITG's loss", minus(right, itg, "itg"))
    others |= with_ends("true captions", minus(right, itg, "true"))
    for name, found in scores.items():
        for what in ("recall", "true", "itc", "itg"):
            others |= with_ends(f"{name}: {what}", [x[what] for x in found])
    values = minus(right, itc, "recall")
    low, high = metrics.seed_interval(values)
    return Measurement(
        measured=mean(values), low=low, high=high, seeds=tuple(seeds),
        recipe={"settings": asdict(settings), "first": arms.FIRST},
        others=others,
        figure={"by seed": {name: [dict(x) for x in found] for name, found in scores.items()}},
    )  # fmt: skip
