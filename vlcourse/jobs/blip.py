"""Captioner and filter from BLIPs of this library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.evals.writing import beam, nucleus, pixels_of, prompt_of, written
from vlcourse.models.blip import BLIP

LONGEST = 64  # tokens of a caption; the world's longest has some 50, and BLIP was trained on 30


class BLIPCaptioner:
    """Texts by a BLIP that was trained to write.

    Args:
        model: on its device.
        tokenizer: of its texts: ``encode``, ``decode``, ``cls`` and ``sep``.
        beams: 0 draws from the nucleus, as the paper; else beam search.
        prompt: how every text begins, "a picture of " say; it is not part of what is given back.
    """

    def __init__(self, model: BLIP, tokenizer: Any, beams: int = 0, prompt: str = "") -> None:
        self.model, self.tokenizer, self.prompt = model.eval(), tokenizer, prompt
        context = min(model.config.text.context, LONGEST)
        longest = context - len(prompt_of(prompt, tokenizer))
        self.options = beam(longest, beams) if beams else nucleus(longest)

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        """A text for each picture; what is drawn depends on its own key alone."""
        return written(self.model, self.tokenizer, pictures, self.options, self.prompt, keys)


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


def once(pictures: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The different pictures, and (N,) which of them each was: both texts of one are judged."""
    places: dict[int, int] = {}
    rows = [places.setdefault(id(picture), len(places)) for picture in pictures]
    different = {id(picture): picture for picture in pictures}
    return [different[key] for key in places], torch.tensor(rows)
