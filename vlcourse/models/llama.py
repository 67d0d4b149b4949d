"""LLaMA: a decoder-only Transformer with three changes (Touvron et al. 2023, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers import masks
from vlcourse.layers.around import Around
from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import RMSNorm, SwiGLU
from vlcourse.layers.cache import KVCache, LayerCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.rotary import rotations
from vlcourse.layers.states import block_states
from vlcourse.models.base import CONTEXT, EPS, HEADS, HIDDEN, LAYERS, VOCAB, WIDTH, Trainable
from vlcourse.models.presets import published


@dataclass(frozen=True)
class LLaMAConfig:
    """Shape of a LLaMA."""

    vocab_size: int = 32_000
    """Number of tokens."""
    width: int = 4096
    """Size of the token vectors."""
    layers: int = 32
    """Number of blocks."""
    heads: int = 32
    """Heads of the queries in each block."""
    kv_heads: int = 0
    """Heads of the keys and values; 0 means as many as of the queries, as in the paper."""
    hidden: int = 0
    """Hidden size of SwiGLU; 0 means the official one, 8/3 of the width rounded up to 256."""
    norm_eps: float = 1e-6
    """Added to the mean square in RMSNorm."""
    theta: float = 10_000.0
    """Base of the rotary wavelengths."""
    context: int = 2048
    """Longest text it is trained on, in tokens."""
    head_width: int = 0
    """Channels of one head; 0 means width / heads, as in the paper."""
    tied: bool = False
    """Whether the head is the embeddings' matrix, as in LLaMA 3.2's 1B and 3B."""
    rope_factor: float = 1.0
    """How much slower the rotations turn, so that longer texts fit; 1 changes nothing."""
    rope_context: int = 0
    """LLaMA 3.1's scaling: the context before it. 0 means that all rotations turn slower alike."""
    rope_low: float = 1.0
    """Rotations with fewer turns than this within ``rope_context`` are slowed down in full."""
    rope_high: float = 4.0
    """Rotations with more turns than this within ``rope_context`` stay as they are."""

    def __post_init__(self) -> None:
        check(self, vocab_size=VOCAB, width=WIDTH, layers=LAYERS, heads=HEADS)
        check(self, kv_heads=(0, self.heads), hidden=(0, HIDDEN[1]), context=CONTEXT)
        check(self, norm_eps=EPS, theta=(1, 1e12), head_width=(0, WIDTH[1]))
        check(self, rope_factor=(1, 65_536), rope_context=(0, 2**40), rope_low=(0, 65_536))
        check(self, rope_high=(math.nextafter(self.rope_low, math.inf), math.inf))
        if self.head_width % 2 or not self.head_width and head_channels(self.width, self.heads) % 2:
            size = f"{self.heads} heads of {self.channels} channels"
            raise ModelError(f"width {self.width} gives {size}: each head needs an even number")
        if self.heads % (self.kv_heads or self.heads):
            raise ModelError(f"{self.heads} heads cannot share kv_heads {self.kv_heads}")

    @property
    def channels(self) -> int:
        """Channels of one head."""
        return self.head_width or self.width // self.heads

    @property
    def ffn(self) -> int:
        """Hidden size of SwiGLU: 256 · ⌈⌊8 · width / 3⌋ / 256⌉ unless ``hidden`` says otherwise."""
        return self.hidden or 256 * -(-(8 * self.width // 3) // 256)

    def build(self) -> LLaMA:
        """A freshly initialised model of this shape."""
        return LLaMA(self)

    def adopt(self, model: LLaMA) -> LLaMA:
        """A trained model of this very shape; ModelError if it has another."""
        if model.config != self:
            raise ModelError("their models differ")
        return model

    @staticmethod
    def preset(name: str) -> LLaMAConfig:
        """The shape of a published model, by its name in :data:`PRESETS` or :data:`LLAMA3`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("LLaMA", name, PRESETS | LLAMA3)


# Touvron et al. 2023, table 2. The released 65B has norm_eps 1e-5, the others 1e-6.
PRESETS: dict[str, LLaMAConfig] = {
    name: LLaMAConfig(width=width, layers=layers, heads=heads, norm_eps=eps)
    for name, width, layers, heads, eps in (
        ("7B", 4096, 32, 32, 1e-6),
        ("13B", 5120, 40, 40, 1e-6),
        ("33B", 6656, 60, 52, 1e-6),
        ("65B", 8192, 80, 64, 1e-5),
    )
}

# The small ones of LLaMA 3, as their published files say. 3.1 was trained on texts of 8,192 tokens
# first and on 131,072 in the end (Grattafiori et al. 2024, section 3.4); 3.2 stands on it.
LLAMA3: dict[str, LLaMAConfig] = {
    name: LLaMAConfig(
        128_256, width, layers, heads, 8, hidden, 1e-5, 500_000.0, 131_072,
        tied=tied, rope_factor=factor, rope_context=8192,
    )
    for name, width, layers, heads, hidden, factor, tied in (
        ("3.1-8B", 4096, 32, 32, 14336, 8.0, False),
        ("3.2-1B", 2048, 16, 32, 8192, 32.0, True),
        ("3.2-3B", 3072, 28, 24, 0, 32.0, True),
    )
}  # fmt: skip


class LLaMABlock(nn.Module):
    """x + attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)); nothing has a bias.

    Args:
        config: the model's.
        attention: one that takes what LLaMA's own takes, such as a class around it (default: that).
    """

    def __init__(self, config: LLaMAConfig, attention: nn.Module | None = None) -> None:
        super().__init__()
        c = config
        self.norm1 = RMSNorm(c.width, c.norm_eps)
        self.attention = attention or Attention(
            c.width,
            c.heads,
            kv_heads=c.kv_heads or c.heads,
            head_width=c.head_width or None,
            bias=False,
        )
        self.norm2 = RMSNorm(c.width, c.norm_eps)
        self.mlp = SwiGLU(c.width, c.ffn)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
        around: Around | None = None,
    ) -> Tensor:
        """(B, L, D) → (B, L, D).

        Args:
            x: the states.
            rotation, mask, causal, cache: as in `vlcourse.layers.attention`.
            around: what an adapter makes of this block's pieces; None leaves them as they are.
        """
        piece: Any = around(self) if around else self
        x = x + piece.attention(
            piece.norm1(x), mask=mask, causal=causal, rotation=rotation, cache=cache
        )
        return x + piece.mlp(piece.norm2(x))


class LLaMA(Trainable):
    """Tokens → logits of the next token at each position."""

    def __init__(self, config: LLaMAConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(LLaMABlock(config) for _ in range(config.layers))
        self.norm_final = RMSNorm(config.width, config.norm_eps)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.token.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """N(0, 1 / width); what writes into the residual stream is smaller by √(2 · layers).

        At LLaMA's widths this is GPT-2's deviation of 0.02, and at a toy's it is what lets
        attention tell one token from another from the first step on.
        """
        std = self.config.width**-0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                into_stream = name.endswith(("attention.out.weight", "mlp.down.weight"))
                nn.init.normal_(
                    parameter, std=std * (2 * self.config.layers) ** -0.5 if into_stream else std
                )

    def forward(
        self, tokens: Tensor, cache: KVCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Logits of the next token at each position.

        Args:
            tokens: (B, L) ids.
            cache: what came before; ``tokens`` are added to it.
            mask: (B, L) bool, False for padding (on the left, when text is to be generated).

        Returns:
            (B, L, V).
        """
        return self.head(self.hidden(self.token(tokens), cache, mask))

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"tokens": (B, L), "targets": (B, L)}`` → ``{"lm": loss}``.

        The targets are the next tokens, -100 where there is nothing to learn.
        """
        hidden = self.hidden(self.token(batch["tokens"]))
        return {"lm": losses.lm(hidden, self.head, batch["targets"])}

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss is a mean over the targets that are learned."""
        return {"lm": (batch["targets"] != -100).sum()}

    def hidden(
        self,
        x: Tensor,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
        around: Sequence[Around | None] = (),
    ) -> Tensor:
        """Token vectors → the final states, before the head.

        Args:
            x: (B, L, D) token vectors, ``self.token(tokens)``, or any others (soft prompts).
            cache, mask: as in :meth:`forward`.
            around: what an adapter makes of each block's pieces; nothing leaves them all as they
                are.

        Returns:
            (B, L, D).
        """
        batch, length, _ = x.shape
        past = cache.length if cache else 0
        seen = cache.add_mask(mask, batch, length) if cache else mask
        positions = masks.positions(seen, past, length, x.device)
        c = self.config
        rotation = rotations(
            positions, c.channels, c.theta, c.rope_factor, c.rope_context, c.rope_low, c.rope_high
        )
        allowed, causal = masks.decoder(seen, past, length, x.device)
        for i, block in enumerate(self.blocks):
            layer = cache.layers[i] if cache else None
            x = block(x, rotation, allowed, causal, layer, around[i] if around else None)
        return self.norm_final(x)

    def states(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """(B, L, D) after each block; ``tokens`` and ``mask`` as in :meth:`forward`."""
        return block_states(self.blocks, lambda: self.hidden(self.token(tokens), mask=mask))

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``batch`` rows of up to ``length`` positions."""
        c = self.config
        return KVCache(
            c.layers, batch, c.kv_heads or c.heads, length, c.channels,
            like=self.token.weight,
        )  # fmt: skip

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config.vocab_size

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        x: Tensor | None = None,
        around: Sequence[Around | None] = (),
    ) -> Started:
        """Read a prompt, and make room for ``new_tokens`` more (:mod:`vlcourse.generate.loop`).

        Args:
            tokens: (B, P) ids.
            mask: (B, P) bool, False for padding, which is on the left.
            new_tokens: how many will be written. There is no hard limit: beyond ``config.context``
                the positions are ones that were not trained.
            x: (B, P, D) token vectors in the place of ``tokens`` (soft prompts).
            around: as in :meth:`hidden`.

        What is wrong with a prompt is said before, by :mod:`vlcourse.generate.prompts`.
        """
        vectors = self.token(tokens) if x is None else x
        batch, length, _ = vectors.shape
        if mask is not None and mask.all():
            mask = None
        if tokens is None:
            read = torch.empty(batch, 0, dtype=torch.long, device=vectors.device)
        else:
            read = tokens if mask is None else tokens.masked_fill(~mask, -1)
        cache = self.new_cache(batch, length + new_tokens)
        return Started(self.head(self.hidden(vectors, cache, mask, around)[:, -1]), cache, read)

    def step(self, tokens: Tensor, cache: KVCache, around: Sequence[Around | None] = ()) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.head(self.hidden(self.token(tokens), cache, None, around)[:, -1])
