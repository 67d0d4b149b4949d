"""Adapters under the names of others: the released LLaMA-Adapter V1 and V2, and peft's.

None of these files holds the LLaMA: they are read around one, whose weights are there already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.layers.frozen import freeze
from vlcourse.models.adapter import Adapter, AdapterConfig
from vlcourse.models.adapter_v2 import AdapterV2, AdapterV2Config
from vlcourse.models.llama import LLaMA
from vlcourse.weights import files
from vlcourse.weights.adapter_names import prompt_rules, v2_norms, v2_rules
from vlcourse.weights.mappings import unwrapped
from vlcourse.weights.rename import Rule, WeightsError, fill, shorten, to_theirs

Source = Mapping[str, Any] | str | Path
QUERY = "adapter_query.weight"


def from_released(source: Source, llm: LLaMA, prompts: int = 10) -> Adapter:
    """Version 1 as its authors released it: ``adapter_query.weight`` and each layer's gate.

    Args:
        source: a state dict, or a .pth or .safetensors file with one.
        llm: the LLaMA around which it stands; it is shared, not copied, and frozen.
        prompts: K, which the file does not tell.

    Returns:
        The adapter in eval mode.

    Raises:
        WeightsError: for a file that cannot be read; the missing, unused and misshapen names.
    """
    theirs, name = _read(source)
    rows = _rows(theirs, QUERY, prompts, name)
    config = AdapterConfig(llm.config, prompts, _depth(rows // prompts, llm, name))
    model = around(config.build(), llm)
    below = llm.config.layers - config.layers
    unused = [f"layers.{i}.attention.gate" for i in range(below)]  # stored for every layer
    fill_parts({"layers": model.layers}, theirs, prompt_rules(config.layers, below), unused, name)
    return model


def to_released(model: Adapter) -> dict[str, Tensor]:
    """A version 1 as its authors' code loads it (its inference code forgets the tanh: issue 39).

    Raises:
        WeightsError: when its gates are not one a head behind a tanh.
    """
    if model.config.gate != "tanh":
        raise WeightsError("the released layout has one gate a head behind a tanh: not this one's")
    config = model.config
    below = config.llm.layers - config.layers
    table = prompt_rules(config.layers, below)
    closed = torch.zeros(1, config.llm.heads, 1, 1)
    gates = {f"layers.{i}.attention.gate": closed.clone() for i in range(below)}
    return gates | to_theirs(weights_of_parts({"layers": model.layers}), table)


def from_released_v2(source: Source, llm: LLaMA, config: AdapterV2Config) -> AdapterV2:
    """The multimodal version 2 as its authors released it, which differs from the paper's.

    Its biases are at five of the seven linear maps, it has no scales, and fuses late.

    Args:
        source: a state dict, or a .pth file with one under "model".
        llm: the LLaMA around which it stands; it is shared, not copied, and frozen.
        config: sizes that the file does not tell: CLIP's tower and the heads of the queries. What
            the file tells (prompts, layers, whether biases and norms were tuned) is taken from it.

    Returns:
        The adapter in eval mode. CLIP's tower is a fresh one: fill ``image`` and
        ``image_projection`` from CLIP's own file.

    Raises:
        WeightsError: as for :func:`from_released`; for a file with LoRA maps beside its biases.
    """
    theirs, name = _read(source)
    if lora := [key for key in theirs if "lora_" in key or key.endswith("new_gate")]:
        raise WeightsError(f"{name} has LoRA maps too, which this model has not: {shorten(lora)}")
    queries = len(_tensor(theirs, "visual_query.weight", name))
    rows = _rows(theirs, QUERY, queries, name)
    norms = v2_norms(llm.config.layers)
    config = replace(
        config, llm=llm.config, prompts=queries, queries=queries, fusion="late",
        layers=_depth(rows // queries, llm, name), tuned=any(key in theirs for key in norms),
        visual_width=_tensor(theirs, "visual_query.weight", name).shape[1],
        visual_layers=len({k.split(".")[1] for k in theirs if k.startswith("visual_blocks.")}),
    )  # fmt: skip
    model = around(config.build(), llm)
    own = llm.state_dict()
    shifts = {k: theirs[k] - own[v] for k, v in norms.items() if k in theirs}
    below = llm.config.layers - config.layers
    unused = [f"llama.layers.{i}.attention.gate" for i in range(below)]
    unused += [key for key in theirs if key.startswith("clip.")]  # CLIP's own, as it was
    fill_parts(
        _v2_parts(model), {**theirs, **shifts}, v2_rules(config), unused, name, silent=_unsaid
    )
    return model


def to_released_v2(model: AdapterV2) -> dict[str, Tensor]:
    """A version 2 as its authors' code loads it.

    Raises:
        WeightsError: for what that code does not have: early fusion, scales, and biases of keys
            and values.
    """
    config = model.config
    if config.fusion != "late":
        raise WeightsError("the released code fuses late: it has no early visual tokens")
    weights = weights_of_parts(_v2_parts(model))
    for part, neutral, what in (
        (".scale", 1.0, "scales"), (".k.bias", 0.0, "biases of keys"),
        (".v.bias", 0.0, "biases of values"),
    ):  # fmt: skip
        told = [n for n, t in weights.items() if n.startswith("tuned.") and n.endswith(part)]
        if own := [name for name in told if bool((weights[name] != neutral).any())]:
            raise WeightsError(f"the released code has no {what}, and this adapter: {shorten(own)}")
    said = {name: t for name, t in weights.items() if not _unsaid(name)}
    theirs = to_theirs(said, v2_rules(config))
    base = model.llm.state_dict()
    for key, ours in v2_norms(config.llm.layers).items():
        if key in theirs:
            theirs[key] = theirs[key] + base[ours]
    below = config.llm.layers - config.layers
    closed = torch.zeros(1, config.llm.heads, 1, 1)
    gates = {f"llama.layers.{i}.attention.gate": closed.clone() for i in range(below)}
    return gates | theirs


def _unsaid(name: str) -> bool:
    """Whether the released version 2 has no place for this parameter of ours."""
    return name.startswith("tuned.") and name.endswith((".scale", ".k.bias", ".v.bias"))


def _v2_parts(model: AdapterV2) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {"visual": model.visual, "layers": model.layers}
    if model.norm_final is not None:
        parts |= {"tuned": model.tuned, "norm_final": model.norm_final}
    return parts


def _read(source: Source) -> tuple[Mapping[str, Any], str]:
    if isinstance(source, Mapping):
        return unwrapped(source, "the state dict"), "the state dict"
    return unwrapped(files.read_state_dict(files.local(source)), str(source)), str(source)


def _tensor(theirs: Mapping[str, Any], key: str, name: str) -> Tensor:
    found = theirs.get(key)
    if not isinstance(found, Tensor) or found.ndim != 2 or not len(found):
        raise WeightsError(f"{name} is no adapter of this kind: it has no matrix {key}")
    return found


def _rows(theirs: Mapping[str, Any], key: str, prompts: int, name: str) -> int:
    rows = len(_tensor(theirs, key, name))
    if rows % prompts:
        raise WeightsError(
            f"{key} of {name} has {rows} rows, no multiple of {prompts} prompts a layer: say how "
            "many it has with prompts=…"
        )
    return rows


def _depth(layers: int, llm: LLaMA, name: str) -> int:
    if layers > llm.config.layers:
        raise WeightsError(
            f"{name} has prompts for {layers} layers, and the LLaMA has {llm.config.layers}"
        )
    return layers


def around(model: Any, llm: LLaMA) -> Any:
    """The adapter around this very LLaMA, which is frozen from now on, in eval mode."""
    model.llm = freeze(llm)
    return model.eval()


def weights_of_parts(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The weights of an adapter's parts, under the names of the parts."""
    return {f"{n}.{name}": t for n, part in parts.items() for name, t in part.state_dict().items()}


def fill_parts(
    parts: Mapping[str, nn.Module],
    theirs: Mapping[str, Any],
    table: list[Rule],
    drop: Collection[str],
    name: str,
    silent: Callable[[str], bool] | None = None,
) -> None:
    """Fill an adapter's parts, strictly; those that ``silent`` is true of stay as they are."""
    holder = nn.ModuleDict(parts)
    if silent is not None:
        kept = {n: t for n, t in holder.state_dict().items() if silent(n)}
        extra = {f"kept:{n}": t for n, t in kept.items()}
        table = table + [Rule(n, f"kept:{n}") for n in kept]
        theirs = {**theirs, **extra}
    fill(holder, theirs, table, drop, f"the weights of {name}")
