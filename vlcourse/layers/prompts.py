"""Zero-init attention: learned prompts that a frozen attention looks at through a gate.

Zhang et al. 2023, "LLaMA-Adapter", section 3.2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vlcourse.layers.attention import Attention
from vlcourse.layers.cache import LayerCache

GateKind = Literal["tanh", "linear"]


class Gate(nn.Module):
    """How much of what the prompts say gets through: nothing, at the beginning.

    Args:
        heads: of the attention.
        kind: tanh: one number a head, through a tanh (equation 6). linear: one number for all
            heads, as it is, as peft's AdaptionPrompt has it.
        std: deviation of the numbers at the beginning; 0 is zero-init.
    """

    def __init__(self, heads: int, kind: GateKind = "tanh", std: float = 0.0) -> None:
        super().__init__()
        self.kind, self.std = kind, std
        self.value = nn.Parameter(torch.empty(heads if kind == "tanh" else 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """N(0, std); zeros draw nothing."""
        if self.std:
            nn.init.normal_(self.value, std=self.std)
        else:
            nn.init.zeros_(self.value)

    def forward(self) -> Tensor:
        """(heads, 1, 1), or (1, 1, 1): what each head's part is multiplied by."""
        value = self.value.tanh() if self.kind == "tanh" else self.value
        return value[:, None, None]


def prompted(
    attention: Attention,
    gate: Tensor,
    prompts: Tensor,
    x: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    rotation: Tensor | None = None,
    cache: LayerCache | None = None,
) -> Tensor:
    """An attention that also looks at prompts, with a softmax of their own (equations 4 to 7).

    Text and prompts do not compete: each has its own softmax, and the prompts' is multiplied by
    the gate. At gate 0 the result is the attention's own, bit for bit. Prompts are seen from
    everywhere, and have no positions: their keys are not rotated. (The queries are, so that for a
    query all prompts stand at position 0.)

    Args:
        attention: the frozen one; prompts become keys and values through its own projections.
        gate: (heads, 1, 1), or (1, 1, 1).
        prompts: (B, K, D), or (1, K, D) for all rows.
        x: (B, L, D).
        mask, causal, rotation, cache: as the attention takes them. The cache keeps the prompts'
            keys and values, and from the second call on ``prompts`` is not looked at.

    Returns:
        (B, L, D).
    """
    q, k, v = attention.read(x, None, rotation, cache)
    y = attention.mix(q, k, v, mask, causal)
    told = cache.context if cache is not None else None
    if told is None:
        keys, values = attention.keys_values(prompts.to(x.dtype))  # (B or 1, kv_heads, K, width)
        told = keys, values
        if cache is not None:  # a row for each text, so that rows can be selected
            cache.context = keys.expand(len(x), -1, -1, -1), values.expand(len(x), -1, -1, -1)
    return attention.write(y + gate.to(y.dtype) * attention.mix(q, *told))


def prompt_weights(
    attention: Attention, prompts: Tensor, x: Tensor, rotation: Tensor | None = None
) -> Tensor:
    """Which prompts each position looks at, before the gate: :func:`prompted`'s second softmax.

    Returns:
        (B, heads, L, K); each row sums to 1.
    """
    q, _, _ = attention.read(x, None, rotation)
    keys, _ = attention.keys_values(prompts.to(x.dtype))
    keys = keys.repeat_interleave(attention.heads // attention.kv_heads, dim=1)
    scale = attention.head_width**-0.5 if attention.scale is None else attention.scale
    return (scale * q @ keys.mT).softmax(dim=-1)
