"""What greedy decoding, sampling and beam search share: a model at work, and the end of a text."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vlcourse.generate.options import GenerateError as GenerateError
from vlcourse.generate.options import Options as Options
from vlcourse.generate.prompts import check_ids, check_prompt, check_started
from vlcourse.layers.cache import Started
from vlcourse.layers.frozen import evaluating


class Decoder(Protocol):
    """A model that can write."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...

    def start(self, *prompt: Any, **conditions: Any) -> Started:
        """``start(tokens, mask, new_tokens, **conditions)``: read a prompt, and make room."""
        ...

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows; they join the cache."""
        ...


class Tokenizer(Protocol):
    """Ids and text."""

    def decode(self, ids: list[int]) -> str:
        """The text of some ids."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A tokenizer that knows how many ids it has; it is compared with the model's number."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...


def eval_mode(model: Decoder) -> AbstractContextManager[None]:
    """Eval mode meanwhile, of a model that has modes."""
    return evaluating(model) if isinstance(model, nn.Module) else nullcontext()


class Steps:
    """A model at work: the logits of the next token, again and again.

    Args:
        model: what writes.
        tokens, mask, conditions: handed to its ``start``.
        options: how to write.
        tokenizer: whose ids are written, where it is known.
        use_cache: without, every step reads the prompt and all that was written again.

    Attributes:
        logits: (B, V) of the next token; only of the ids that the tokenizer has.
        prompt: (B, P) ids the decoder had read before the first step, -1 for padding.
        goes_on: whether these are the prompt that was given: the text then goes on from it. (An
            encoder–decoder begins a new text.)

    Raises:
        GenerateError: for a prompt that cannot be read, a tokenizer of another model, or ids in the
            options that the model does not have.
    """

    def __init__(
        self,
        model: Decoder,
        tokens: Tensor | None,
        mask: Tensor | None,
        options: Options,
        tokenizer: Tokenizer | None,
        use_cache: bool,
        conditions: dict[str, Any],
    ) -> None:
        known = tokenizer.vocab_size if isinstance(tokenizer, Sized) else None
        check_ids(options, model.vocab_size, known)
        ids = model.vocab_size if known is None else known
        check_prompt(tokens, mask, conditions, ids)
        self._model, self._use_cache, self._known = model, use_cache, known
        self._inputs, self._conditions = (tokens, mask, options.max_new_tokens), conditions
        started = self._start()
        check_started(started)
        logits, self._cache, self.prompt = started
        self.logits = logits[:, :known]
        read = self.prompt
        self.goes_on = tokens is not None and read.shape == tokens.shape
        self.goes_on = self.goes_on and bool(((read == tokens) | (read < 0)).all())
        # Without a cache: what was written, and which row of the prompt it goes on from.
        self._written = self.prompt.new_empty(len(self.logits), 0)
        self._rows = torch.arange(len(self.logits), device=self.logits.device)

    def _start(self) -> Started:
        return self._model.start(*self._inputs, **self._conditions)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may come several times, or never."""
        self.logits, self.prompt = self.logits[rows], self.prompt[rows]
        self._written, self._rows = self._written[rows], self._rows[rows]
        if self._use_cache:
            self._cache.select(rows)

    def next(self, tokens: Tensor) -> None:
        """Read the newest (B,) tokens; ``logits`` are then of those that follow."""
        read, cache = tokens[:, None], self._cache
        if not self._use_cache:
            read = self._written = torch.cat([self._written, read], dim=1)
            cache = self._start().cache
            cache.select(self._rows)
        self.logits = self._model.step(read, cache)[:, : self._known]


class Ends:
    """When a text is over: at an end id, or where a stop string has been completed.

    A text is searched for stop strings near its end only, so that the work for each token does not
    grow with the text.

    Args:
        options: the ids and strings that end a text.
        tokenizer: turns ids into text; needed for strings.
        prompt: (B, P) ids that the texts go on from, -1 for padding; None when they begin anew. A
            tokenizer such as LLaMA's leaves out the space before the first word of a text, and only
            there: prompt + text is the whole.

    Raises:
        GenerateError: for stop strings without a tokenizer.
    """

    def __init__(
        self, options: Options, tokenizer: Tokenizer | None, prompt: Tensor | None = None
    ) -> None:
        if options.stop and tokenizer is None:
            raise GenerateError("stop strings are found in the text: give the tokenizer as well")
        self.ids, self.stop, self.tokenizer = options.ends, tuple(options.stop), tokenizer
        # A token has a byte or more; some more tokens, for the few (control tokens) that have none.
        self._window = 8 + max((len(s.encode()) for s in self.stop), default=0)
        self.padding = options.padding
        # What stands before each prompt's text: some ids, enough for a whole character, and how
        # they read. Bytes at their end that are no character yet belong to the text.
        self._before: list[tuple[list[int], int]] = [([], 0)]
        if tokenizer is None:
            return
        if options.pad is None and not self.ids:
            self.padding = _silent(tokenizer)
        if prompt is not None:
            rows = ([i for i in row if i >= 0][-8:] for row in prompt.tolist())
            self._before = [(row, len(tokenizer.decode(row).rstrip(BROKEN))) for row in rows]

    def reached(self, tokens: Tensor, over: Tensor | None = None) -> Tensor:
        """Which texts the newest token ends: (R, T) new tokens → (R,) bool.

        R is B, or a multiple: several texts for each prompt, one after the other. Rows where
        ``over`` is true were so before, and are not looked at again.
        """
        newest = tokens[:, -1]
        found = torch.zeros_like(newest, dtype=torch.bool)
        for i in self.ids:
            found |= newest == i
        if self.stop:
            known = found if over is None else found | over
            rows = (~known).nonzero().flatten().tolist()
            each = len(tokens) // len(self._before)
            found[[row for row in rows if self._stops(tokens[row], row // each)]] = True
        return found

    def _stops(self, tokens: Tensor, prompt: int) -> bool:
        if len(tokens) > self._window:
            assert self.tokenizer is not None
            near = self.tokenizer.decode(tokens[-self._window :].tolist())
            if not any(stop in near for stop in self.stop):
                return False
            # The beginning of a piece of text can read differently than in the whole: make sure.
        text = self._decoded(tokens.tolist(), prompt)
        return any(stop in text for stop in self.stop)

    def _decoded(self, tokens: list[int], prompt: int) -> str:
        """The text of new ids, as it reads after the prompt."""
        assert self.tokenizer is not None
        before, length = self._before[min(prompt, len(self._before) - 1)]  # one: all begin anew
        return self.tokenizer.decode([*before, *tokens])[length:]

    def text(self, tokens: list[int], prompt: int = 0) -> str:
        """The text, after the prompt of this number, before its end id or first stop string."""
        last = min((tokens.index(i) for i in self.ids if i in tokens), default=len(tokens))
        text = self._decoded(tokens[:last], prompt)
        cuts = [text.find(stop) for stop in self.stop]
        return text[: min((cut for cut in cuts if cut >= 0), default=len(text))]

    def settled(self, text: str) -> str:
        """The part of a text that no further token changes.

        That is without an unfinished character, and without what may become a stop string.
        """
        text = text.rstrip(BROKEN)
        held = [n for stop in self.stop for n in range(1, len(stop)) if text.endswith(stop[:n])]
        return text[: len(text) - max(held, default=0)]


BROKEN = "\ufffd"  # how bytes that are no character, or not yet, are read


def _silent(tokenizer: Tokenizer) -> int:
    """An id without a text, for padding: tokenizers have control ids first or last. Else 0."""
    last = [tokenizer.vocab_size - 1] if isinstance(tokenizer, Sized) else []
    return next((i for i in (0, 1, 2, *last) if tokenizer.decode([i]) == ""), 0)
