"""Weights seen in another way, without a copy: under other names, or shards as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.weights.rename import WeightsError


def unwrapped(weights: Mapping[Any, Any], name: str) -> Mapping[str, Any]:
    """The state dict inside a training checkpoint, under the names of the plain model.

    It may lie under "state_dict", "model_state_dict" or "model"; ``torch.compile`` puts
    "_orig_mod." and DDP puts "module." before the names.

    Raises:
        WeightsError: when a name is no text, or two become one.
    """
    for key in ("state_dict", "model_state_dict", "model"):
        if key in weights and isinstance(weights[key], Mapping):
            weights = weights[key]
            break
    if strange := [key for key in weights if not isinstance(key, str)]:
        raise WeightsError(f"{name} is no state dict: {str(strange[0])[:60]!r} is no name")
    names = [key.replace("_orig_mod.", "") for key in weights]
    while names and all(key.startswith("module.") for key in names):
        names = [key.removeprefix("module.") for key in names]
    if names == list(weights):
        return weights
    renamed = dict(zip(names, weights, strict=True))
    if len(renamed) < len(names):
        raise WeightsError(f"{name} has weights with and without the prefix of torch.compile")
    return Renamed(weights, renamed)


class Renamed(Mapping[str, Any]):
    """Weights under other names, each read when it is asked for."""

    def __init__(self, weights: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._weights, self._names = weights, names

    def __getitem__(self, name: str) -> Any:
        return self._weights[self._names[name]]

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Merged(Mapping[str, Tensor]):
    """The shards of a model-parallel checkpoint as one; each tensor is joined when asked for.

    Rows are divided between the shards in wq, wk, wv, w1, w3 and output, columns in wo, w2 and
    tok_embeddings (in LLaMA-3 its rows); each shard has all of the norms. ``square`` says that the
    channels of all heads together are the width, which tells how many shards there must be.

    Raises:
        WeightsError: when shards are missing or of different models.
    """

    def __init__(
        self, shards: Sequence[Mapping[str, Tensor]], name: str, square: bool = True
    ) -> None:
        self.shards = shards
        if any(shard.keys() != shards[0].keys() for shard in shards):
            raise WeightsError(f"the shards of {name} have different names: not of one model")
        if square and "layers.0.attention.wo.weight" in shards[0]:
            shape = tuple(getattr(shards[0]["layers.0.attention.wo.weight"], "shape", ()))
            if len(shape) == 2 and shape[1] and shape[1] * len(shards) != shape[0]:
                need = shape[0] // shape[1]
                raise WeightsError(f"{name} has {len(shards)} shards, not all {need}")

    def __getitem__(self, name: str) -> Tensor:
        parts = [shard[name] for shard in self.shards]
        if len(parts) == 1 or parts[0].ndim < 2:
            return parts[0]
        columns = name.endswith(("wo.weight", "w2.weight"))
        if name == "tok_embeddings.weight":
            columns = parts[0].shape[1] != len(self.shards[0]["norm.weight"])
        return torch.cat(parts, dim=int(columns))

    def __contains__(self, name: object) -> bool:  # Mapping's own would join the tensor
        return name in self.shards[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shards[0])

    def __len__(self) -> int:
        return len(self.shards[0])
