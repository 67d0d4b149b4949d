"""Captioner and filter from BLIPs of this library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.generate.loop import search
from vlcourse.generate.options import Options
from vlcourse.models.blip import BLIP

LONGEST = 64  # tokens of a caption; the world's longest has some 50, and BLIP was trained on 30


def nucleus(longest: int) -> Options:
    """How BLIP's captioner draws: top-p 0.9, and a penalty of 1.1 on what was said before."""
    return Options(longest, temperature=1.0, top_p=0.9, repetition_penalty=1.1)


def beam(longest: int, beams: int) -> Options:
    """Beam search, for comparison: likelier texts, and less to learn from (table 2)."""
    return Options(longest, beams=beams)


class BLIPCaptioner:
    """Texts by a BLIP that was trained to write.

    Args:
        model: on its device.
        tokenizer: of its texts: ``encode``, ``decode``, ``cls`` and ``sep``.
        beams: 0 draws from the nucleus, as the paper; else beam search.
        prompt: how every text begins, "a picture of " say; it is not part of what is given back.
    """

    def __init__(self, model: BLIP, tokenizer: Any, beams: int = 0, prompt: str = "") -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.prompt = [tokenizer.cls, *tokenizer.encode(prompt)] if prompt else []
        # The first place is [DEC]'s.
        longest = min(model.config.text.context, LONGEST) - max(len(self.prompt), 1)
        options = beam(longest, beams) if beams else nucleus(longest)
        self.options = Options(**{**vars(options), "end": tokenizer.sep, "pad": tokenizer.pad})

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        """A text for each picture; what is drawn depends on its own key alone."""
        pixels = pixels_of(pictures, self.model)
        tokens = torch.tensor([self.prompt] * len(pictures), device=pixels.device)
        found = search(
            self.model, tokens if self.prompt else None, self.options, tokenizer=self.tokenizer,
            generator=keys, pixels=pixels,
        )  # fmt: skip
        assert found.texts is not None
        return [texts[0].strip() for texts in found.texts]


class BLIPJudge:
    """The probability that a text matches, by a BLIP's ITM head (softmax of its two logits)."""

    def __init__(self, model: BLIP, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    @torch.inference_mode()
    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        """(N,) probabilities; a text that is too long is cut to the context."""
        different, rows = once(pictures)
        pixels = pixels_of(different, self.model)
        context = self.model.config.text.context
        tokens, mask = self.tokenizer(texts, context, truncate=True)  # (N, L)
        seen = self.model.image_tokens(pixels)
        tokens, mask = tokens.to(pixels.device), mask.to(pixels.device)
        logits = self.model.match(None, tokens, mask, seen, rows=rows.to(pixels.device))
        return logits.float().softmax(dim=-1)[:, 1]


def pixels_of(pictures: Sequence[Tensor], model: BLIP) -> Tensor:
    """uint8 pictures of any size → (B, 3, S, S) as the model reads them."""
    size = model.config.image.image_size
    pixels = normalise(torch.stack([resize(picture, size) for picture in pictures]))
    return pixels.to(model.temperature.device)


def once(pictures: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The different pictures, and (N,) which of them each was: both texts of one are judged."""
    places: dict[int, int] = {}
    rows = [places.setdefault(id(picture), len(places)) for picture in pictures]
    different = {id(picture): picture for picture in pictures}
    return [different[key] for key in places], torch.tensor(rows)
