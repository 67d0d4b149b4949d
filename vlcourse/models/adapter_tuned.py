"""What LLaMA-Adapter V2 tunes of a LLaMA's own block: biases, scales and norms.

Gao et al. 2023, section 4.1.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from vlcourse.layers.around import LINEARS, Pieces, dressed
from vlcourse.layers.tuned import BiasScale, NormShift, sizes
from vlcourse.models.llama import LLaMAConfig


class TunedLayer(nn.Module):
    """Biases and scales around a block's seven linear maps, and its two norms trained on."""

    def __init__(self, config: LLaMAConfig) -> None:
        super().__init__()
        of = sizes(config)
        self.linears = nn.ModuleDict({name: BiasScale(of[name][1]) for name in LINEARS})
        self.norm1, self.norm2 = NormShift(config.width), NormShift(config.width)

    def around(self, block: Any) -> Pieces:
        """The block's pieces, tuned."""
        pieces = dressed(block, dict(self.linears.items()))
        norm1, norm2 = partial(self.norm1, block.norm1), partial(self.norm2, block.norm2)
        return replace(pieces, norm1=norm1, norm2=norm2)

    @torch.no_grad()
    def merge_into(self, block: Any) -> None:
        """Put it into a block's own weights: exact but for rounding.

        The block's linear maps have biases then, unless all of them are zero.
        """
        for norm, shift in ((block.norm1, self.norm1), (block.norm2, self.norm2)):
            norm.weight.add_(shift.shift)
        for name, around in self.linears.items():
            assert isinstance(around, BiasScale)
            linear = getattr(block.attention if name in LINEARS[:4] else block.mlp, name)
            weight, bias = around.merged(linear.weight, linear.bias)
            linear.weight.copy_(weight)
            if bias.any():
                linear.bias = nn.Parameter(bias, requires_grad=False)
