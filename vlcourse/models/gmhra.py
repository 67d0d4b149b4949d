"""UniFormerV2's relation aggregators, which let the frames of a video see each other.

MHRA is "multi-head relation aggregation": a local one mixes each place with the same place of the
frames beside it, a global one lets a single token look at everything (Li et al. 2022,
"UniFormerV2", section 3). As VideoChat has it (Li et al. 2023, "VideoChat", section 3.2), they
stand on a frozen image tower, and all begin as nothing: the tower's features come out unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor, nn

from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import MLP
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.models.base import HEADS, HIDDEN, LAYERS
from vlcourse.models.gmhra_local import DynamicPositions, LocalMHRA, Tube
from vlcourse.names import no_such

Kind = Literal["videochat", "uniformer", "mean"]


@dataclass(frozen=True)
class GMHRAConfig:
    """Shape of the relation aggregators on a tower."""

    layers: int = 8
    """Global aggregators, one for each of the tower's last blocks; 0 for no token at all."""
    heads: int = 16
    """Attention heads in each."""
    mlp_ratio: float = 6144 / 1408
    """Hidden size of their MLPs, in multiples of the width."""
    dropout: float = 0.5
    """Share of the MLPs' hidden values that are left out in training."""
    kind: Kind = "videochat"
    """videochat: LayerNorm, then positions; uniformer: positions, then LayerNorm, and the token is
    mixed with the frames' mean; mean: the token sees the mean of all tokens, with as many
    parameters as videochat: the baseline."""
    local: int = 0
    """Local aggregators, one after another, on the features that leave the tower. (UniFormerV2 has
    one in each block; VideoChat has none.)"""
    tube: Tube = "time"
    """What a local aggregator mixes: each place with itself in the frames beside it, as in
    UniFormerV2; or with the places around it, too, as in UniFormer (Li et al. 2022, section 3.2),
    which sees where something moves."""
    reduction: float = 2.0
    """The width within a local aggregator is so many times smaller."""

    def __post_init__(self) -> None:
        check(self, layers=(0, LAYERS[1]), local=(0, LAYERS[1]), heads=HEADS, mlp_ratio=(0, 64))
        check(self, dropout=(0, 1 - 1e-9), reduction=(1, 1024))
        if self.kind not in get_args(Kind):
            raise ModelError(no_such("relation aggregator", self.kind, get_args(Kind)))
        if self.tube not in get_args(Tube):
            raise ModelError(no_such("tube of a local aggregator", self.tube, get_args(Tube)))

    def hidden(self, width: int) -> int:
        """Hidden size of the MLPs on tokens of this width; ModelError where that cannot be."""
        head_channels(width, self.heads)
        hidden = round(width * self.mlp_ratio)
        if not HIDDEN[0] <= hidden <= HIDDEN[1]:
            raise ModelError(f"mlp_ratio={self.mlp_ratio} of width {width} is no size of an MLP")
        return hidden


