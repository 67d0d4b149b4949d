"""From pictures to captions: the one way on which a BLIP writes them, for measures and for jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.generate import Options, search
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.med import MEDTokenizer


def nucleus(longest: int, top_p: float = 0.9) -> Options:
    """How BLIP's captioner draws: top-p 0.9, and what was said before less likely by 1.1.

    Section 4; the code has the numbers.
    """
    return Options(longest, temperature=1.0, top_p=top_p, repetition_penalty=1.1)


def beam(longest: int, beams: int = 3) -> Options:
    """Beam search: the likeliest texts (section 5.2), and less to learn from (table 2)."""
    return Options(longest, beams=beams)


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
    """Draw from the nucleus of this probability instead; 0 for no chance."""
    seed: int = 0
    """Of the drawing."""

    def options(self) -> Options:
        """The same for :func:`written`; RangeError for a number out of its range."""
        if self.top_p:
            return nucleus(self.max_tokens, self.top_p)
        return beam(self.max_tokens, self.beams)


def write(
    model: Matcher,
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
    chance = torch.Generator(next(model.parameters()).device).manual_seed(writing.seed)
    found: list[str] = []
    for chunk in images.split(batch_size):
        found += written(
            model, tokenizer, [*chunk], writing.options(), writing.prompt or "", chance
        )
    return found


def written(
    model: Matcher,
    tokenizer: MEDTokenizer,
    pictures: Sequence[Tensor],
    options: Options,
    prompt: str,
    chance: torch.Generator | Sequence[int],
) -> list[str]:
    """One caption for each picture of a batch, without the prompt.

    Args:
        model, tokenizer: as of :func:`write`.
        pictures: uint8 (3, H, W), of any sizes.
        options: how; where a text ends, the tokenizer says.
        prompt: what each caption begins with; "": nothing.
        chance: what is drawn comes from a generator, or from a number for each picture.
    """
    pixels = pixels_of(pictures, model)
    begin = prompt_of(prompt, tokenizer)
    found = search(
        model, torch.tensor([begin] * len(pictures), device=pixels.device),
        replace(options, end=tokenizer.sep, pad=tokenizer.pad), tokenizer=tokenizer,
        generator=chance, pixels=pixels,
    )  # fmt: skip
    assert found.texts is not None
    return [texts[0].strip() for texts in found.texts]


def prompt_of(prompt: str, tokenizer: MEDTokenizer) -> list[int]:
    """The ids that a caption begins with; the first, [CLS], will be [DEC]."""
    return [tokenizer.cls, *tokenizer.encode(prompt)]


def pixels_of(pictures: Sequence[Tensor], model: Matcher) -> Tensor:
    """uint8 pictures of any size → (B, 3, S, S) as the model reads them."""
    size = model.config.image.image_size
    pixels = normalise(torch.stack([resize(picture, size) for picture in pictures]))
    return pixels.to(next(model.parameters()).device)
