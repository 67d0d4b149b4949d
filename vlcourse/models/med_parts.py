"""What BLIP's MED is built of: BERT's embedding and head, and a block in two roles."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers import masks
from vlcourse.layers.attention import Attention
from vlcourse.layers.block import MLP
from vlcourse.layers.cache import LayerCache
from vlcourse.layers.errors import ModelError


def bert_normal(model: nn.Module, width: int) -> None:
    """BERT's N(0, 0.02²) at its width of 768; at another width N(0, 0.02² · 768 / width).

    For all that has two axes; the biases of linear maps become 0.
    """
    for parameter in model.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.02 * (768 / width) ** 0.5)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


class Embedding(nn.Module):
    """LN(token + position). BERT's third summand, the segment, is left out in BLIP."""

    def __init__(self, vocab_size: int, context: int, width: int, eps: float) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, tokens: Tensor, seen: Tensor | None = None, past: int = 0) -> Tensor:
        """(B, L) ids → (B, L, D); ``seen`` as in :func:`vlcourse.layers.masks.positions`.

        Raises:
            ModelError: when the text is longer than the context.
        """
        length = tokens.shape[1]
        if past + length > len(self.positions):
            raise ModelError(
                f"a text has {past + length} tokens, this model takes {len(self.positions)}: "
                "truncate it"
            )
        places = masks.positions(seen, past, length, tokens.device)  # (L,) or (B, L)
        return self.norm(self.token(tokens) + F.embedding(places, self.positions))


def cross_block(
    x: Tensor,
    context: Tensor | tuple[Tensor, Tensor],
    attention: Attention,
    norm: nn.LayerNorm,
    mask: Tensor | None = None,
) -> Tensor:
    """LN(x + attention(x, context)): each text token asks the image, and adds what it hears.

    Args:
        x: (B, L, D) text states.
        context: (B, N, C) image tokens, or the keys and values that ``attention`` makes of them.
        attention: queries from the text, keys and values from the image.
        norm: after the sum, as everywhere in BERT (post-norm).
        mask: (B, 1, 1, N) bool, False for image tokens that are padding.

    Returns:
        (B, L, D).
    """
    return norm(x + attention(x, context, mask))


class Role(nn.Module):
    """One way through a block: self-attention, cross-attention, MLP; a LayerNorm after each.

    Args:
        width, heads, hidden, eps: of the vectors, the attentions, the MLP, the norms.
        source: size of the vectors that the cross-attention looks at; 0 for no cross-attention.
        twin: the other role, of which this one takes the parts named in ``shared``.
        shared: some of "attention", "cross", "mlp"; each with its norm.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        eps: float,
        source: int,
        twin: Role | None = None,
        shared: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.attention: Attention
        self.norm_attention: nn.LayerNorm
        self.cross: Attention
        self.norm_cross: nn.LayerNorm
        self.mlp: MLP
        self.norm_mlp: nn.LayerNorm
        if twin and "attention" in shared:
            self.attention, self.norm_attention = twin.attention, twin.norm_attention
        else:
            self.attention = Attention(width, heads)
            self.norm_attention = nn.LayerNorm(width, eps)
        if twin and "cross" in shared:
            self.cross, self.norm_cross = twin.cross, twin.norm_cross
        elif source:
            self.cross = Attention(width, heads, context_width=source)
            self.norm_cross = nn.LayerNorm(width, eps)
        if twin and "mlp" in shared:
            self.mlp, self.norm_mlp = twin.mlp, twin.norm_mlp
        else:
            self.mlp = MLP(width, hidden)
            self.norm_mlp = nn.LayerNorm(width, eps)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        causal: bool,
        context: Tensor | None,
        context_mask: Tensor | None,
        rows: Tensor | None,
        cache: LayerCache | None,
        only_first: bool,
    ) -> Tensor:
        """As :meth:`MEDBlock.forward`."""
        asks = x[:, :1] if only_first else x
        x = self.norm_attention(asks + self.attention(asks, x, mask, causal, cache=cache))
        looked = cache.context if cache else None
        if looked is None and context is not None:
            looked = self.cross.keys_values(context)  # (M, heads, N, head width) each
            if rows is not None:
                looked = (looked[0][rows], looked[1][rows])  # (B, heads, N, head width)
            if cache:
                cache.context = looked
        if looked is not None:
            x = cross_block(x, looked, self.cross, self.norm_cross, context_mask)
        return self.norm_mlp(x + self.mlp(x))


class MEDBlock(nn.Module):
    """A block in its two roles: one whose tokens see each other, one whose tokens look back only.

    What they share is one and the same module. By default only the self-attentions (with their
    output projection and norm) are two: to take a text in is another task than to go on with it,
    while looking at the image and digesting it are alike in both (section 3.2).

    Args:
        width, heads, hidden, eps, shared: as for :class:`Role`.
        sources: sizes of what the reader and the writer look at; None builds a reader alone, which
            looks at nothing.
        roles: which of the two there are: "both", "reader" or "writer".
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        eps: float,
        sources: tuple[int, int] | None,
        shared: frozenset[str],
        roles: str = "both",
    ) -> None:
        super().__init__()
        shape = (width, heads, hidden, eps)
        if roles != "writer":
            self.reader = Role(*shape, sources[0] if sources else 0)
        if sources and roles != "reader":
            twin = self.reader if roles == "both" else None
            self.writer = Role(*shape, sources[1], twin, shared)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        writes: bool = False,
        causal: bool = False,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        rows: Tensor | None = None,
        cache: LayerCache | None = None,
        only_first: bool = False,
    ) -> Tensor:
        """One block.

        Args:
            x: (B, L, D).
            mask, causal: for the self-attention, as :class:`Attention` takes them.
            writes: in which role.
            context: (M, N, C) image tokens; None for none.
            context_mask: (B, 1, 1, N) bool.
            rows: (B,) which of the M images each text looks at; None: its own, and M = B.
            cache: the positions before ``x``, and the keys and values of the images.
            only_first: of the first position only.

        Returns:
            (B, L, D), or (B, 1, D).
        """
        role = self.writer if writes else self.reader
        return role(x, mask, causal, context, context_mask, rows, cache, only_first)


class LMHead(nn.Module):
    """BERT's: dense, GELU, LayerNorm, then the product with each token's vector, and a bias.

    Args:
        token: the vectors.
        eps: of the norm.
        tied: whether it multiplies with these vectors, or with others of the same shape.
    """

    def __init__(self, token: nn.Embedding, eps: float, tied: bool = True) -> None:
        super().__init__()
        vocab_size, width = token.weight.shape
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps)
        self.out = nn.Linear(width, vocab_size)
        if tied:
            self.out.weight = token.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, D) → (…, V) logits."""
        return self.out(self.norm(F.gelu(self.dense(hidden))))
