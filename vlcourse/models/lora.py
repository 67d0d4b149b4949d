"""LoRA around a frozen LLaMA: the adapters' rival (Hu et al. 2022).

It is computed here, in a few lines, and held equal to peft's by a test: forward pass, gradients,
and files in both directions (:mod:`vlcourse.weights.adapter`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from vlcourse.layers.around import LINEARS, Around, dressed
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.layers.tuned import LowRank, sizes
from vlcourse.models.adapter import same_shape
from vlcourse.models.adapter_base import AdaptedLLaMA
from vlcourse.models.llama import LLaMAConfig
from vlcourse.names import no_such


@dataclass(frozen=True)
class LoRAConfig:
    """Shape of a LoRA."""

    llm: LLaMAConfig = LLaMAConfig()
    """The LLaMA around which it stands, which is frozen."""
    rank: int = 8
    """Rank of each map: r."""
    alpha: float = 16.0
    """The maps are multiplied by alpha / rank."""
    targets: tuple[str, ...] = ("q", "v")
    """Around which linear maps: q, k, v and out of the attention; gate, up and down of the MLP."""

    def __post_init__(self) -> None:
        check(self, rank=(1, 65_536), alpha=(0, 1e6))
        for name in self.targets:
            if name not in LINEARS:
                raise ModelError(f"targets={name}: {no_such('linear map', name, LINEARS)}")
        if not self.targets:
            raise ModelError(f"targets is empty: name some of {', '.join(LINEARS)}")

    def build(self) -> LoRA:
        """A freshly initialised LoRA, around a freshly initialised LLaMA."""
        return LoRA(self)

    def adopt(self, model: LoRA) -> LoRA:
        """A trained one of this very shape; ModelError if it has another."""
        return same_shape(self, model)


# Alpaca-LoRA's, with which LLaMA-Adapter is compared: 4.2 M (Zhang et al. 2023, table 1).
PRESETS: dict[str, LoRAConfig] = {"7B": LoRAConfig(LLaMAConfig.preset("7B"))}


class LoRA(AdaptedLLaMA):
    """A map of low rank beside some linear maps of each block.

    Attributes:
        llm: the frozen LLaMA.
        layers: for each block the maps by name.
    """

    def __init__(self, config: LoRAConfig) -> None:
        super().__init__(config.llm)
        self.config: Any = config
        of = sizes(config.llm)
        self.layers: Any = nn.ModuleList(
            nn.ModuleDict(
                {name: LowRank(*of[name], config.rank, config.alpha) for name in config.targets}
            )
            for _ in range(config.llm.layers)
        )

    def around(self, seen: Tensor | None = None) -> Sequence[Around | None]:
        """As :meth:`AdaptedLLaMA.around`."""
        return [partial(dressed, linears=dict(layer.items())) for layer in self.layers]
