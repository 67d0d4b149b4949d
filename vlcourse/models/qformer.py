"""The Q-Former: a few learned queries that ask an image what a language model should know of it.

Li et al. 2023, "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and
Large Language Models", section 3.1 and figure 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.layers import masks
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.states import attention_weights, block_states
from vlcourse.models.med import readable, switch_first
from vlcourse.models.med_parts import Embedding, LMHead, bert_normal
from vlcourse.models.qformer_block import QFormerBlock
from vlcourse.models.qformer_config import QFormerConfig


class QFormer(nn.Module):
    """Queries and text in one Transformer; only queries look at the image, in every second block.

    ``forward`` has both side by side, under one of the masks of
    :mod:`vlcourse.models.qformer_masks`. The other methods give the same with less work:
    :meth:`look` and :meth:`read` are the two halves of the unimodal one, :meth:`decode` the text's
    half of the causal one, :meth:`ground` the bidirectional one.

    Texts are ``[CLS] w … [SEP]``, padded on the right with any id; masks are True where there is
    text. Text positions are counted from 0, queries have none.

    Attributes:
        queries: (Q, D).
        norm: of the embeddings, one for queries and text.
    """

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.queries = nn.Parameter(torch.empty(c.queries, c.width))
        self.norm = nn.LayerNorm(c.width, c.norm_eps)
        if c.reads:
            self.words = Embedding(c.vocab_size, c.context, c.width, c.norm_eps)
            self.words.norm = self.norm
        self.blocks = nn.ModuleList(
            QFormerBlock(
                c.width, c.heads, c.mlp_hidden, c.norm_eps,
                c.image_width if i % c.cross_every == 0 else 0, c.reads,
            )
            for i in range(c.layers)
        )  # fmt: skip
        if c.writes:
            self.head = LMHead(self.words.token, c.norm_eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """BERT's, for the queries as well. (The paper begins from BERT's weights, and copies its
        MLPs for the queries.)"""
        bert_normal(self, self.config.width)

    def forward(
        self,
        image_tokens: Tensor,
        tokens: Tensor,
        allowed: Tensor,
        mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> Tensor:
        """Queries and text side by side: figure 2.

        Args:
            image_tokens: (B, N, C).
            tokens: (B, L) ids.
            allowed: (B, 1, Q + L, Q + L) bool, who may look at whom.
            mask: (B, L) bool, where padding may stand on the left, for the positions.
            image_mask: (B, N) bool.

        Returns:
            (B, Q + L, D), the queries first.
        """
        self._need("reads", "reads no text")
        x = torch.cat([self._asked(len(tokens)), self.words(tokens, mask)], dim=1)
        for block in self.blocks:
            x = block(
                x, self.config.queries, allowed, images=image_tokens,
                image_mask=readable(image_mask),
            )  # fmt: skip
        return x

    def look(
        self,
        image_tokens: Tensor,
        image_mask: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """What the queries see of (B, N, C) image tokens; ``image_mask``: (B, N) bool.

        With ``extra``, (E, D) queries of somebody else that come after its own, Q is all of them.

        Returns:
            (B, Q, D) before each block, and after the last one: the last is the answer, the others
            are what a text looks at (:meth:`decode`).
        """
        states = [self._asked(len(image_tokens), extra)]
        count, seen = states[0].shape[1], readable(image_mask)
        for block in self.blocks:
            states.append(block(states[-1], count, images=image_tokens, image_mask=seen))
        return tuple(states)

    def read(
        self, tokens: Tensor, mask: Tensor | None = None, *, only_first: bool = False
    ) -> Tensor:
        """Read a text alone: (B, L) ids, (B, L) bool → (B, L, D); the text's state is at 0.

        With ``only_first`` the last block computes this one only: (B, 1, D).
        """
        self._need("reads", "reads no text")
        x, seen = self.words(tokens), readable(mask)
        for i, block in enumerate(self.blocks, start=1):
            x = block(x, 0, seen, keep=1 if only_first and i == len(self.blocks) else None)
        return x

    def ground(
        self,
        image_tokens: Tensor,
        tokens: Tensor,
        mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        *,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Queries that see a text and an image at once; the text sees the queries, too.

        Args:
            image_tokens: (M, N, C).
            tokens, mask: (B, L) ids, and bool.
            image_mask: (M, N) bool.
            rows: (B,) which of the M images each text goes with; None: its own, and M = B. The
                keys and values of an image are computed once, however many texts go with it.

        Returns:
            (B, Q, D): the queries' states.
        """
        self._need("reads", "reads no text")
        count = self.config.queries
        seen = None if mask is None else readable(_after(count, mask))  # (B, 1, 1, Q + L)
        if image_mask is not None and rows is not None:
            image_mask = image_mask[rows]
        x = torch.cat([self._asked(len(tokens)), self.words(tokens)], dim=1)  # (B, Q + L, D)
        for i, block in enumerate(self.blocks, start=1):
            x = block(
                x, count, seen, images=image_tokens, image_mask=readable(image_mask), rows=rows,
                keep=count if i == len(self.blocks) else None,
            )  # fmt: skip
        return x

    def decode(
        self,
        tokens: Tensor,
        looked: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Write a text about what the queries saw: position t knows them, and the tokens up to t.

        Args:
            tokens: (B, L) ids; the first token becomes [DEC]. With a cache that has some already,
                only the newest.
            looked: what :meth:`look` gave; None when the cache has it.
            mask: (B, L) bool, for padding on the left. On the right none is needed: nobody looks
                ahead.
            cache: from :meth:`new_cache`; ``looked`` and ``tokens`` are added to it.

        Returns:
            (B, L, D) final states, before ``head``.

        Raises:
            ModelError: without a head, or when there is neither ``looked`` nor a cache of it.
        """
        self._need("writes", "writes nothing")
        count, (batch, length) = self.config.queries, tokens.shape
        past = cache.length if cache else 0  # queries included
        if (looked is None) == (past == 0):
            raise ModelError("a text is written about what look() gave, or goes on from its cache")
        if looked is not None:
            tokens = switch_first(tokens, self.config.dec, mask)
        new = _after(count, mask) if mask is not None and looked is not None else mask
        added = length if looked is None else count + length
        seen = cache.add_mask(new, batch, added) if cache else new  # (B, past + added)
        before = past + added - length  # positions before the newest tokens
        allowed, causal = masks.decoder(seen, before, length, tokens.device)
        text_seen = None if seen is None else seen[:, count:]
        x = self.words(tokens, text_seen, before - count)
        for i, block in enumerate(self.blocks):
            x = block(
                x, 0, allowed, causal=causal, prefix=looked[i] if looked is not None else None,
                cache=cache.layers[i] if cache else None,
            )  # fmt: skip
        return x

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``batch`` rows of the queries and up to ``length`` tokens."""
        c = self.config
        return KVCache(
            c.layers, batch, c.heads, c.queries + length, c.width // c.heads, like=self.queries
        )

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config.vocab_size

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        image_tokens: Tensor,
        image_mask: Tensor | None = None,
    ) -> Started:
        """Look at the images, read a prompt, make room for ``new_tokens``.

        Args:
            tokens: (B, P) ids of the prompt, whose first becomes [DEC]; None: [DEC] is the prompt.
            mask: (B, P) bool, False for padding, which is on the left.
            new_tokens: how many will be written.
            image_tokens, image_mask: (B, N, C) and (B, N).

        Raises:
            ModelError: when the text may become longer than the context, or has not one prompt for
                each image.
        """
        self._need("writes", "writes nothing")
        c, batch = self.config, len(image_tokens)
        if tokens is None:
            tokens = torch.full((batch, 1), c.dec, device=image_tokens.device)
            mask = None
        elif len(tokens) != batch:
            raise ModelError(f"there are {len(tokens)} prompts for {batch} images: give one each")
        if mask is not None and mask.all():
            mask = None
        length = tokens.shape[1]
        if length + new_tokens - 1 > c.context:  # nobody reads the last one
            raise ModelError(
                f"a prompt of {length} tokens and {new_tokens} new ones do not fit into the "
                f"context of {c.context}: write fewer"
            )
        cache = self.new_cache(batch, length + new_tokens)
        hidden = self.decode(tokens, self.look(image_tokens, image_mask), mask, cache)
        read = switch_first(tokens, c.dec, mask)
        read = read if mask is None else read.masked_fill(~mask, -1)
        return Started(self.head(hidden[:, -1]), cache, read)

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.head(self.decode(tokens, cache=cache)[:, -1])

    def states(self, run: Callable[[], Any]) -> tuple[Tensor, ...]:
        """What each block gives while ``run()`` runs: ``lambda: qformer.look(…)``, say."""
        return block_states(self.blocks, run)

    def cross_attention(self, run: Callable[[], Any]) -> Tensor:
        """Where each query looks in the image while ``run()`` runs: (looking blocks, B, heads, Q,
        N); each row sums to 1."""
        found = attention_weights(self, run)
        return torch.stack([each for name, each in found.items() if name.endswith(".cross")])

    def _asked(self, batch: int, extra: Tensor | None = None) -> Tensor:
        queries = self.queries if extra is None else torch.cat([self.queries, extra])
        return self.norm(queries).expand(batch, -1, -1)  # (B, Q, D)

    def _need(self, what: str, lacks: str) -> None:
        if not (self.config.writes if what == "writes" else self.config.reads):
            raise ModelError(f"this Q-Former {lacks}: its text is {self.config.text!r}")


def _after(queries: int, mask: Tensor) -> Tensor:
    """(B, L) → (B, Q + L): the queries are always seen."""
    return torch.cat([mask.new_ones(len(mask), queries), mask], dim=1)
