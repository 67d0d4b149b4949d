"""BLIP's question answering as a talker: it sees one picture, so of a video the middle frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vlcourse import zoo
from vlcourse.chat import ChatError, picture
from vlcourse.chat.asking import asked
from vlcourse.chat.protocol import Account, Turn
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
        """The picture, or the middle frame."""
        return picture.account(media)

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """A greedily written answer; ``history`` is not read."""
        words, config = asked(question).lower(), self.model.config
        try:
            questions, mask = self.tokenizer(words, config.text.context)  # (1, L)
        except TokenizerError as error:
            raise ChatError(str(error)) from error
        pixels = picture.pixels(media, config.image.image_size, self.model)
        return stream_text(
            self.model, None, Options(LONGEST, end=self.tokenizer.sep), tokenizer=self.tokenizer,
            pixels=pixels, questions=questions.to(pixels.device),
            questions_mask=mask.to(pixels.device),
        )  # fmt: skip
