"""GPT-2, in which LLaMA's three changes can be made one at a time: what each of them is worth.

For the ablation only. Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers import masks
from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import MLP, RMSNorm, SwiGLU
from vlcourse.layers.cache import CacheFull, KVCache, LayerCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.rotary import rotations
from vlcourse.layers.states import block_states
from vlcourse.models.base import CONTEXT, EPS, HEADS, HIDDEN, LAYERS, VOCAB, WIDTH, Trainable

CHANGES = ("rmsnorm", "swiglu", "rotary")


@dataclass(frozen=True)
class GPT2Config:
    """Shape of a GPT-2 (by default of the smallest one), and what is changed in it."""

    vocab_size: int = 50257
    """Number of tokens."""
    width: int = 768
    """Size of the token vectors."""
    layers: int = 12
    """Number of blocks."""
    heads: int = 12
    """Attention heads in each block."""
    hidden: int = 0
    """Hidden size of the MLP; 0 means 4 · width, with SwiGLU 8/3 · width: as many weights."""
    context: int = 1024
    """Longest text in tokens: the number of learned positions."""
    norm_eps: float = 1e-5
    """Added to the variance in LayerNorm, and to the mean square in RMSNorm."""
    changes: tuple[str, ...] = ()
    """What LLaMA has and GPT-2 has not: any of :data:`CHANGES`."""

    def __post_init__(self) -> None:
        check(self, vocab_size=VOCAB, width=WIDTH, layers=LAYERS, heads=HEADS, context=CONTEXT)
        check(self, hidden=(0, HIDDEN[1]), norm_eps=EPS)
        channels = head_channels(self.width, self.heads)
        if unknown := [name for name in self.changes if name not in CHANGES]:
            raise ModelError(f"GPT-2 knows the changes {', '.join(CHANGES)}, not {unknown}")
        if "rotary" in self.changes and channels % 2:
            raise ModelError(f"rotary positions need an even number of channels, not {channels}")

    @property
    def ffn(self) -> int:
        """Hidden size of the MLP."""
        return self.hidden or (8 * self.width // 3 if "swiglu" in self.changes else 4 * self.width)

    def build(self) -> GPT2:
        """A freshly initialised model of this shape."""
        return GPT2(self)


def _norm(config: GPT2Config) -> nn.Module:
    if "rmsnorm" in config.changes:
        return RMSNorm(config.width, config.norm_eps)
    return nn.LayerNorm(config.width, config.norm_eps)


class GPT2Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); the attention has biases in every variant."""

    def __init__(self, c: GPT2Config, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1 = _norm(c)
        self.attention = attention or Attention(c.width, c.heads)
        self.norm2 = _norm(c)
        self.mlp = SwiGLU(c.width, c.ffn) if "swiglu" in c.changes else MLP(c.width, c.ffn)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, L, D) → (B, L, D); the other arguments as in `vlcourse.layers.attention`."""
        y = self.norm1(x)
        x = x + self.attention(y, mask=mask, causal=causal, rotation=rotation, cache=cache)
        return x + self.mlp(self.norm2(x))


class GPT2(Trainable):
    """Tokens → logits of the next token at each position.

    GPT-2's head, which is the token embedding, and its attention biases are none of the three
    changes and stay in every variant: with all three, and biases of zero, it is a LLaMA whose head
    is a copy of its token embedding.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = c = config
        self.token = nn.Embedding(c.vocab_size, c.width)
        self.position = None if "rotary" in c.changes else nn.Embedding(c.context, c.width)
        self.blocks = nn.ModuleList(GPT2Block(c) for _ in range(c.layers))
        self.norm_final = _norm(c)
        self.head = nn.Linear(c.width, c.vocab_size, bias=False)
        self.head.weight = self.token.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """GPT-2's: N(0, 0.02), wider by √(768 / width) in narrower models; biases are 0."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                into_stream = name.endswith(("attention.out.weight", "mlp.down.weight"))
                shrink = (2 * self.config.layers) ** -0.5 if into_stream else 1.0
                nn.init.normal_(parameter, std=0.02 * (768 / self.config.width) ** 0.5 * shrink)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self, tokens: Tensor, cache: KVCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As :meth:`vlcourse.models.llama.LLaMA.forward`."""
        return self.head(self.hidden(self.token(tokens), cache, mask))

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """As :meth:`vlcourse.models.llama.LLaMA.losses`."""
        hidden = self.hidden(self.token(batch["tokens"]))
        return {"lm": losses.lm(hidden, self.head, batch["targets"])}

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss is a mean over the targets that are learned."""
        return {"lm": (batch["targets"] != -100).sum()}

    def hidden(self, x: Tensor, cache: KVCache | None = None, mask: Tensor | None = None) -> Tensor:
        """As :meth:`vlcourse.models.llama.LLaMA.hidden`; the learned positions are added here."""
        c, (batch, length, _) = self.config, x.shape
        past = cache.length if cache else 0
        seen = cache.add_mask(mask, batch, length) if cache else mask
        positions = masks.positions(seen, past, length, x.device)  # (L,) or (B, L)
        rotation = None
        if self.position is None:
            rotation = rotations(positions, c.width // c.heads)
        else:
            if past + length > c.context:
                raise CacheFull(f"{past + length} tokens are too long for {c.context} positions")
            x = x + self.position(positions)
        allowed, causal = masks.decoder(seen, past, length, x.device)
        layers = cache.layers if cache else [None] * c.layers
        for block, layer in zip(self.blocks, layers, strict=True):
            x = block(x, rotation, allowed, causal, layer)
        return self.norm_final(x)

    def states(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """(B, L, D) after each block; ``tokens`` and ``mask`` as in :meth:`forward`."""
        return block_states(self.blocks, lambda: self.hidden(self.token(tokens), mask=mask))

    def new_cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``batch`` rows of up to ``length`` positions."""
        c = self.config
        return KVCache(c.layers, batch, c.heads, length, c.width // c.heads, self.token.weight)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config.vocab_size

    def start(self, tokens: Tensor, mask: Tensor | None, new_tokens: int) -> Started:
        """As :meth:`vlcourse.models.llama.LLaMA.start`.

        Raises:
            CacheFull: when the longest text needs more positions than there are learned ones.
        """
        batch, length = tokens.shape
        needed = length + new_tokens - 1  # the last token is written, and not read
        if self.position is not None and needed > self.config.context:
            raise CacheFull(
                f"a prompt of {length} tokens and {new_tokens} new ones need {needed} positions, "
                f"but only {self.config.context} were learned: write fewer"
            )
        if mask is not None and mask.all():
            mask = None
        cache = self.new_cache(batch, length + new_tokens)
        logits = self.head(self.hidden(self.token(tokens), cache, mask)[:, -1])
        return Started(logits, cache, tokens if mask is None else tokens.masked_fill(~mask, -1))

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.head(self.hidden(self.token(tokens), cache)[:, -1])
