"""Does a model tell a true text from one that is nearly true? Foils, and the most similar pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.data import world
from vlcourse.data.world import Caption, Scene
from vlcourse.evals import clip as clip_evals
from vlcourse.evals.metrics import MetricError
from vlcourse.evals.rerank import cosines, match_logits
from vlcourse.layers.frozen import evaluating
from vlcourse.models.clip import CLIP
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.byte_bpe import ByteBPE
from vlcourse.tokenizers.med import MEDTokenizer

Foils = Sequence[tuple[Scene, Caption, Caption]]
"""Scenes, each with a true caption and a false one."""
# Not "count": of two named objects the foil is always "three", so words alone would decide.
KINDS = ("swapped relation", "swapped attribute", "replaced attribute")


def foil_pairs(scenes: Sequence[Scene], kind: str) -> Foils:
    """A caption and a foil of a kind for each scene that has one: its seed says which.

    Raises:
        MetricError: when no scene has such a foil.
    """
    chosen = []
    for scene in scenes:
        if pairs := scene.foils(kind):
            chosen.append((scene, *pairs[scene.seed % len(pairs)]))
    if not chosen:
        raise MetricError(f"none of the {len(scenes)} scenes has a foil of the kind {kind!r}")
    return chosen


def preferred(true: Tensor, false: Tensor) -> Tensor:
    """(N,) scores of the true and the false ones → 1 where true is larger, 0 where less, ½ tied."""
    return torch.where(true == false, 0.5, (true > false).float())


def clip_preferred(model: CLIP, tokenizer: ByteBPE, pairs: Foils) -> Tensor:
    """Whether the caption is more similar than its foil: float (N,), ½ for a tie."""
    with evaluating(model):
        images = clip_evals.embed_images(model, pictures(pairs, model.config.image.image_size))
        true = clip_evals.embed_texts(model, tokenizer, [caption for _, caption, _ in pairs])
        false = clip_evals.embed_texts(model, tokenizer, [foil for _, _, foil in pairs])
    margin = (images * (true - false)).sum(dim=-1)
    return preferred(margin, torch.zeros_like(margin))


def pictures(pairs: Foils, size: int) -> Tensor:
    """The scenes drawn: (N, 3, size, size) uint8."""
    return torch.from_numpy(world.render_batch([scene for scene, _, _ in pairs], size))


def foil_details(
    model: Matcher, tokenizer: MEDTokenizer, scenes: Sequence[Scene], kinds: Sequence[str] = KINDS
) -> dict[str, Tensor]:
    """How ITM judges true captions and foils, scene by scene: float (N,), for intervals.

    Returns:
        Under a kind: whether the true caption is the more probable one (1, ½ for a tie, 0), which
        guessing has right half of the time. Under ``<kind> at .5``: how many of the two are judged
        right on their own, halved; the mean is the balanced accuracy.
    """
    details = {}
    for kind in kinds:
        pairs = foil_pairs(scenes, kind)
        number = torch.arange(len(pairs))
        texts = [c for _, c, _ in pairs] + [foil for _, _, foil in pairs]
        wanted = torch.stack([torch.arange(2 * len(pairs)), number.repeat(2)], dim=1)
        images = pictures(pairs, model.config.image.image_size)
        with evaluating(model):
            logits = match_logits(model, tokenizer, texts, images, wanted)
        true, false = (logits[:, 1] - logits[:, 0]).view(2, -1)  # log-odds of a match
        details[kind] = preferred(true, false)
        details[f"{kind} at .5"] = ((true > 0).float() + (false < 0).float()) / 2
    return details


def hard_details(
    model: Matcher, tokenizer: MEDTokenizer, pairs: int = 256, split: str = "test"
) -> dict[str, Tensor]:
    """ITM on two-object pictures with their caption, and with the wrong ones most like it.

    Each pair comes with two negatives, as in training: the picture with the wrong text that is most
    similar to it, the text with the wrong picture.

    Returns:
        Float (pairs,): ``balanced accuracy``, at a probability of .5; and ``excess``: the ITM loss
        above that of a head that knows only the prior of 1 : 2, :data:`vlcourse.losses.ITM_PRIOR`.
        0.63 nats of loss are no progress; an excess of 0 says so.
    """
    with evaluating(model):
        images, texts = world.two_object_set(pairs, model.config.image.image_size, 0, split)
        wrong = cosines(model, tokenizer, texts, images).fill_diagonal_(-torch.inf)  # (T, N)
        own = torch.arange(pairs)
        wanted = [(own, own), (wrong.argmax(dim=0), own), (own, wrong.argmax(dim=1))]
        stacked = torch.cat([torch.stack(each, dim=1) for each in wanted])
        logits = match_logits(model, tokenizer, texts, images, stacked)  # (3 · pairs, 2)
    return judged(logits.view(3, pairs, 2))


def judged(logits: Tensor) -> dict[str, Tensor]:
    """(3, N, 2) logits of a match and its two negatives → what :func:`hard_details` returns."""
    right = torch.tensor([1, 0, 0])
    said = logits.argmax(dim=-1) == right[:, None]  # (3, N)
    nats = F.cross_entropy(
        logits.movedim(-1, 1), right[:, None].expand(logits.shape[:2]), reduction="none"
    )
    return {
        "balanced accuracy": (said[0] + said[1:].float().mean(dim=0)) / 2,
        "excess": nats.mean(dim=0) - losses.ITM_PRIOR,
    }


def matching(model: Matcher, tokenizer: MEDTokenizer, scenes: int = 800) -> dict[str, float]:
    """All of it on two-object test scenes: accuracy by kind of foil, at .5, and on hard pairs."""
    told = world.two_object_scenes(scenes, seed=7)
    details = foil_details(model, tokenizer, told) | hard_details(model, tokenizer)
    return {name: float(values.mean()) for name, values in details.items()}