class OneAsks(Attention):
    """The same attention for a single query, which is brought to the tokens' own space.

    qᵀ(W y + b) is (Wᵀq)ᵀy and a constant that softmax does not see, and Σ a (W y) is W (Σ a y): so
    keys and values are never written out, and the work does not grow with the width squared for
    each token. (benchmarks/videochat.py: ten times as fast, and more.)
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, context: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """(B, 1, D) query, (B, S, D) tokens, (B, 1, 1, S) bool → (B, 1, D)."""
        q = rearrange(self.q(x), "b 1 (h d) -> b h d", h=self.heads)
        keys, values = (
            rearrange(linear.weight, "(h d) c -> h d c", h=self.heads)
            for linear in (self.k, self.v)
        )
        constant = (q * rearrange(self.k.bias, "(h d) -> h d", h=self.heads)).sum(-1, keepdim=True)
        scores = torch.einsum("bhd,hdc->bhc", q, keys) @ context.mT + constant  # (B, h, S)
        scores = scores * self.head_width**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, 0], -math.inf)
        seen = scores.softmax(dim=-1) @ context  # (B, h, C)
        y = torch.einsum("bhc,hdc->bhd", seen, values).flatten(1)  # (B, D)
        return self.out(y + self.v.bias)[:, None]


class GlobalMHRA(nn.Module):
    """One token looks at all tokens of all frames: cross-attention, then an MLP (section 3.3).

    The last linear maps are zero at the start, so that the token stays what it was.

    Args:
        width, heads, hidden, dropout: of the tokens, the attention and the MLP.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_token = nn.LayerNorm(width)
        self.norm_frames = nn.LayerNorm(width)
        self.positions = DynamicPositions(width)
        self._begin(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.mlp.up.weight)
        nn.init.zeros_(self.mlp.down.weight)
        nn.init.zeros_(self.mlp.down.bias)

    def _begin(self, width: int, heads: int) -> None:
        """What looks at the frames."""
        self.attention = OneAsks(width, heads)
        for linear in (self.attention.q, self.attention.k, self.attention.v):
            nn.init.xavier_uniform_(linear.weight, gain=2**-0.5)  # as one (3C, C) matrix
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.attention.out.weight)
        nn.init.zeros_(self.attention.out.bias)

    def forward(self, token: Tensor, frames: Tensor, classes: int, shown: Tensor) -> Tensor:
        """One aggregation.

        Args:
            token: (B, 1, C).
            frames: (B, T, N, C) tokens of the frames; they are not changed.
            classes: how many tokens of a frame have no place (1 with a class token, else 0).
            shown: (B, T) bool, which frames there are.

        Returns:
            (B, 1, C).
        """
        y = self._placed(frames, classes, shown).flatten(1, 2)  # (B, T · N, C)
        seen = shown.repeat_interleave(frames.shape[2], dim=1)  # (B, T · N)
        token = token + self._look(self.norm_token(token), y, seen)
        h = self.mlp.activation(self.mlp.up(self.norm_mlp(token)))
        return token + self.mlp.down(self.dropout(h))

    def _placed(self, frames: Tensor, classes: int, shown: Tensor) -> Tensor:
        """VideoChat's order: LayerNorm, then positions."""
        return self.positions(self.norm_frames(frames), classes, shown)

    def _look(self, token: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        return self.attention(token, y, seen[:, None, None, :])


class UniFormerMHRA(GlobalMHRA):
    """UniFormerV2's own order: positions, then LayerNorm."""

    def _placed(self, frames: Tensor, classes: int, shown: Tensor) -> Tensor:
        return self.norm_frames(self.positions(frames, classes, shown))


class MeanMHRA(GlobalMHRA):
    """The baseline: the token is told the mean of all tokens, wherever something happens.

    With what it is itself: v(token + gain · mean). What queries and keys would have had goes into
    the gain and a wider MLP: exactly as many parameters as a :class:`GlobalMHRA`.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__(width, heads, hidden + width, dropout)

    def _begin(self, width: int, heads: int) -> None:
        self.gain = nn.Parameter(torch.ones(width))
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.value.weight, gain=2**-0.5)
        for vector in (self.value.bias, self.out.weight, self.out.bias):
            nn.init.zeros_(vector)

    def _look(self, token: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        kept = seen[..., None].to(y.dtype)  # (B, T · N, 1)
        mean = (y * kept).sum(dim=1, keepdim=True) / kept.sum(dim=1, keepdim=True)
        return self.out(self.value(token + self.gain * mean))


BLOCKS = {"videochat": GlobalMHRA, "uniformer": UniFormerMHRA, "mean": MeanMHRA}


class GMHRA(nn.Module):
    """The frames' features as the tower left them, and one token that has seen the whole video.

    Attributes:
        token: (C,), zeros at the start, and handed on from block to block.
        blocks: the global aggregators, the first for the earliest of the tower's last blocks.
        local: the local ones.
        balance: (C,) of kind uniformer: how much of the frames' mean is mixed in, σ(0) = ½ at the
            start.
    """

    def __init__(self, config: GMHRAConfig, width: int) -> None:
        super().__init__()
        c = config
        self.config = c
        self.local = nn.ModuleList(LocalMHRA(width, c.reduction, c.tube) for _ in range(c.local))
        hidden = c.hidden(width) if c.layers else 0
        self.blocks = nn.ModuleList(
            BLOCKS[c.kind](width, c.heads, hidden, c.dropout) for _ in range(c.layers)
        )
        if c.layers:
            self.token = nn.Parameter(torch.zeros(width))
            if c.kind == "uniformer":
                self.balance = nn.Parameter(torch.zeros(width))

    def forward(
        self, states: Sequence[Tensor], classes: int, shown: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Aggregate.

        Args:
            states: (B, T, N, C) after each of the tower's last blocks, the very last at the end;
                one for each global aggregator, or a single one, at which all of them look.
            classes: how many tokens of a frame have no place: they come first.
            shown: (B, T) bool, which frames there are; None: all.

        Returns:
            (B, T, N, C), the last states, to which only the local aggregators have added; and
            (B, 1, C), or None without layers.
        """
        count = self.config.layers
        if len(states) not in (1, count):
            raise ModelError(f"{count} aggregators look at {count} states, or at one; not at "
                             f"{len(states)}")  # fmt: skip
        frames = states[-1]
        if shown is None:
            shown = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        for local in self.local:
            added = local(frames[:, :, classes:], shown)
            frames = torch.cat([frames[:, :, :classes], frames[:, :, classes:] + added], dim=2)
        if not count:
            return frames, None
        looked = [*states[:-1], frames] if len(states) == count else [frames] * count
        token = self.token.expand(len(frames), 1, -1)
        for block, state in zip(self.blocks, looked, strict=True):
            token = block(token, state, classes, shown)
        if self.config.kind == "uniformer":
            share = self.balance.sigmoid()
            token = (1 - share) * token + share * self._mean(frames, classes, shown)
        return frames, token

    def _mean(self, frames: Tensor, classes: int, shown: Tensor) -> Tensor:
        """(B, 1, C): of the class tokens, or of all tokens where there are none."""
        each = (frames[:, :, :classes] if classes else frames).mean(dim=2)  # (B, T, C)
        kept = shown[..., None].to(each.dtype)
        return (each * kept).sum(dim=1, keepdim=True) / kept.sum(dim=1, keepdim=True)
