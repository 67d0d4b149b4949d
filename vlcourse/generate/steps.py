"""What greedy decoding, sampling and beam search share: the options, the steps, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vlcourse.layers.cache import KVCache, Started


class Decoder(Protocol):
    """A model that can write."""

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


@dataclass(frozen=True)
class Options:
    """How to write; :func:`vlcourse.generate.loop.generate` explains each.

    Raises:
        ValueError: for a number out of its range, or two options that contradict each other.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    n_best: int = 1
    repetition_penalty: float = 1.0
    end: int | Sequence[int] | None = None
    stop: Sequence[str] = ()
    pad: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or more, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all tokens) or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.temperature == 0 and (self.top_k or self.top_p < 1):
            raise ValueError("top_k and top_p filter what is drawn: set a temperature, 1.0 say")
        if self.repetition_penalty <= 0:
            raise ValueError(
                "repetition_penalty must be above 0, and 1 does nothing; "
                f"it is {self.repetition_penalty}"
            )
        if self.beams < 1:
            raise ValueError(f"beams must be 1 or more, not {self.beams}")
        if not 1 <= self.n_best <= self.beams:
            raise ValueError(
                f"n_best must be between 1 and the {self.beams} beams, not {self.n_best}: "
                "a search finds as many texts as it has beams"
            )
        if self.beams > 1 and self.temperature:
            raise ValueError("beam search does not draw: leave the temperature at 0, or beams at 1")
        if isinstance(self.stop, str) or not all(self.stop):
            raise ValueError(f"stop must be strings that are not empty, ('.',) say: {self.stop!r}")

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a text."""
        if self.end is None:
            return ()
        return (self.end,) if isinstance(self.end, int) else tuple(self.end)

    @property
    def padding(self) -> int:
        """What stands after the end: ``pad``, or else the first end id, or else 0."""
        return self.pad if self.pad is not None else (*self.ends, 0)[0]


class Steps:
    """A model at work: the logits of the next token, again and again.

    Args:
        model: what writes.
        tokens, mask, conditions: handed to its ``start``.
        new_tokens: most steps.
        use_cache: without, every step reads the prompt and all that was written again.

    Attributes:
        logits: (B, V) of the next token.
        prompt: (B, P) ids the decoder had read before the first step, -1 for padding.
    """

    def __init__(
        self,
        model: Decoder,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        use_cache: bool,
        conditions: dict[str, Any],
    ) -> None:
        self._model, self._use_cache = model, use_cache
        self._inputs, self._conditions = (tokens, mask, new_tokens), conditions
        self.logits, self._cache, self.prompt = self._start()
        # Without a cache: what was written, and which row of the prompt it goes on from.
        self._written = self.prompt.new_empty(len(self.logits), 0)
        self._rows = torch.arange(len(self.logits), device=self.logits.device)

    def _start(self) -> tuple[Tensor, KVCache, Tensor]:
        return self._model.start(*self._inputs, **self._conditions)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may come several times, or never."""
        self.logits, self.prompt = self.logits[rows], self.prompt[rows]
        self._written, self._rows = self._written[rows], self._rows[rows]
        if self._use_cache:
            self._cache.select(rows)

    def next(self, tokens: Tensor) -> None:
        """Read the newest (B,) tokens; ``logits`` are then of those that follow."""
        if self._use_cache:
            self.logits = self._model.step(tokens[:, None], self._cache)
            return
        self._written = torch.cat([self._written, tokens[:, None]], dim=1)
        cache = self._start()[1]
        cache.select(self._rows)
        self.logits = self._model.step(self._written, cache)


class Ends:
    """When a text is over: at an end id, or where a stop string has been completed.

    A text is searched for stop strings near its end only, so that the work for each token does not
    grow with the text.

    Raises:
        ValueError: for stop strings without a tokenizer.
    """

    def __init__(self, options: Options, tokenizer: Tokenizer | None) -> None:
        if options.stop and tokenizer is None:
            raise ValueError("stop strings are found in the text: give the tokenizer as well")
        self.ids, self.stop, self.tokenizer = options.ends, tuple(options.stop), tokenizer
        # A token has a byte or more; some more tokens, for the few (control tokens) that have none.
        self._window = 8 + max((len(s.encode()) for s in self.stop), default=0)

    def reached(self, tokens: Tensor, over: Tensor | None = None) -> Tensor:
        """Which texts the newest token ends: (R, T) new tokens → (R,) bool.

        Rows where ``over`` is true were so before, and are not looked at again.
        """
        newest = tokens[:, -1]
        found = torch.zeros_like(newest, dtype=torch.bool)
        for i in self.ids:
            found |= newest == i
        if self.stop:
            known = found if over is None else found | over
            rows = (~known).nonzero().flatten().tolist()
            found[[row for row in rows if self._stops(tokens[row])]] = True
        return found

    def _stops(self, tokens: Tensor) -> bool:
        assert self.tokenizer is not None
        near = self.tokenizer.decode(tokens[-self._window :].tolist())
        if not any(stop in near for stop in self.stop):
            return False
        # The beginning of a piece of text can read differently than in the whole: make sure.
        text = self.tokenizer.decode(tokens.tolist())
        return any(stop in text for stop in self.stop)

    def text(self, tokens: list[int], tokenizer: Tokenizer) -> str:
        """The text before its end id or first stop string."""
        last = min((tokens.index(i) for i in self.ids if i in tokens), default=len(tokens))
        text = tokenizer.decode(tokens[:last])
        cuts = [text.find(stop) for stop in self.stop]
        return text[: min((cut for cut in cuts if cut >= 0), default=len(text))]
