"""Adapters in peft's layout: its AdaptionPrompt (LLaMA-Adapter V1, nearly) and its LoRA.

peft's AdaptionPrompt has one gate a layer, without a tanh; the paper has one a head behind a tanh.
Our adapter can be either (``gate="linear"`` or ``"tanh"``), so that peft's are computed as peft
does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vlcourse.files import write_json
from vlcourse.models.adapter import Adapter, AdapterConfig
from vlcourse.models.llama import LLaMA
from vlcourse.models.lora import LoRA, LoRAConfig
from vlcourse.weights import files
from vlcourse.weights.adapter import around, fill_parts, weights_of_parts
from vlcourse.weights.adapter_names import hf_targets, of_hf, peft_lora, peft_prompts
from vlcourse.weights.rename import WeightsError, to_theirs
from vlcourse.weights.settings import Settings
from vlcourse.weights.state import write_weights

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# What LoRA's settings say that ours has not, with what they must be.
_PLAIN: dict[str, Any] = {
    "bias": "none", "fan_in_fan_out": False, "use_dora": False, "use_rslora": False,
    "lora_bias": False,
}  # fmt: skip
_EMPTY = ("alpha_pattern", "rank_pattern", "modules_to_save", "layers_to_transform")


def from_peft(
    source: str | Path | Mapping[str, Tensor],
    llm: LLaMA,
    settings: Mapping[str, Any] | None = None,
) -> Adapter | LoRA:
    """An AdaptionPrompt or a LoRA of peft's around our LLaMA.

    Args:
        source: a folder as peft's ``save_pretrained`` writes it, or what its
            ``get_peft_model_state_dict`` gives.
        llm: the LLaMA around which it stands; it is shared, not copied, and frozen.
        settings: the content of adapter_config.json, which a state dict needs beside it.

    Returns:
        The adapter in eval mode.

    Raises:
        WeightsError: for another method of peft's, or settings that ours does not have; for files
            that cannot be read; the missing, unused and misshapen names.
    """
    name = "the state dict"
    if not isinstance(source, Mapping):
        folder, name = files.local(source), str(source)
        settings = files.read_json(folder / CONFIG) if settings is None else settings
        source = files.read_state_dict(folder / WEIGHTS)
    if settings is None:
        raise WeightsError(f"weights do not tell what they are: pass settings, as in {CONFIG}")
    said = Settings(settings, f"{CONFIG} of {name}")
    kind = said.need("peft_type", None, "ADAPTION_PROMPT", "LORA")
    if kind == "ADAPTION_PROMPT":
        prompts, layers = (said.whole(key, None) for key in ("adapter_len", "adapter_layers"))
        config = _built(
            name, AdapterConfig, llm=llm.config, gate="linear", prompts=prompts, layers=layers
        )
        table = peft_prompts(config.layers, llm.config.layers - config.layers)
    else:
        for key, wanted in _PLAIN.items():
            said.need(key, wanted, wanted)
        for key in _EMPTY:
            if settings.get(key):
                raise said.error(key, settings[key], "nothing")
        targets = settings.get("target_modules")
        try:
            own = of_hf(list(targets))  # type: ignore[arg-type]
        except (KeyError, TypeError, AttributeError):
            raise said.error("target_modules", targets, "names such as q_proj") from None
        rank, alpha = said.whole("r", None), said.real("lora_alpha", None, 0.0, 1e6)
        config = _built(
            name, LoRAConfig, llm=llm.config, rank=rank, alpha=alpha, targets=tuple(own)
        )
        table = peft_lora(config)
    model = around(config.build(), llm)
    fill_parts({"layers": model.layers}, source, table, (), name)
    return model


def to_peft(model: Adapter | LoRA) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An adapter's weights and adapter_config.json as peft takes them, for transformers' LLaMA.

    Raises:
        WeightsError: for what peft does not have: gates of heads that differ, or a gate behind a
            tanh, unless all gates of each layer are one number.
    """
    config = model.config
    settings: dict[str, Any] = {"task_type": "CAUSAL_LM", "base_model_name_or_path": None}
    weights = weights_of_parts({"layers": model.layers})
    if isinstance(model, LoRA):
        settings |= {
            "peft_type": "LORA", "r": config.rank, "lora_alpha": config.alpha,
            "target_modules": hf_targets(config.targets),
        }  # fmt: skip
        return to_theirs(weights, peft_lora(config)), settings
    if type(model) is not Adapter:
        raise WeightsError("peft's AdaptionPrompt sees no images, and this adapter does")
    for i, layer in enumerate(model.layers):
        gate = layer.gate().detach().flatten()
        if not bool((gate == gate[0]).all()):
            raise WeightsError(
                f"the heads of layer {i} have different gates, and peft has one for all of them: "
                'train with gate="linear" for peft'
            )
        weights[f"layers.{i}.gate.value"] = gate[:1].clone()
    settings |= {
        "peft_type": "ADAPTION_PROMPT", "adapter_len": config.prompts,
        "adapter_layers": config.layers, "target_modules": "self_attn",
    }  # fmt: skip
    below = config.llm.layers - config.layers
    return to_theirs(weights, peft_prompts(config.layers, below)), settings


def save_peft(model: Adapter | LoRA, folder: str | Path) -> None:
    """Write a folder that peft's ``PeftModel.from_pretrained`` and :func:`from_peft` read.

    It appears complete or not at all.

    Raises:
        WeightsError: when the folder holds something already, or as in :func:`to_peft`.
    """
    weights, settings = to_peft(model)
    place = Path(folder).expanduser()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise WeightsError(f"{place} exists already: name a new folder, or empty this one")
    temporary = place.with_name(f".tmp-{os.getpid()}-{place.name}")
    temporary.mkdir(parents=True)
    try:
        write_json(temporary / CONFIG, settings)
        write_weights(temporary / WEIGHTS, weights)
        os.replace(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _built(name: str, kind: Any, **said: Any) -> Any:
    try:
        return kind(**said)
    except ValueError as error:  # out of our own ranges
        raise WeightsError(f"{name} has a shape that cannot be built: {error}") from None
