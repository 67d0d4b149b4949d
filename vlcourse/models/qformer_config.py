"""The shape of a Q-Former (:mod:`vlcourse.models.qformer`), and the ids that it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlcourse.layers.attention import head_channels
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.models.base import CONTEXT, EPS, HEADS, HIDDEN, LAYERS, VOCAB, WIDTH
from vlcourse.names import no_such

TEXTS = ("writes", "reads", "none")


@dataclass(frozen=True)
class QFormerConfig:
    """Shape of a Q-Former, and the ids that it needs to know."""

    queries: int = 32
    """Number of learned queries."""
    vocab_size: int = 30_523
    """Number of tokens, [DEC] included."""
    context: int = 512
    """Longest text, in tokens."""
    width: int = 768
    """Size of the vectors of queries and tokens."""
    layers: int = 12
    """Number of Transformer blocks."""
    heads: int = 12
    """Attention heads in each block."""
    mlp_ratio: float = 4.0
    """Hidden size of the MLPs, in multiples of the width."""
    image_width: int = 1408
    """Size of the image tokens."""
    cross_every: int = 2
    """Every how many blocks the queries look at the image, the first block included."""
    norm_eps: float = 1e-12
    """Added to the variance in LayerNorm."""
    text: Literal["writes", "reads", "none"] = "writes"
    """What it does with text: reads and writes; reads only (no head); or none of it (stage 2)."""
    cls: int = 101
    """[CLS], which begins a text."""
    sep: int = 102
    """[SEP], which ends a text."""
    pad: int = 0
    """[PAD]; any id will do, since nothing attends to it."""
    dec: int = 30_522
    """[DEC], which takes the first place when the text is written."""

    def __post_init__(self) -> None:
        check(self, queries=(1, 4096), vocab_size=VOCAB, context=CONTEXT, width=WIDTH)
        check(self, layers=LAYERS, heads=HEADS, mlp_ratio=(0, 64), mlp_hidden=HIDDEN)
        check(self, image_width=WIDTH, cross_every=LAYERS, norm_eps=EPS)
        ids = (0, self.vocab_size - 1)
        check(self, cls=ids, sep=ids, pad=ids, dec=ids)
        head_channels(self.width, self.heads)
        if self.text not in TEXTS:
            raise ModelError(no_such("use of text", self.text, TEXTS))

    @property
    def mlp_hidden(self) -> int:
        """Hidden size of the MLPs."""
        return round(self.width * self.mlp_ratio)

    @property
    def reads(self) -> bool:
        """Whether it can read a text."""
        return self.text != "none"

    @property
    def writes(self) -> bool:
        """Whether it can write one."""
        return self.text == "writes"
