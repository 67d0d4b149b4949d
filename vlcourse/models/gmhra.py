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
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vlcourse.layers.attention import Attention, head_channels
from vlcourse.layers.block import MLP
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.models.base import HEADS, HIDDEN, LAYERS
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
    reduction: float = 2.0
    """The width within a local aggregator is so many times smaller."""

    def __post_init__(self) -> None:
        check(self, layers=(0, LAYERS[1]), local=(0, LAYERS[1]), heads=HEADS, mlp_ratio=(0, 64))
        check(self, dropout=(0, 1 - 1e-9), reduction=(1, 1024))
        if self.kind not in get_args(Kind):
            raise ModelError(no_such("relation aggregator", self.kind, get_args(Kind)))

    def hidden(self, width: int) -> int:
        """Hidden size of the MLPs on tokens of this width; ModelError where that cannot be."""
        head_channels(width, self.heads)
        hidden = round(width * self.mlp_ratio)
        if not HIDDEN[0] <= hidden <= HIDDEN[1]:
            raise ModelError(f"mlp_ratio={self.mlp_ratio} of width {width} is no size of an MLP")
        return hidden


class LocalMHRA(nn.Module):
    """What each token learns of the same place in the frames before and after (section 3.2).

    BatchNorm, a narrow linear map, a depthwise convolution over three frames, and a wide linear map
    that is zero at the start.
    """

    def __init__(self, width: int, reduction: float = 2.0) -> None:
        super().__init__()
        narrow = max(1, int(width // reduction))
        self.norm = nn.BatchNorm1d(width)
        self.down = nn.Linear(width, narrow)
        self.mix = nn.Conv1d(narrow, narrow, kernel_size=3, padding=1, groups=narrow)
        self.up = nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, shown: Tensor) -> Tensor:
        """(B, T, N, C) tokens of places, (B, T) bool → (B, T, N, C), to be added."""
        batch, _, places, _ = x.shape
        y = x.new_zeros(*x.shape[:-1], self.down.out_features)  # (B, T, N, narrow)
        kept = self.norm(x[shown].flatten(0, 1)).unflatten(0, (-1, places))  # (frames, N, C)
        y[shown] = self.down(kept).to(y.dtype)  # a frame that is not there is as none
        y = self.mix(rearrange(y, "b t n d -> (b n) d t"))
        return self.up(rearrange(y, "(b n) d t -> b t n d", b=batch, n=places))


class DynamicPositions(nn.Module):
    """Where and when a token is, told by its neighbours: a depthwise 3 × 3 × 3 convolution.

    Beyond the edges there are zeros, and they tell where an edge is (section 3.3). It is computed
    as the sum of three convolutions of frames: of those before, those themselves, those after. (The
    gradient of one depthwise convolution in three dimensions takes three times as long on a CPU.)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width, width, kernel_size=3, padding=1, groups=width)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, y: Tensor, classes: int, shown: Tensor) -> Tensor:
        """(B, T, N, C) tokens, the first ``classes`` of each frame without a place; (B, T) bool →
        the same with positions added to the places."""
        first, places = y[:, :, :classes], y[:, :, classes:]
        side = round(places.shape[2] ** 0.5)
        if side * side != places.shape[2]:
            raise ModelError(f"{places.shape[2]} tokens are no square grid")
        moved = self._convolved((places * shown[:, :, None, None]).unflatten(2, (side, side)))
        return torch.cat([first, places + moved.flatten(2, 3)], dim=2)

    def _convolved(self, cube: Tensor) -> Tensor:
        """(B, T, H, W, C) → the same shape."""
        conv, count = self.conv, cube.shape[1]
        padded = F.pad(cube, (0, 0, 0, 0, 0, 0, 1, 1))  # (B, 1 + T + 1, H, W, C)
        y = cube.new_zeros(())
        for k in range(3):
            frames = rearrange(padded[:, k : k + count], "b t h w c -> (b t) c h w")
            weight, bias = conv.weight[:, :, k], conv.bias if k == 1 else None
            y = y + F.conv2d(frames, weight, bias, padding=1, groups=conv.groups)
        return rearrange(y, "(b t) c h w -> b t h w c", t=count)


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
        self.local = nn.ModuleList(LocalMHRA(width, c.reduction) for _ in range(c.local))
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
