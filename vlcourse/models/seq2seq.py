"""T5 (Raffel et al. 2020): an encoder reads, a decoder writes and looks at what was read.

No token knows where it stands; each attention only knows how far it looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.layers.attention import Attention
from vlcourse.layers.block import RMSNorm, SwiGLU
from vlcourse.layers.cache import KVCache, LayerCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.relative import RelativeBias
from vlcourse.layers.states import block_states
from vlcourse.models.base import EPS, HEADS, HIDDEN, LAYERS, VOCAB, WIDTH, Trainable
from vlcourse.models.presets import published


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Shape of an encoder–decoder."""

    vocab_size: int = 32_128
    """Number of tokens."""
    width: int = 512
    """Size of the token vectors."""
    encoder_layers: int = 8
    """Number of blocks that read."""
    decoder_layers: int = 8
    """Number of blocks that write."""
    heads: int = 6
    """Heads of each attention."""
    head_width: int = 64
    """Channels of one head; heads · head_width need not be the width."""
    hidden: int = 1024
    """Hidden size of the MLP."""
    gated: bool = True
    """The MLP: gated GELU (T5 v1.1, Flan-T5), or ReLU without a gate (T5 1.0)."""
    tied: bool = False
    """The head: a matrix of its own (T5 v1.1, Flan-T5), or the token vectors (T5 1.0)."""
    buckets: int = 32
    """Number of relative positions that are told apart."""
    max_distance: int = 128
    """From this distance on all positions are in one bucket."""
    norm_eps: float = 1e-6
    """Added to the mean square in RMSNorm."""
    start: int = 0
    """The id that the decoder starts from; T5 takes its padding id."""

    def __post_init__(self) -> None:
        check(self, vocab_size=VOCAB, width=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS)
        check(self, heads=HEADS, head_width=(1, 8_192), hidden=HIDDEN, norm_eps=EPS)
        check(self, buckets=(4, 512), start=(0, self.vocab_size - 1))
        # half of the buckets hold one distance each, and the others must have some left
        check(self, max_distance=(self.buckets // 2 + 1, 65_536))

    def build(self) -> Seq2Seq:
        """A freshly initialised model of this shape."""
        return Seq2Seq(self)

    def adopt(self, model: Seq2Seq) -> Seq2Seq:
        """A trained model of this very shape; ModelError if it has another."""
        if model.config != self:
            raise ModelError("their models differ")
        return model

    @staticmethod
    def preset(name: str) -> Seq2SeqConfig:
        """The shape of a published model, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("T5 v1.1", name, PRESETS)


# T5 v1.1 and Flan-T5: google/flan-t5-{small, base, large, xl, xxl}, config.json. Chung et al. 2022.
PRESETS: dict[str, Seq2SeqConfig] = {
    name: Seq2SeqConfig(
        width=width, encoder_layers=layers, decoder_layers=layers, heads=heads, hidden=hidden
    )
    for name, width, layers, heads, hidden in (
        ("small", 512, 8, 6, 1024),
        ("base", 768, 12, 12, 2048),
        ("large", 1024, 24, 16, 2816),
        ("xl", 2048, 24, 32, 5120),
        ("xxl", 4096, 24, 64, 10_240),
    )
}


class ReLUMLP(nn.Module):
    """down(ReLU(up(x))), without biases: the MLP of T5 1.0."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.down(F.relu(self.up(x)))


class GEGLU(SwiGLU):
    """down(GELU(gate(x)) · up(x)) (Shazeer 2020), GELU by tanh: the MLP of T5 v1.1."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        return self.down(F.gelu(self.gate(x), approximate="tanh") * self.up(x))


def t5_attention(config: Seq2SeqConfig) -> Attention:
    """T5 does not divide by √head_width; its initialisation makes the queries smaller instead."""
    c = config
    return Attention(c.width, c.heads, head_width=c.head_width, bias=False, scale=1.0)


class EncoderBlock(nn.Module):
    """x + attention(RMSNorm(x)), then x + MLP(RMSNorm(x)); nothing has a bias."""

    def __init__(self, config: Seq2SeqConfig, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.norm_eps)
        self.attention = attention or t5_attention(config)
        self.norm2 = RMSNorm(config.width, config.norm_eps)
        self.mlp = (GEGLU if config.gated else ReLUMLP)(config.width, config.hidden)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, S, D) → (B, S, D); ``bias``: (B or 1, heads, S, S), -inf where nothing is read."""
        x = x + self.attention(self.norm1(x), mask=bias)
        return x + self.mlp(self.norm2(x))


class DecoderBlock(nn.Module):
    """As the encoder's, with cross-attention to what the encoder made of its text in between."""

    def __init__(
        self,
        config: Seq2SeqConfig,
        attention: nn.Module | None = None,
        cross: Attention | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.norm_eps)
        self.attention = attention or t5_attention(config)
        self.norm_cross = RMSNorm(config.width, config.norm_eps)
        self.cross = cross or t5_attention(config)
        self.norm2 = RMSNorm(config.width, config.norm_eps)
        self.mlp = (GEGLU if config.gated else ReLUMLP)(config.width, config.hidden)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        context: Tensor | tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, L, D) → (B, L, D); ``bias``: (1, heads, L, past + L), -inf for positions ahead;
        ``context``, ``cache`` as in :class:`Attention`; ``mask``: (B, 1, 1, S), the context's."""
        x = x + self.attention(self.norm1(x), mask=bias, cache=cache)
        x = x + self.cross(self.norm_cross(x), context, mask)
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """Vectors → states; every position sees every other."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        c = config
        self.bias = RelativeBias(c.heads, True, c.buckets, c.max_distance)
        self.blocks = nn.ModuleList(EncoderBlock(c) for _ in range(c.encoder_layers))
        self.norm_final = RMSNorm(c.width, c.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, S, D) → (B, S, D); ``mask``: (B, 1, 1, S) bool, None without padding."""
        bias = self.bias(x.shape[1], mask=mask)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm_final(x)


class Decoder(nn.Module):
    """Vectors → states; a position sees itself, those before it, and all that the encoder read."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        c = config
        self.bias = RelativeBias(c.heads, False, c.buckets, c.max_distance)
        self.blocks = nn.ModuleList(DecoderBlock(c) for _ in range(c.decoder_layers))
        self.norm_final = RMSNorm(c.width, c.norm_eps)

    def forward(
        self, x: Tensor, states: Tensor | None, mask: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """(B, L, D) → (B, L, D); ``states``: (B, S, D), or None when the cache has them."""
        bias = self.bias(x.shape[1], cache.length if cache else 0)
        for i, block in enumerate(self.blocks):
            layer = cache.layers[i] if cache else None
            x = block(x, bias, layer.context if layer else states, mask, layer)
        return self.norm_final(x)


class Seq2Seq(Trainable):
    """Tokens to read, and tokens written so far → logits of the next token at each position."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.token.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """T5's: token vectors N(0, 1), every linear map N(0, 1 / its inputs), and the queries'
        smaller by √head_width, which does what dividing the dot products would have done. But the
        relative positions start as :class:`RelativeBias` says."""
        for name, weight in self.named_parameters():
            if weight.ndim == 2 and not name.endswith("bias.weight"):
                inputs = weight.shape[1] * (
                    self.config.head_width if name.endswith("q.weight") else 1
                )
                nn.init.normal_(weight, std=1.0 if name == "token.weight" else inputs**-0.5)

    def forward(self, inputs: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of the next token at each position.

        Args:
            inputs: (B, S) ids that the encoder reads.
            tokens: (B, L) ids that the decoder has written; ``config.start`` comes first.
            mask: (B, S) bool, False for padding, on either side.

        Returns:
            (B, L, V).
        """
        return self.head(self.decode(tokens, self.encode(inputs, mask), mask))

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"inputs": (B, S), "inputs_mask": (B, S), "tokens", "targets": (B, L)}`` →
        ``{"lm": loss}``.

        The mask is absent without padding; the targets are the next tokens, -100 where there is
        nothing to learn.
        """
        mask = batch.get("inputs_mask")
        hidden = self.decode(batch["tokens"], self.encode(batch["inputs"], mask), mask)
        return {"lm": losses.lm(hidden, self.head, batch["targets"])}

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss is a mean over the targets that are learned."""
        return {"lm": (batch["targets"] != -100).sum()}

    def encode(
        self, tokens: Tensor | None = None, mask: Tensor | None = None, x: Tensor | None = None
    ) -> Tensor:
        """Read (B, S) ids, or (B, S, D) vectors ``x`` in their place (soft prompts, alone or beside
        ``self.token(tokens)``); ``mask``: (B, S) bool, False for padding. Returns (B, S, D)."""
        if (tokens is None) == (x is None):
            raise ModelError("the encoder reads either tokens or vectors x: give one of the two")
        return self.encoder(self.token(tokens) if x is None else x, _readable(mask))

    def decode(
        self,
        tokens: Tensor,
        states: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Write: (B, L) ids → (B, L, D) final states, before the head.

        ``states`` and ``mask`` are :meth:`encode`'s; or ``cache`` is :meth:`new_cache`'s, and
        ``tokens`` are only those that it does not have yet, and are added to it.
        """
        if (states is None) == (cache is None):
            raise ModelError("the decoder reads either states or a cache of them: give one of both")
        allowed = cache.context_mask if cache else _readable(mask)
        x = self.decoder(self.token(tokens), states, allowed, cache)
        return x * self.config.width**-0.5 if self.config.tied else x  # token vectors are long

    def states(
        self, inputs: Tensor, tokens: Tensor, mask: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(B, S, D) after each block of the encoder, and (B, L, D) after each of the decoder.

        The arguments are :meth:`forward`'s.
        """
        blocks = [*self.encoder.blocks, *self.decoder.blocks]
        found = block_states(blocks, lambda: self(inputs, tokens, mask))
        return found[: self.config.encoder_layers], found[self.config.encoder_layers :]

    def new_cache(self, states: Tensor, mask: Tensor | None, length: int) -> KVCache:
        """A cache for up to ``length`` tokens, with the cross-attention's keys and values of
        ``states``, (B, S, D) from :meth:`encode`, made once for all steps."""
        c = self.config
        cache = KVCache(c.decoder_layers, len(states), c.heads, length, c.head_width, like=states)
        for layer, block in zip(cache.layers, self.decoder.blocks, strict=True):
            assert isinstance(block, DecoderBlock)
            layer.context = block.cross.keys_values(states)
        cache.context_mask = _readable(mask)
        return cache

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config.vocab_size

    def start(
        self, tokens: Tensor | None, mask: Tensor | None, new_tokens: int, x: Tensor | None = None
    ) -> Started:
        """Read, and make room for ``new_tokens`` (:mod:`vlcourse.generate.loop`); the others are
        :meth:`encode`'s. The decoder begins with ``config.start``."""
        states = self.encode(tokens, mask, x)
        cache = self.new_cache(states, mask, 1 + new_tokens)
        first = torch.full((len(states), 1), self.config.start, device=states.device)
        return Started(self.step(first, cache), cache, first)

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.head(self.decode(tokens, cache=cache)[:, -1])


def _readable(mask: Tensor | None) -> Tensor | None:
    """(B, S) → (B, 1, 1, S). A row of padding only is read after all: softmax([]) is NaN."""
    return None if mask is None else (mask | ~mask.any(1, keepdim=True))[:, None, None, :]
