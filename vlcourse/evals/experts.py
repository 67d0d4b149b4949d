"""Experts: whatever tells in words what is in a picture; what it says enters the prompt.

Gao et al. 2023 (LLaMA-Adapter V2), section 4.4: a captioner, a reader of signs (OCR), a search
engine: each is a function from pictures to texts, is exchanged at inference, and trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vlcourse.data.corpus.shown import asked
from vlcourse.evals.writing import Writing, write
from vlcourse.layers.errors import ModelError
from vlcourse.models.blip import BLIP
from vlcourse.tokenizers.med import MEDTokenizer

Expert = Callable[[Sequence[Tensor]], list[str]]
"""uint8 pictures (3, H, W) → a text for each; "" where it has nothing to say."""
Ask = Callable[[str, str], str]
"""An instruction and what experts say → the prompt; :func:`alpaca_prompt`, or ours for the toys."""


def captioner(model: BLIP, tokenizer: MEDTokenizer, writing: Writing | None = None) -> Expert:
    """A BLIP as an expert: it writes a caption of each picture (of one size all of them)."""
    return partial(_captions, model, tokenizer, writing)


def _captions(
    model: BLIP, tokenizer: MEDTokenizer, writing: Writing | None, pictures: Sequence[Tensor]
) -> list[str]:
    return [f"{said}." for said in write(model, tokenizer, torch.stack([*pictures]), writing)]


def told_by(
    experts: Sequence[Expert],
    pictures: Sequence[Tensor],
    instructions: Sequence[str],
    ask: Ask = asked,
) -> list[str]:
    """The prompts of instructions about pictures, with what the experts say of these.

    Args:
        experts: whose texts stand one after the other; none leaves the instructions alone.
        pictures: one for each instruction.
        instructions: what is to be done.
        ask: how instruction and texts become a prompt.

    Raises:
        ModelError: when there is not one picture for each instruction, or an expert does not say
            one text for each picture.
    """
    if len(pictures) != len(instructions):
        raise ModelError(
            f"there are {len(pictures)} pictures for {len(instructions)} instructions: give one "
            "for each"
        )
    said: list[list[str]] = [[] for _ in instructions]
    for number, expert in enumerate(experts):
        texts = expert(pictures)
        if len(texts) != len(pictures):
            raise ModelError(
                f"expert {number} said {len(texts)} texts of {len(pictures)} pictures: an expert "
                "says one of each"
            )
        for own, text in zip(said, texts, strict=True):
            own += [text.strip()] if text.strip() else []
    return [ask(what, " ".join(own)) for what, own in zip(instructions, said, strict=True)]
