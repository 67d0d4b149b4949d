"""``vlcourse retrieve``: the pictures of a folder that fit a text best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vlcourse.commands import UsageError, models, pictures
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import rerank
from vlcourse.models.clip import CLIP
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.med import MEDTokenizer

AT_ONCE = 64  # pictures
LOOKED_AT = 16  # pictures that a model which matches looks at again, or --top if that is more


@dataclass(frozen=True)
class Found:
    """A picture and its score: the cosine with the text, and the matching logit if there is one."""

    path: Path
    cosine: float
    match: float | None = None

    @property
    def score(self) -> float:
        """By which pictures are put in order: the sum of both."""
        return self.cosine + (self.match or 0.0)


def retrieve(text: str, places: Sequence[str], model: str, top: int) -> list[Found]:
    """The best pictures for a text, best first.

    A CLIP goes by the cosine. A BLIP or BLIP-2 that matches looks again at the best of these, with
    the text beside them, and goes by cosine + matching logit.

    Args:
        text: what is looked for; a text that the model would have to cut is refused.
        places: folders of pictures, or pictures.
        model: which model (:func:`vlcourse.commands.models.find`).
        top: how many pictures.

    Raises:
        UsageError: for an empty text, a model that cannot compare, or no picture that can be read.
        TokenizerError: for a text that is too long.
    """
    if not text.strip():
        raise UsageError('the text is empty: vlcourse retrieve "a red circle" FOLDER')
    if top < 1:
        raise UsageError(f"--top {top}: at least one picture is shown")
    files = pictures.files(places)
    named = models.find(model)
    network = named.model
    if isinstance(network, CLIP):
        wanted = clip_evals.embed_texts(network, named.tokenizer, [text])  # (1, D)
    elif not isinstance(network, Matcher):
        kind = type(network).__name__
        raise UsageError(f"{model} is a {kind}, which does not compare pictures with texts")
    elif "itc" not in network.config.tasks:
        kind = type(network).__name__
        raise UsageError(f"{model} is a {kind} that was not trained to compare pictures with texts")
    else:
        wanted = rerank.embed_texts(network, named.tokenizer, [text])
    matches = isinstance(network, Matcher) and "itm" in network.config.tasks
    size = network.config.image.image_size
    paths, cosines = [], []
    for chunk in pictures.batches(files, size, AT_ONCE, named.squeezes):
        images = torch.stack([image for _, image in chunk])
        seen = clip_evals.embed_images(network, images)  # (n, …, D)
        fit = network.similarity(seen, wanted) if isinstance(network, Matcher) else seen @ wanted.T
        cosines.append(fit[:, 0])  # (n,)
        paths += [path for path, _ in chunk]
    cosine = torch.cat(cosines)  # (N,)
    looked_at = max(top, LOOKED_AT) if matches else top
    order = cosine.topk(min(looked_at, len(paths))).indices.tolist()
    found = [Found(paths[i], float(cosine[i])) for i in order]
    if matches:
        again = pictures.read([one.path for one in found], size, named.squeezes)
        images = torch.stack([image for _, image in again])
        found = _looked_at(network, named.tokenizer, text, found, images)
    return found[:top]


def _looked_at(
    model: Any, tokenizer: MEDTokenizer, text: str, found: list[Found], images: torch.Tensor
) -> list[Found]:
    """The same pictures with their matching logits, in the order of the sums."""
    pairs = torch.stack([torch.zeros(len(found), dtype=torch.int64), torch.arange(len(found))], 1)
    logits = rerank.match_logits(model, tokenizer, [text], images, pairs)[:, 1].tolist()
    both = [Found(f.path, f.cosine, logit) for f, logit in zip(found, logits, strict=True)]
    return sorted(both, key=lambda one: -one.score)
