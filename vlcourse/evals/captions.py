"""What a captioner writes, measured: is it true, word for word, and how much does it say?

The toy world needs no likeness to references: :func:`vlcourse.data.world.read.read` reads a caption
back, and the scene knows. BLEU and CIDEr are there to compare with the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.world import Caption, HasObject, Scene, World
from vlcourse.data.world.read import read
from vlcourse.evals import ngrams
from vlcourse.generate import Options, search
from vlcourse.models.blip import BLIP
from vlcourse.tokenizers.med import MEDTokenizer


@dataclass(frozen=True)
class Writing:
    """How captions are written; as BLIP's are by default (section 5.2: beam search, 3 beams)."""

    prompt: str | None = None
    """What each caption begins with; it is no part of what is returned. None: nothing."""
    max_tokens: int = 40
    """Longest caption, in tokens, its end included."""
    beams: int = 3
    """Texts that beam search keeps; 1 for none."""
    top_p: float = 0.0
    """Draw from the nucleus of this probability instead, what was said before less likely by 1.1
    (section 4; the code has 0.9); 0 for no chance."""
    seed: int = 0
    """Of the drawing."""

    def options(self, end: int) -> Options:
        """The same for :func:`vlcourse.generate.search`."""
        if self.top_p:
            return Options(
                self.max_tokens, temperature=1.0, top_p=self.top_p, repetition_penalty=1.1, end=end
            )
        return Options(self.max_tokens, beams=self.beams, end=end)


def write(
    model: BLIP,
    tokenizer: MEDTokenizer,
    images: Tensor,
    writing: Writing | None = None,
    batch_size: int = 64,
) -> list[str]:
    """One caption for each picture.

    Args:
        model: it writes in eval mode.
        tokenizer: its own.
        images: (N, 3, H, W) uint8.
        writing: how.
        batch_size: pictures at a time.

    Raises:
        ModelError: when prompt and caption may be longer than the model's context.
    """
    writing = writing or Writing()
    device, size = next(model.parameters()).device, model.config.image.image_size
    ids, _ = tokenizer([writing.prompt or ""], model.config.text.context)
    ids = ids[:, :-1].to(device)  # (1, P), without [SEP]
    options, found = writing.options(model.config.text.sep), []
    generator = torch.Generator(device).manual_seed(writing.seed)
    for chunk in images.split(batch_size):
        pixels = normalise(resize(chunk, size).to(device))
        prompt = ids.expand(len(chunk), -1)
        written = search(
            model, prompt, options, tokenizer=tokenizer, generator=generator, pixels=pixels
        )
        assert written.texts is not None
        found += [texts[0].strip() for texts in written.texts]
    return found


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
    model: BLIP, tokenizer: MEDTokenizer, scenes: Sequence[Scene], writing: Writing | None = None
) -> dict[str, Tensor]:
    """What :func:`judge` says of the captions that a model writes."""
    return judge(written_for(model, tokenizer, scenes, writing), scenes)


def written_for(
    model: BLIP, tokenizer: MEDTokenizer, scenes: Sequence[Scene], writing: Writing | None = None
) -> list[str]:
    """A caption for each scene, drawn at the model's size."""
    size = model.config.image.image_size
    return write(model, tokenizer, torch.from_numpy(world.render_batch(scenes, size)), writing)


def captions(
    model: BLIP,
    tokenizer: MEDTokenizer,
    scenes: Sequence[Scene] | None = None,
    writing: Writing | None = None,
) -> dict[str, float]:
    """The means of all vectors, and BLEU-4 of the set (which is no mean over texts)."""
    scenes = scenes or caption_set()
    texts = written_for(model, tokenizer, scenes, writing)
    found = {name: float(values.mean()) for name, values in judge(texts, scenes).items()}
    return {**found, "bleu4": ngrams.bleu(texts, [[*scene.captions()] for scene in scenes])}
