"""The shape of BLIP's MED (:mod:`vlcourse.models.med`): its sizes, ids and what exists twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlcourse.layers.attention import head_channels
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.models.base import CONTEXT, EPS, HEADS, HIDDEN, LAYERS, VOCAB, WIDTH
from vlcourse.names import no_such

# What the reader and the writer have in common (table 3); the rest exists twice.
SHARING: dict[str, frozenset[str]] = {
    "all-but-sa": frozenset({"embedding", "cross", "mlp"}),
    "all": frozenset({"embedding", "attention", "cross", "mlp"}),
    "all-but-ca": frozenset({"embedding", "attention", "mlp"}),
    "none": frozenset(),
}
ROLES = ("both", "reader", "writer")


@dataclass(frozen=True)
class MEDConfig:
    """Shape of a MED, and the ids that it needs to know."""

    vocab_size: int = 30_524
    """Number of tokens, [ENC] and [DEC] included."""
    context: int = 512
    """Longest text, in tokens."""
    width: int = 768
    """Size of the token vectors."""
    layers: int = 12
    """Number of Transformer blocks."""
    heads: int = 12
    """Attention heads in each block."""
    mlp_ratio: float = 4.0
    """Hidden size of the MLP, in multiples of the width."""
    image_width: int = 768
    """Size of the image tokens."""
    source_width: int | None = None
    """Size of what the writer looks at, where that is not the image (VQA)."""
    norm_eps: float = 1e-12
    """Added to the variance in LayerNorm."""
    sharing: Literal["all-but-sa", "all", "all-but-ca", "none"] = "all-but-sa"
    """What reader and writer share: all but self-attention (as BLIP), or but cross-attention, …"""
    roles: Literal["both", "reader", "writer"] = "both"
    """What there is of the two: a captioner only writes, what only matches only reads."""
    tied: bool = True
    """The head's matrix: the writer's token vectors, or one of its own."""
    cls: int = 101
    """[CLS], which begins a text."""
    sep: int = 102
    """[SEP], which ends a text."""
    pad: int = 0
    """[PAD]; any id will do, since nothing attends to it."""
    dec: int = 30_522
    """[DEC], which takes the first place when the text is written."""
    enc: int = 30_523
    """[ENC], which takes the first place when the text is read beside an image."""

    def __post_init__(self) -> None:
        check(self, vocab_size=VOCAB, context=CONTEXT, width=WIDTH, layers=LAYERS, heads=HEADS)
        check(self, mlp_ratio=(0, 64), mlp_hidden=HIDDEN, image_width=WIDTH, source_width=WIDTH)
        check(self, norm_eps=EPS)
        ids = (0, self.vocab_size - 1)
        check(self, cls=ids, sep=ids, pad=ids, dec=ids, enc=ids)
        head_channels(self.width, self.heads)
        if self.sharing not in SHARING:
            raise ModelError(no_such("kind of sharing", self.sharing, SHARING))
        if self.roles not in ROLES:
            raise ModelError(no_such("role", self.roles, ROLES))
        if self.writer_source != self.image_width and "cross" in SHARING[self.sharing]:
            raise ModelError(
                f"one cross-attention cannot look at images of width {self.image_width} and at "
                f"sources of width {self.source_width}: set sharing to none or all-but-ca"
            )

    @property
    def mlp_hidden(self) -> int:
        """Hidden size of the MLP."""
        return round(self.width * self.mlp_ratio)

    @property
    def reads(self) -> bool:
        """Whether it can read: alone, or beside an image."""
        return self.roles != "writer"

    @property
    def writes(self) -> bool:
        """Whether it can write."""
        return self.roles != "reader"

    @property
    def writer_source(self) -> int:
        """Size of the vectors that the writer looks at."""
        return self.image_width if self.source_width is None else self.source_width
