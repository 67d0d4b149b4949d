"""blip.rerank: recall before and after the k most similar ones were looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean

import torch
from torch import Tensor

from vlcourse import zoo
from vlcourse.data import world
from vlcourse.evals import metrics
from vlcourse.evals.rerank import cosines, match_logits, reranked
from vlcourse.layers.frozen import evaluating
from vlcourse.models.blip import BLIP
from vlcourse.teach.blip.experiments import arms, sharing
from vlcourse.teach.blip.experiments.score import DIRECTIONS, with_ends
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers import med

LOOKED_AT = (1, 2, 4, 8, 16, 32, 64, 128, 256)
K = 16


def hits(model: BLIP, pairs: int = 256, looked_at: Sequence[int] = LOOKED_AT) -> dict[int, Tensor]:
    """Whether the own picture, or text, comes first, by how many are looked at.

    Returns:
        By k: float (2 · pairs,), texts' queries and then pictures'; under 0 by the cosines alone.
    """
    tokenizer = med.toy()
    with evaluating(model):
        images, texts = world.two_object_set(pairs, model.config.image.image_size)
        similarity = cosines(model, tokenizer, texts, images)
        every = torch.cartesian_prod(torch.arange(pairs), torch.arange(pairs))
        match = match_logits(model, tokenizer, texts, images, every)[:, 1].view(pairs, pairs)
    found = {0: first(similarity, similarity.T)}
    for k in looked_at:
        found[k] = first(reranked(similarity, match, k), reranked(similarity.T, match.T, k))
    return found


def first(to_image: Tensor, to_text: Tensor) -> Tensor:
    """Whether row i's best column is i: (N, N) twice → float (2 · N,)."""
    return torch.cat([(metrics.ranks(scores) == 0).float() for scores in (to_image, to_text)])


def rerank(
    seeds: Sequence[int] = sharing.SEEDS,
    settings: arms.Settings | None = None,
    model: BLIP | None = None,
) -> Measurement:
    """Re-rank the 16 most similar ones of 256, with small arms and with blip-toy.

    Args:
        seeds: of the small arms, which are those of blip.sharing; three or more.
        settings: their numbers.
        model: the one that ships, by default.

    Returns:
        ``measured``: recall@1 after minus before, mean of both directions, over the small arms. In
        ``others``: the same of "blip-toy", with an interval over pictures, and each before and
        after. The figure has recall by the number looked at.
    """
    s = arms.with_rate(settings or arms.Settings(), sharing.loss_at)
    scores = sharing.trained((sharing.BASE,), seeds, s)[sharing.BASE]
    gains = [each["recall"] - each["recall itc"] for each in scores]
    blip = model or zoo.load("blip-toy")
    assert isinstance(blip, BLIP)
    found = hits(blip, s.pairs)
    # Both directions of a pair are drawn together: they are of one picture.
    gain = (found[K] - found[0]).view(2, -1).mean(dim=0)
    low, high = metrics.bootstrap_interval(gain)
    others = {
        "blip-toy": float(gain.mean()),
        "blip-toy low": low,
        "blip-toy high": high,
        "blip-toy before": float(found[0].mean()),
        "blip-toy after": float(found[K].mean()),
        **with_ends("before", [each["recall itc"] for each in scores]),
        **with_ends("after", [each["recall"] for each in scores]),
    }
    curve = {str(k): float(each.mean()) for k, each in found.items()}
    ends = {str(k): list(metrics.bootstrap_interval(each)) for k, each in found.items()}
    low, high = metrics.seed_interval(gains)
    return Measurement(
        measured=mean(gains),
        low=low,
        high=high,
        seeds=tuple(seeds),
        recipe={"settings": asdict(s), "k": K, "directions": DIRECTIONS, "model": "blip-toy"},
        others=others,
        figure={"recall by k": curve, "interval by k": ends, "arms": [dict(e) for e in scores]},
    )
