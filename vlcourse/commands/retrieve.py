"""``vlcourse retrieve``: the pictures of a folder that fit a text best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vlcourse.commands import UsageError, models, pictures
from vlcourse.evals import clip as clip_evals
from vlcourse.models.clip import CLIP

AT_ONCE = 64  # pictures


def retrieve(text: str, places: Sequence[str], model: str, top: int) -> list[tuple[Path, float]]:
    """The best pictures for a text, best first, each with its score: the cosine of the two.

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
    if not isinstance(named.model, CLIP):
        kind = type(named.model).__name__
        raise UsageError(f"{model} is a {kind}, which does not compare pictures with texts")
    wanted = clip_evals.embed_texts(named.model, named.tokenizer, [text])  # (1, D)
    found, scores = [], []
    for chunk in pictures.batches(files, named.model.config.image.image_size, AT_ONCE):
        images = torch.stack([image for _, image in chunk])
        scores.append(clip_evals.embed_images(named.model, images) @ wanted[0])
        found += [path for path, _ in chunk]
    best = torch.cat(scores).topk(min(top, len(found)))
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(found[i], score) for i, score in rows]
