"""What a captioner writes, measured: is it true, word for word, and how much does it say?

The toy world needs no likeness to references: :func:`vlcourse.data.world.read.read` reads a caption
back, and the scene knows. BLEU and CIDEr are there to compare with the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlcourse.data import world
from vlcourse.data.world import Caption, HasObject, Scene, World
from vlcourse.data.world.read import read
from vlcourse.evals import ngrams
from vlcourse.evals.writing import Writing, write
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.med import MEDTokenizer


def judge(texts: Sequence[str], scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Each text against its scene: float (N,) vectors, for intervals.

    Returns:
        ``true``: everything that it says holds; ``unreadable``: it is no sentence of the world's
        grammar, which counts as not true; ``coverage``: the share of the scene's objects that it
        names by colour and shape, and the size if it gives one; ``cider``: CIDEr-D against all true
        captions of the scene.
    """
    said = [read(text) for text in texts]
    pairs = list(zip(said, scenes, strict=True))
    references = [[caption.text for caption in scene.captions()] for scene in scenes]
    return {
        "true": torch.tensor([float(c is not None and s.is_true(c)) for c, s in pairs]),
        "unreadable": torch.tensor([float(c is None) for c in said]),
        "coverage": torch.tensor([coverage(c, s) if c is not None else 0.0 for c, s in pairs]),
        "cider": ngrams.cider(texts, references).float(),
    }


def coverage(caption: Caption, scene: Scene) -> float:
    """The share of a scene's objects that a caption names."""
    named = [fact.thing for fact in caption.facts if isinstance(fact, HasObject)]
    seen = [any(thing.fits(obj) for thing in named) for obj in scene.objects]
    return sum(seen) / len(seen)


def caption_set(
    n: int = 400, objects: tuple[int, int] = (1, 2), split: str = "test", seed: int = 5
) -> list[Scene]:
    """Scenes to be described."""
    return World(split, n, objects=objects, seed=seed).scenes()


def caption_details(
    model: Matcher, tokenizer: MEDTokenizer, scenes: Sequence[Scene], writing: Writing | None = None
) -> dict[str, Tensor]:
    """What :func:`judge` says of the captions that a model writes."""
    return judge(written_for(model, tokenizer, scenes, writing), scenes)


def written_for(
    model: Matcher, tokenizer: MEDTokenizer, scenes: Sequence[Scene], writing: Writing | None = None
) -> list[str]:
    """A caption for each scene, drawn at the model's size."""
    size = model.config.image.image_size
    return write(model, tokenizer, torch.from_numpy(world.render_batch(scenes, size)), writing)


def captions(
    model: Matcher,
    tokenizer: MEDTokenizer,
    scenes: Sequence[Scene] | None = None,
    writing: Writing | None = None,
) -> dict[str, float]:
    """The means of all vectors, and BLEU-4 of the set (which is no mean over texts)."""
    scenes = scenes or caption_set()
    texts = written_for(model, tokenizer, scenes, writing)
    found = {name: float(values.mean()) for name, values in judge(texts, scenes).items()}
    return {**found, "bleu4": ngrams.bleu(texts, [[*scene.captions()] for scene in scenes])}
