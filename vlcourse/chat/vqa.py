"""BLIP's question answering as a talker: it sees one picture, so of a video the middle frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vlcourse import zoo
from vlcourse.chat import ChatError
from vlcourse.chat.asking import asked
from vlcourse.chat.protocol import Account, Turn
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.media import Media
from vlcourse.evals.vqa import LONGEST
from vlcourse.generate import Options, stream_text
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.tokenizers import TokenizerError


class VQATalker:
    """A :class:`BLIPAnswerer` of the course; it answers one question and remembers none.

    Args:
        name: of its recipe, "blip-toy-vqa" say.
    """

    def __init__(self, name: str) -> None:
        model = zoo.load(name)
        if not isinstance(model, BLIPAnswerer):
            raise ChatError(f"{name} is a {type(model).__name__}, which answers no questions")
        self.name, self.model = name, model
        self.tokenizer: Any = zoo.find(name).tokenizer()

    def account(self, media: Media) -> Account:
        """The middle frame."""
        middle = media.uniform(1)
        where = "" if media.still else f"one frame, shown at {middle.times[0]:.1f} seconds"
        return Account(where or "the picture", middle.times)

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """A greedily written answer; ``history`` is not read."""
        words = asked(question).lower()
        try:
            questions, mask = self.tokenizer(words, self.model.config.text.context)  # (1, L)
        except TokenizerError as error:
            raise ChatError(str(error)) from error
        device = next(self.model.parameters()).device
        frame = resize(media.uniform(1).frames[0], self.model.config.image.image_size)
        pixels = normalise(frame[None].to(device))  # (1, 3, S, S)
        return stream_text(
            self.model, None, Options(LONGEST, end=self.tokenizer.sep), tokenizer=self.tokenizer,
            pixels=pixels, questions=questions.to(device), questions_mask=mask.to(device),
        )  # fmt: skip
