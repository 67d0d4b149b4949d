"""From a config and another library's weights to a model, or one sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from vlcourse.weights import files
from vlcourse.weights.rename import Rule, WeightsError, fill


def check_depth(blocks: int, theirs: Mapping[str, Tensor], name: str) -> None:
    """Refuse settings of more blocks than there are tensors, before building them takes minutes."""
    if blocks > len(theirs):
        raise WeightsError(
            f"the settings of {name} say {blocks:,} blocks, but it has only {len(theirs):,} tensors"
        )


def filled(
    config: Any,
    theirs: Mapping[str, Tensor],
    table: list[Rule],
    drop: Collection[str],
    name: str,
    dtype: torch.dtype,
) -> Any:
    """The model of this config with their weights."""
    try:
        with torch.device("meta"):
            model = config.build()
    except (ValueError, RuntimeError) as error:  # RuntimeError: more numbers than can be counted
        raise WeightsError(
            f"the weights of {name} have a shape that cannot be built: {files.first_line(error)}"
        ) from None
    fill(model, theirs, table, drop, f"the weights of {name}", dtype)
    if lost := [name for name, buffer in model.named_buffers() if buffer.is_meta]:
        made = config.build()  # what no file holds: the rotations of transformers' models
        for each in lost:
            path, _, leaf = each.rpartition(".")
            setattr(model.get_submodule(path), leaf, made.get_buffer(each))
    return model.eval()
