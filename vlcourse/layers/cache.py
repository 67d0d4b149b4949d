"""The key–value cache of a decoder: what the past costs in memory, so as not to cost time again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vlcourse import VlcourseError


class CacheFull(VlcourseError, ValueError):
    """More positions than the cache was made for."""


class LayerCache:
    """Keys and values of one layer, in memory that was allocated for the whole text.

    Attributes:
        keys, values: (B, heads, S, head width); the first ``length`` of the S places are filled.
        length: positions so far.
        context: keys and values of the cross-attention, or of an adapter's prompts, made once, or
            None. They may be of fewer rows, each for several texts one after the other.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.length = 0
        self.context: tuple[Tensor, Tensor] | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add L new positions, (B, heads, L, width) each; returns all so far, without a copy.

        Raises:
            CacheFull: when they do not fit.
        """
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise CacheFull(
                f"the cache has room for {self.keys.shape[2]} positions, not {end}: make it longer"
            )
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """The layers' caches, and which positions are text rather than padding.

    Attributes:
        layers: one :class:`LayerCache` a block.
        mask: (B, S) bool, True = may be attended to; None while no row has padding.
        context_mask: (B, 1, 1, S') bool for the cross-attention's context, or None.

    Args:
        layers: number of blocks.
        batch: rows.
        heads: heads of the keys and values.
        length: most positions.
        width: channels of a head.
        like: a tensor whose type and device the cache takes.
    """

    def __init__(
        self, layers: int, batch: int, heads: int, length: int, width: int, like: Tensor
    ) -> None:
        shape = (batch, heads, length, width)
        self.layers = [
            LayerCache(like.new_empty(shape), like.new_empty(shape)) for _ in range(layers)
        ]
        self.device = like.device
        self.mask: Tensor | None = None
        self.context_mask: Tensor | None = None
        self._source = torch.arange(batch, device=like.device)  # (rows,) which context each has

    @property
    def length(self) -> int:
        """Positions filled so far, padding included."""
        return self.layers[0].length

    def add_mask(self, mask: Tensor | None, batch: int, length: int) -> Tensor | None:
        """Note which of ``length`` new positions are text; returns (B, S) for all, or None.

        Call it before the layers are extended.
        """
        if mask is None and self.mask is None:
            return None
        old, new, device = self.mask, mask, self.device
        if old is None:
            old = torch.ones(batch, self.length, dtype=torch.bool, device=device)
        if new is None:
            new = torch.ones(batch, length, dtype=torch.bool, device=device)
        self.mask = torch.cat([old, new.to(device)], dim=1)
        return self.mask

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may come several times (beams) or never.

        A context stays as it is, and alone, while as many rows as of any other have it, one after
        the other: a prompt's beams.
        """
        held = [layer.context[0] for layer in self.layers if layer.context is not None]
        if held:
            self._select_contexts(self._source[rows], len(held[0]))
        for layer in self.layers:
            filled = layer.keys[:, :, : layer.length], layer.values[:, :, : layer.length]
            if len(rows) == len(layer.keys):  # in place: the memory stays the same
                for whole, part in zip((layer.keys, layer.values), filled, strict=True):
                    whole[:, :, : layer.length] = part[rows]
            else:
                layer.keys, layer.values = (
                    _grown(part[rows], layer.keys.shape[2]) for part in filled
                )
        if self.mask is not None:
            self.mask = self.mask[rows]

    def _select_contexts(self, source: Tensor, count: int) -> None:
        one_by_one = torch.arange(count, device=source.device)
        if torch.equal(source, one_by_one.repeat_interleave(len(source) // count)):
            self._source = source
            return
        for layer in self.layers:
            if layer.context is not None:
                layer.context = (layer.context[0][source], layer.context[1][source])
        if self.context_mask is not None:
            self.context_mask = self.context_mask[source]
        self._source = torch.arange(len(source), device=source.device)


class Started(NamedTuple):
    """A decoder that has read its prompt: what a model's ``start`` returns.

    Attributes:
        logits: (B, V) of the next token.
        cache: for the model's ``step``; anything with a ``select(rows)``.
        tokens: (B, P) ids that the decoder has read, -1 for padding; P may be 0.
    """

    logits: Tensor
    cache: KVCache
    tokens: Tensor


def _grown(part: Tensor, length: int) -> Tensor:
    """(B, heads, L, width) at the beginning of new memory for ``length`` positions."""
    whole = part.new_empty(*part.shape[:2], length, part.shape[3])
    whole[:, :, : part.shape[2]] = part
    return whole
