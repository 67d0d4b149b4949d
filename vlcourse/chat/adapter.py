"""LLaMA-Adapter as a talker: what is asked is an instruction, and it sees one picture.

Gao et al. 2023. Of a video it is the middle frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vlcourse import zoo
from vlcourse.chat import ChatError, picture
from vlcourse.chat.asking import asked, check_room, trimmed
from vlcourse.chat.protocol import Account, Turn
from vlcourse.data.corpus import shown
from vlcourse.data.media import Media
from vlcourse.generate import Options, stream_text
from vlcourse.models.adapter import ImageAdapter
from vlcourse.models.adapter_v2 import AdapterV2

LONGEST = 64  # tokens of a response
NEXT = "instruction:"  # a response is over where another instruction begins


class AdapterTalker:
    """An adapter of the toy world that sees; it follows one instruction and remembers none.

    Args:
        name: of its recipe, "adapter-v2-toy-visual" say.
    """

    def __init__(self, name: str) -> None:
        model = zoo.load(name)
        if not isinstance(model, ImageAdapter | AdapterV2):
            raise ChatError(f"{name} is a {type(model).__name__}, and no adapter that sees")
        self.name, self.model = name, model
        self.tokenizer: Any = zoo.find(name).tokenizer()

    def account(self, media: Media) -> Account:
        """The picture, or the middle frame."""
        return picture.account(media)

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """A greedily written response; ``history`` is not read."""
        config = self.model.config
        ids = self.tokenizer.encode(shown.asked(asked(question).lower()), bos=True)
        check_room(config.llm.context - LONGEST - len(ids))
        pixels = picture.pixels(media, config.image.image_size, self.model)
        options = Options(LONGEST, stop=(NEXT,), end=self.tokenizer.eos)
        tokens = torch.tensor([ids], device=pixels.device)  # (1, L)
        return trimmed(
            stream_text(self.model, tokens, options, tokenizer=self.tokenizer, pixels=pixels)
        )
