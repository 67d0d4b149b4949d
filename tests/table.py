"""The smallest model that can write, and the smallest tokenizer, for the tests of generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.layers.cache import Started


class Table(nn.Module):
    """A model that needs nothing but the protocol: the next token depends on the last one only."""

    class Cache:
        """Nothing to remember."""

        mask = None  # no padding

        def select(self, rows: Tensor) -> None:
            """Keep rows."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)  # (V, V) logits
        self.calls: list[Any] = []

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self.rows.shape[1]

    def start(self, tokens: Tensor, mask: Any, new_tokens: int, *, shift: float = 0.0) -> Started:
        """Read the prompt."""
        self.calls.append((new_tokens, shift, self.training, torch.is_grad_enabled()))
        return Started(self.rows[tokens[:, -1]] + shift, self.Cache(), tokens)  # type: ignore[arg-type]

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        """The next token's logits."""
        return self.rows[tokens[:, -1]]


class Letters:
    """Ids that are pieces of UTF-8: bytes, and some longer ones."""

    pieces = [bytes([b]) for b in range(256)] + [b"stop", b"st", b"op", b"", b" the"]

    def decode(self, ids: Sequence[int]) -> str:
        """The text; a piece of a character reads as U+FFFD."""
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", errors="replace")
