"""BLIP-2 as a talker: a frozen language model is asked about one picture that it was shown.

Li et al. 2023, section 4.1: zero-shot, in words that the language model knows from text. Of a video
it is the middle frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vlcourse import zoo
from vlcourse.chat import ChatError, picture
from vlcourse.chat.asking import asked, check_room, toy_question, trimmed
from vlcourse.chat.protocol import Account, Turn
from vlcourse.data.media import Media
from vlcourse.generate import Options, stream_text
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.llama import LLaMAConfig

LONGEST = 24  # tokens of an answer


class BLIP2Talker:
    """A :class:`BLIP2LLM` of the toy world; it answers one question and remembers none.

    Args:
        name: of its recipe, "blip2-toy-llm" say.
    """

    def __init__(self, name: str) -> None:
        model = zoo.load(name)
        if not isinstance(model, BLIP2LLM):
            raise ChatError(f"{name} is a {type(model).__name__}, and no BLIP-2 that writes")
        self.name, self.model = name, model
        self.tokenizer: Any = zoo.find(name).tokenizer()

    def account(self, media: Media) -> Account:
        """The picture, or the middle frame."""
        return picture.account(media)

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """A greedily written answer, up to its full stop; ``history`` is not read."""
        config, words = self.model.config, toy_question(asked(question))
        # An encoder reads the queries first; a decoder begins as it did in its training.
        ids = self.tokenizer.encode(words, bos=not config.encodes)
        if isinstance(config.llm, LLaMAConfig):
            queries = config.qformer.queries * config.spread
            check_room(config.llm.context - queries - LONGEST - len(ids))
        pixels = picture.pixels(media, config.image.image_size, self.model)
        options = Options(LONGEST, stop=(".",), end=self.tokenizer.eos)
        tokens = torch.tensor([ids], device=pixels.device)  # (1, L)
        return trimmed(
            stream_text(self.model, tokens, options, tokenizer=self.tokenizer, pixels=pixels)
        )
