"""The language models that answer from a video's text: the course's small ones, or any chat model.

Everything that a model reads has to fit its context: first the question, then the video's text
(with lines left out, evenly over its time, if it is too long), then as many of the newest turns as
there is room for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from vlcourse import zoo
from vlcourse.chat import ChatError
from vlcourse.chat.asking import check_room, toy_question, trimmed
from vlcourse.chat.history import newest, thinned
from vlcourse.chat.perception import Perceived
from vlcourse.chat.protocol import Turn
from vlcourse.chat.textualise import in_toy_words, textualised
from vlcourse.data.collate.text import encode_parts
from vlcourse.data.sources.decode import shorten
from vlcourse.generate import Options, stream_text
from vlcourse.models.llama import LLaMA
from vlcourse.models.transformers_llm import TransformersConfig, TransformersDecoder

SHARE = 4  # the turns before may take a quarter of the context, and what the video leaves


class LanguageModel(Protocol):
    """Something that reads a video's text and answers."""

    name: str

    def text(self, seen: Perceived) -> str:
        """What it is told of a video."""
        ...

    def answer(self, seen: Perceived, question: str, history: Sequence[Turn]) -> Iterator[str]:
        """Pieces of an answer.

        Raises:
            ChatError: when not even the question fits.
        """
        ...


class ToyReader:
    """A small LLaMA of the course, which reads the words of the toy world's films and no others.

    Args:
        name: of its recipe: "llm-time", or "llm-toy".
        longest: tokens of an answer.
    """

    def __init__(self, name: str, longest: int = 24) -> None:
        model = zoo.load(name)
        if not isinstance(model, LLaMA):
            raise ChatError(f"{name} is a {type(model).__name__}, and no language model")
        self.name, self.model, self.longest = name, model, longest
        self.tokenizer: Any = zoo.find(name).tokenizer()

    def text(self, seen: Perceived) -> str:
        """In the words of the toy world, and no longer than fits."""
        return " ".join(self._lines(seen, self._room(0)))

    def _lines(self, seen: Perceived, room: int) -> list[str]:
        return thinned(in_toy_words(seen), room, self._count)

    def _room(self, taken: int) -> int:
        return self.model.config.context - self.longest - 1 - taken  # 1: where a text begins

    def _count(self, text: str) -> int:
        return len(self.tokenizer.encode(text))

    def answer(self, seen: Perceived, question: str, history: Sequence[Turn]) -> Iterator[str]:
        """A greedily written answer, up to its full stop."""
        ask = toy_question(question)
        lines, turns = _fitted(
            in_toy_words(seen), history, self._room(self._count(ask)), self._count,
            lambda turn: self._count(toy_question(turn.question)) + self._count(f"{turn.answer}."),
        )  # fmt: skip
        parts = [(" ".join(lines), False)] if lines else []
        for turn in turns:
            parts += [(toy_question(turn.question), False), (f"{turn.answer}.", False)]
        ids, _ = encode_parts(self.tokenizer, [*parts, (ask, False)], 1 << 30, end=False)
        options = Options(self.longest, end=self.tokenizer.eos, stop=(".",))
        tokens = torch.tensor([ids])  # (1, L)
        return trimmed(stream_text(self.model, tokens, options, tokenizer=self.tokenizer))


def _fitted(
    lines: Sequence[str], history: Sequence[Turn], room: int, count: Any, count_turn: Any
) -> tuple[list[str], list[Turn]]:
    """The lines of a video's text and the newest turns that fit into ``room`` tokens."""
    check_room(room)
    told = thinned(lines, room - min(room // SHARE, sum(map(count_turn, history))), count)
    return told, newest(history, room - sum(map(count, told)), count_turn)


# What VideoChat-Text's prompt says (Li et al. 2023; the lecture's "system prompt"), in our words.
SYSTEM = """You talk with somebody about a video. You cannot see it: programs have looked at it, \
and what they said stands below, in the order of time. Each line begins with the span of time \
that it is about, as minutes and seconds. Captions and changes are the most reliable; tags, and \
things with their boxes (left, top, right, bottom, in pixels), help where they disagree. Answer \
from what stands there, with what you know of such things, and say so when it does not say. \
Invent nothing.

The video:
{}"""


class TransformersChat:
    """A chat model of the transformers library: a folder that you have, or a hub id.

    Args:
        source: its folder or hub id. No code of a repository is run.
        longest: tokens of an answer.
        context: most tokens that it reads, if it could read more.

    Raises:
        ChatError: there is no such model, or it is no chat model.
    """

    def __init__(self, source: str, longest: int = 256, context: int = 4096) -> None:
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
            model = AutoModelForCausalLM.from_pretrained(source).eval()
        except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
            said = shorten(str(error).strip().partition("\n")[0], 300)
            raise ChatError(f"{source} cannot be loaded as a language model: {said}") from error
        if not self.tokenizer.chat_template:
            raise ChatError(
                f"{source} has no chat template: name a model that was taught to converse"
            )
        settings = json.dumps(model.config.to_dict(), default=str)
        self.name, self.longest = source, longest
        self.model = TransformersDecoder(TransformersConfig(settings), model).eval()
        most = getattr(model.config, "max_position_embeddings", None) or context
        self.context = min(most, context)
        if self.context <= longest:
            raise ChatError(
                f"{source} reads {self.context} tokens: too few to answer with {longest}"
            )

    def text(self, seen: Perceived) -> str:
        """In the template, and no longer than fits."""
        room = self.context - self.longest - len(self._ids("", [], "?"))
        return "\n".join(thinned(textualised(seen), room, self._count))

    def _count(self, text: str) -> int:
        return len(self.tokenizer.encode(f"{text}\n", add_special_tokens=False))

    def _ids(self, told: str, turns: Sequence[Turn], question: str) -> list[int]:
        messages = [{"role": "system", "content": SYSTEM.format(told)}]
        for turn in turns:
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
        messages.append({"role": "user", "content": question})
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def answer(self, seen: Perceived, question: str, history: Sequence[Turn]) -> Iterator[str]:
        """A greedily written answer."""
        taken = len(self._ids("", [], question))
        one = len(self._ids("", [Turn("", "")], question)) - taken  # of the marks around a turn
        lines, turns = _fitted(
            textualised(seen), history, self.context - self.longest - taken, self._count,
            lambda turn: one + self._count(turn.question) + self._count(turn.answer),
        )  # fmt: skip
        ids = self._ids("\n".join(lines), turns, question)
        options, tokens = Options(self.longest, end=self._ends()), torch.tensor([ids])  # (1, L)
        return trimmed(stream_text(self.model, tokens, options, tokenizer=_Words(self.tokenizer)))

    def _ends(self) -> tuple[int, ...]:
        given = self.model.model.generation_config.eos_token_id
        several = given if isinstance(given, list) else [given]
        own = [self.tokenizer.eos_token_id]
        return tuple(dict.fromkeys(i for i in [*several, *own] if i is not None))


class _Words:
    """A tokenizer of transformers' as the generating code asks one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)
