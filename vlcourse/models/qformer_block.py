"""A block of the Q-Former: queries and text share the attention, and each side has its MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlcourse.layers.attention import Attention
from vlcourse.layers.block import MLP
from vlcourse.layers.cache import LayerCache
from vlcourse.models.med_parts import cross_block


class QFormerBlock(nn.Module):
    """Self-attention over [queries ‖ text]; queries look at the image; an MLP for each side.

    A LayerNorm after each (post-norm), as in BERT. Li et al. 2023, figure 2.

    Args:
        width, heads, hidden, eps: of the vectors, the attentions, the MLPs, the norms.
        source: size of the image tokens that the queries look at; 0 for a block that does not look.
        text: whether there is an MLP for the text.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, eps: float, source: int, text: bool
    ) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm_attention = nn.LayerNorm(width, eps)
        self.looks = source > 0
        if self.looks:
            self.cross = Attention(width, heads, context_width=source)
            self.norm_cross = nn.LayerNorm(width, eps)
        self.mlp_query = MLP(width, hidden)
        self.norm_query = nn.LayerNorm(width, eps)
        if text:
            self.mlp_text = MLP(width, hidden)
            self.norm_text = nn.LayerNorm(width, eps)

    def forward(
        self,
        x: Tensor,
        queries: int,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        images: Tensor | None = None,
        image_mask: Tensor | None = None,
        rows: Tensor | None = None,
        prefix: Tensor | None = None,
        cache: LayerCache | None = None,
        keep: int | None = None,
    ) -> Tensor:
        """One block.

        Args:
            x: (B, Q + L, D): Q queries, then L tokens of text; either may be absent.
            queries: Q.
            mask, causal: for the self-attention, as :class:`Attention` takes them.
            images: (M, N, C) image tokens.
            image_mask: (B, 1, 1, N) bool.
            rows: (B,) which of the M images each row looks at; None: its own, and M = B.
            prefix: (B, P, D) states of the same depth that are looked at, too, before ``x``.
            cache: keys and values of the positions before ``x``, and of its prefix.
            keep: compute the first so many positions only.

        Returns:
            (B, Q + L, D), or (B, keep, D).
        """
        others = x if prefix is None else torch.cat([prefix, x], dim=1)  # (B, P + Q + L, D)
        if keep is not None:
            x = x[:, :keep]
            mask = mask if mask is None or mask.shape[-2] == 1 else mask[..., :keep, :]
        x = self.norm_attention(x + self.attention(x, others, mask, causal, cache=cache))
        q, text = x[:, :queries], x[:, queries:]
        if not queries:
            return self._digest_text(text)
        if self.looks and images is not None:
            keys, values = self.cross.keys_values(images)  # (M, heads, N, head width) each
            if rows is not None:
                keys, values = keys[rows], values[rows]  # (B, heads, N, head width)
            q = cross_block(q, (keys, values), self.cross, self.norm_cross, image_mask)
        q = self.norm_query(q + self.mlp_query(q))
        return torch.cat([q, self._digest_text(text)], dim=1) if text.shape[1] else q

    def _digest_text(self, text: Tensor) -> Tensor:
        return self.norm_text(text + self.mlp_text(text))
