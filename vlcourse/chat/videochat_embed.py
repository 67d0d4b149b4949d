"""VideoChat-Embed as a talker: frames become vectors among the words of a language model.

Li et al. 2023, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vlcourse import zoo
from vlcourse.chat import ChatError
from vlcourse.chat.asking import asked, trimmed
from vlcourse.chat.protocol import Account, Turn
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.corpus.dialogues import TOY
from vlcourse.data.media import Media, sampled
from vlcourse.generate import Options, stream_text
from vlcourse.layers.frozen import evaluating
from vlcourse.models.videochat import VideoChat

LONGEST = 128  # tokens of an answer


class VideoChatEmbed:
    """A :class:`VideoChat` that is talked with; nothing of a video is kept.

    Args:
        model: the model.
        collate: the one of its runs: the words around questions, and the size of frames.
        frames: how many of a video it looks at.
        name: what it is called.
    """

    def __init__(
        self, model: VideoChat, collate: VideoCollate, frames: int, name: str = "videochat-embed"
    ) -> None:
        self.model, self.collate, self.frames, self.name = model, collate, frames, name

    @classmethod
    def of(cls, name: str) -> VideoChatEmbed:
        """The talker of a recipe's trained model, "videochat-toy" say.

        Raises:
            ChatError: when its model is no VideoChat.
        """
        model, recipe = zoo.load(name), zoo.find(name)
        if not isinstance(model, VideoChat):
            raise ChatError(f"{name} is a {type(model).__name__}, and no VideoChat")
        data: Any = recipe.data
        return cls(model, recipe.collate(train=False), data.frames)

    def account(self, media: Media) -> Account:
        """The sentence about the frames, and where the queries look: (Q, T)."""
        seen = media.uniform(self.frames)
        batch = self.collate([self._sample(seen, (("", ""),))])
        with evaluating(self.model), torch.inference_mode():
            looks = self.model.looks(**self._shown(batch))[0].cpu()  # (Q, T + 1)
        each = looks[:, : len(seen.times)]
        share = each.sum(dim=1, keepdim=True)  # the rest looks at the aggregators' token
        return Account(self._said(seen, len(looks)), seen.times, each / share, float(share.mean()))

    def _said(self, seen: Media, queries: int) -> str:
        """What the language model is told of the frames, in words or otherwise."""
        if seen.still:
            return "A picture."
        if self.collate.text.template.times:
            return sampled(seen.times)
        vectors = queries * self.model.config.spread
        return f"{len(seen.times)} frames as {vectors} vectors among its words, and no sentence."

    def answer(self, media: Media, question: str, history: Sequence[Turn] = ()) -> Iterator[str]:
        """Pieces of an answer; the oldest turns are left out where they do not fit."""
        words, seen = asked(question), media.uniform(self.frames)
        if self.collate.text.template == TOY:  # the toy's words are small
            words = words.lower()
        sample = self._fitting(seen, words, list(history))
        batch = self.collate([sample])
        tokenizer, text = self.collate.text.tokenizer, self.collate.text
        ids, _ = text.encoded(text.told(sample), text.context)
        options = Options(LONGEST, stop=(text.template.end.strip(),), end=tokenizer.eos)
        tokens = torch.tensor([ids], device=self._device)
        pieces = stream_text(
            self.model, tokens, options, tokenizer=tokenizer, at=batch["at"].to(self._device),
            **self._shown(batch),
        )  # fmt: skip
        return trimmed(pieces)

    def _fitting(self, media: Media, words: str, history: list[Turn]) -> dict[str, Any]:
        """The chat with as many of the newest turns as the context has room for."""
        text = self.collate.text
        while True:
            turns = (*((turn.question, turn.answer) for turn in history), (words, ""))
            sample = self._sample(media, turns)
            length = len(text.encoded(text.told(sample), 10**6)[0])
            if length <= text.context:
                return sample
            if not history:
                raise ChatError(
                    f"the question has {length} tokens, {text.context} is the most that "
                    f"{self.name} reads: ask in fewer words"
                )
            history.pop(0)

    def _sample(self, media: Media, turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
        sample: dict[str, Any] = {"id": media.name, "turns": tuple(turns)}
        if media.still:
            return {**sample, "image": media.frames[0]}
        return {**sample, "frames": media.frames, "seconds": media.times}

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: batch[name].to(self._device) for name in ("pixels", "seconds")}

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device
