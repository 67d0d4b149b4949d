"""BLIP's MED, a mixture of encoder and decoder: one BERT that reads, looks and writes.

Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training…", figure 2 and section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.layers import masks
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.states import attention_weights, block_states
from vlcourse.models.med_config import SHARING, MEDConfig
from vlcourse.models.med_parts import Embedding, LMHead, MEDBlock, bert_normal


def switch_first(tokens: Tensor, id: int, mask: Tensor | None = None) -> Tensor:
    """Overwrite each text's first token, [CLS], with the token that says what to do.

    Args:
        tokens: (B, L) ids.
        id: [ENC] or [DEC].
        mask: (B, L) bool, where padding may stand on the left; None: the first token is at 0.

    Returns:
        (B, L), a new tensor.
    """
    if mask is None:
        return torch.cat([torch.full_like(tokens[:, :1], id), tokens[:, 1:]], dim=1)
    first = mask.int().argmax(dim=1, keepdim=True)  # (B, 1), the first True
    return tokens.scatter(1, first, id)


class MED(nn.Module):
    """One text Transformer in three modes: :meth:`encode`, :meth:`ground`, :meth:`decode`.

    Texts are ``[CLS] w … [SEP]``, padded on the right with any id; masks are True where there is
    text. A mode overwrites [CLS] as it needs.

    Args:
        config: shape and ids.
        unimodal: build only what :meth:`encode` needs, for a momentum encoder; under equal names.
    """

    def __init__(self, config: MEDConfig, unimodal: bool = False) -> None:
        super().__init__()
        c = config
        self.config = c
        shared = SHARING[c.sharing]
        sources = None if unimodal else (c.image_width, c.writer_source)
        words = (c.vocab_size, c.context, c.width, c.norm_eps)
        if c.reads:
            self.reading = Embedding(*words)
        self.blocks = nn.ModuleList(
            MEDBlock(c.width, c.heads, c.mlp_hidden, c.norm_eps, sources, shared, c.roles)
            for _ in range(c.layers)
        )
        if c.writes and not unimodal:
            one = c.reads and "embedding" in shared
            self.writing = self.reading if one else Embedding(*words)
            self.head = LMHead(self.writing.token, c.norm_eps, c.tied)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """BERT's (:func:`vlcourse.models.med_parts.bert_normal`)."""
        bert_normal(self, self.config.width)

    def encode(
        self, tokens: Tensor, mask: Tensor | None = None, *, only_first: bool = False
    ) -> Tensor:
        """Read a text alone: (B, L) ids, (B, L) bool → (B, L, D); the text's state is at 0.

        With ``only_first`` the last block computes this one only: (B, 1, D).
        """
        self._need("reader", "reads nothing")
        x, seen = self.reading(tokens), readable(mask)
        for i, block in enumerate(self.blocks, start=1):
            x = block(x, seen, only_first=only_first and i == len(self.blocks))
        return x

    def ground(
        self,
        tokens: Tensor,
        image_tokens: Tensor,
        mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        *,
        rows: Tensor | None = None,
        cls_for_enc: bool = False,
        only_first: bool = False,
    ) -> Tensor:
        """Read a text while looking at an image; the pair's state is at [ENC], position 0.

        Args:
            tokens: (B, L) ids; [CLS] becomes [ENC].
            image_tokens: (M, N, C).
            mask: (B, L) bool.
            image_mask: (M, N) bool.
            rows: (B,) which of the M images each text looks at; None: its own, and M = B. The
                keys and values of an image are computed once, however many texts look at it.
            cls_for_enc: leave [CLS] where it is, as transformers does in its matching head.
            only_first: the last block computes the pair's state only.

        Returns:
            (B, L, D), or (B, 1, D).
        """
        self._need("reader", "reads nothing")
        x = self.reading(tokens if cls_for_enc else switch_first(tokens, self.config.enc))
        seen, context_mask = readable(mask), _of_rows(readable(image_mask), rows)
        for i, block in enumerate(self.blocks, start=1):
            x = block(
                x, seen, context=image_tokens, context_mask=context_mask, rows=rows,
                only_first=only_first and i == len(self.blocks),
            )  # fmt: skip
        return x

    def decode(
        self,
        tokens: Tensor,
        image_tokens: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        image_mask: Tensor | None = None,
        *,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Write a text while looking at an image: position t knows the tokens up to t.

        Args:
            tokens: (B, L) ids; the first token becomes [DEC]. With a cache that has some already,
                only the newest.
            image_tokens: (M, N, C); None when the cache has looked at them.
            mask: (B, L) bool, for padding on the left. On the right none is needed: nobody looks
                ahead.
            cache: from :meth:`new_cache`; ``tokens`` are added to it.
            image_mask, rows: as in :meth:`ground`.

        Returns:
            (B, L, D) final states, before :meth:`lm_logits`.
        """
        self._need("writer", "writes nothing")
        batch, length = tokens.shape
        past = cache.length if cache else 0
        seen = cache.add_mask(mask, batch, length) if cache else mask
        if past == 0:
            tokens = switch_first(tokens, self.config.dec, mask)
        allowed, causal = masks.decoder(seen, past, length, tokens.device)
        context_mask = _of_rows(readable(image_mask), rows)
        if cache and image_tokens is not None:
            cache.context_mask = context_mask
        elif cache:
            context_mask = cache.context_mask
        x = self.writing(tokens, seen, past)
        for i, block in enumerate(self.blocks):
            x = block(
                x, allowed, writes=True, causal=causal, context=image_tokens,
                context_mask=context_mask, rows=rows, cache=cache.layers[i] if cache else None,
            )  # fmt: skip
        return x

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """(…, D) states of :meth:`decode` → (…, V) logits of the next token."""
        return self.head(hidden)

    def states(self, run: Callable[[], Any]) -> tuple[Tensor, ...]:
        """(B, L, D) after each block while ``run()`` runs: ``lambda: med.encode(…)``, say."""
        return block_states(self.blocks, run)

    def cross_attention(self, run: Callable[[], Any]) -> Tensor:
        """Where each token looks in the image while ``run()`` runs one of the two modes that look.

        Returns:
            (layers, B, heads, L, N); each row sums to 1.
        """
        found = attention_weights(self, run)
        return torch.stack([each for name, each in found.items() if name.endswith(".cross")])

    def _need(self, role: str, lacks: str) -> None:
        if self.config.roles not in ("both", role):
            raise ModelError(f"this MED has no {role}, it {lacks}: take one whose roles are both")

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``batch`` rows of up to ``length`` positions."""
        c = self.config
        like = self.writing.token.weight
        return KVCache(c.layers, batch, c.heads, length, c.width // c.heads, like=like)

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
            ModelError: when the text may become longer than the context.
        """
        self._need("writer", "writes nothing")
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
        hidden = self.decode(tokens, image_tokens, mask, cache, image_mask)
        read = switch_first(tokens, c.dec, mask)
        read = read if mask is None else read.masked_fill(~mask, -1)
        return Started(self.head(hidden[:, -1]), cache, read)

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.head(self.decode(tokens, cache=cache)[:, -1])


def readable(mask: Tensor | None) -> Tensor | None:
    """(B, S) → (B, 1, 1, S). A row of padding only is read after all: softmax([]) is NaN."""
    return None if mask is None else (mask | ~mask.any(1, keepdim=True))[:, None, None, :]


def _of_rows(mask: Tensor | None, rows: Tensor | None) -> Tensor | None:
    return mask if mask is None or rows is None else mask[rows]
