"""VideoChat in the files of its release (OpenGVLab/Ask-Anything, video_chat).

A file holds {"model": names → tensors} of what was trained: the aggregators, the norm of the
tower's tokens, the queries for videos, and the projection. The tower and the Q-Former are those of
a BLIP-2, and the language model is given beside them, too. What the release's code does otherwise
than it says (a first token that is the vector of ones, a second stage that begins anew) is not in
its files, and not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.eva import EVAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.videochat import PRESETS, VideoChat, VideoChatConfig
from vlcourse.weights import blip2_names as names_of
from vlcourse.weights import files
from vlcourse.weights.build import check_depth, filled
from vlcourse.weights.mappings import unwrapped
from vlcourse.weights.rename import Rule, WeightsError, to_theirs
from vlcourse.weights.state import weights_of

TOWER, PATCH = "visual_encoder.blocks.", "visual_encoder.patch_embed.proj.weight"
LENT = ("image", "qformer", "llm")


def release_table(tower: bool = False, qformer: bool = False) -> list[Rule]:
    """The release's names of what is trained, and on request those of the frozen parts."""
    theirs = "visual_encoder.gmhra.*"
    block, attention = "gmhra.blocks.*", "gmhra.blocks.*.attention"
    rules = [
        Rule("extra", "extra_query_tokens", "lead", axes=1),
        Rule("gmhra.token", "visual_encoder.gmhra_cls_token", "lead", axes=2),
        Rule(f"{block}.positions.conv.*", f"{theirs}.dpe.*"),
        Rule(f"{attention}.{{q,k,v}}.weight", f"{theirs}.attn.in_proj_weight", "rows"),
        Rule(f"{attention}.{{q,k,v}}.bias", f"{theirs}.attn.in_proj_bias", "rows"),
        Rule(f"{attention}.out.*", f"{theirs}.attn.out_proj.*"),
        Rule(f"{block}.norm_token.*", f"{theirs}.ln_1.*"),
        Rule(f"{block}.norm_mlp.*", f"{theirs}.ln_2.*"),
        Rule(f"{block}.norm_frames.*", f"{theirs}.ln_3.*"),
        Rule(f"{block}.mlp.up.*", f"{theirs}.mlp.c_fc.*"),
        Rule(f"{block}.mlp.down.*", f"{theirs}.mlp.c_proj.*"),
        Rule("projection.*", "llama_proj.*"),
    ]
    whole = names_of.lavis_qformer()  # the norm before a Q-Former is among its names
    rules += whole if qformer else [rule for rule in whole if rule.ours.startswith("norm_image")]
    return rules + (names_of.lavis_eva() if tower else [])


def buffers(config: VideoChatConfig) -> list[str]:
    """Names that hold no weights and may be there: positions, and LLaMA's frequencies."""
    layers = config.llm.layers if isinstance(config.llm, LLaMAConfig) else 0
    rotary = "llama_model.model.layers.{}.self_attn.rotary_emb.inv_freq"
    return [*names_of.LAVIS_BUFFERS, *(rotary.format(i) for i in range(layers))]


def from_opengvlab(
    source: Mapping[str, Any] | str | Path,
    *,
    blip2: BLIP2 | BLIP2LLM | None = None,
    llm: nn.Module | None = None,
    config: VideoChatConfig | None = None,
) -> VideoChat:
    """A VideoChat with weights in the layout of its release.

    Args:
        source: a .pth or .safetensors file, or a state dict.
        blip2: has the image tower and the Q-Former, where the file holds none: a BLIP-2 with ViT-g,
            of either stage.
        llm: the language model: Vicuna-7B or StableVicuna-13B as a LLaMA.
        config: the shape; by default the release's, with this language model.

    Returns:
        The model on the CPU, in eval mode. It holds copies of the parts that were given.

    Raises:
        WeightsError: for a file that cannot be read, or weights of another size; for local
            aggregators, which no released config has; for a part that neither the file holds nor
            was given; or the missing, unused and misshapen names.
    """
    theirs: Mapping[str, Any]
    if isinstance(source, Mapping):
        name, theirs = "the state dict", unwrapped(source, "the state dict")
    else:
        name, theirs = str(source), files.read_state_dict(source)
    if any("lmhra" in key for key in theirs):
        raise WeightsError(
            f"{name} has local aggregators within the tower (lmhra), which no released config of "
            "VideoChat has, and ours has not either"
        )
    if llm is None:
        raise WeightsError(f"{name} holds what was trained, and no language model: pass it as llm")
    config = config or _published(theirs, llm, name)
    check_depth(config.qformer.layers, theirs, name)
    own = {"image": any(k.startswith(TOWER) for k in theirs), "qformer": "query_tokens" in theirs}
    lent = {f"llm.{n}": t for n, t in weights_of(llm).items()}
    for part in ("image", "qformer"):
        if own[part]:
            continue
        if blip2 is None:
            raise WeightsError(
                f"{name} holds what was trained, and neither tower nor Q-Former: pass a BLIP-2 "
                "that has them as blip2"
            )
        lent |= _lent(getattr(blip2, part), part)
    table = release_table(own["image"], own["qformer"])
    table += [Rule(n, n) for n in lent]
    theirs = _flat_patch(theirs)
    return filled(config, {**theirs, **lent}, table, buffers(config), name, torch.float32)


def to_opengvlab(model: VideoChat, *, whole: bool = False) -> dict[str, Tensor]:
    """The weights as the release's code loads them, under {"model": …} in its files.

    Tensors that need no change share their memory with the model.

    Args:
        model: of the release's kind.
        whole: the tower and the Q-Former, too; by default what is trained.

    Raises:
        WeightsError: for what the release does not have.
    """
    c = model.config
    odd = {
        "a tower that is not EVA's": not isinstance(c.image, EVAConfig),
        f"aggregators of kind {c.gmhra.kind}": c.gmhra.kind != "videochat",
        "local aggregators": c.gmhra.local > 0,
        "a clock": c.clock != "none",
        "several vectors a query": c.spread != 1,
    }
    if found := [what for what, is_so in odd.items() if is_so]:
        raise WeightsError(f"VideoChat's release has no {', '.join(found)}: keep it in our files")
    left = ("llm.",) if whole else tuple(f"{part}." for part in LENT)
    kept = {n: t for n, t in weights_of(model).items() if not n.startswith(left)}
    theirs = to_theirs(kept, release_table(whole, whole))
    if whole:  # a picture's patch is a video's of one frame: (D, 3, 1, P, P)
        theirs[PATCH] = theirs[PATCH].unsqueeze(2)
    return theirs


def _flat_patch(theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Their convolution of patches over one frame as one without time."""
    patch = theirs[PATCH] if PATCH in theirs else None
    if isinstance(patch, Tensor) and patch.ndim == 5 and patch.shape[2] == 1:
        return {**theirs, PATCH: patch.squeeze(2)}
    return theirs


def _lent(part: nn.Module, name: str) -> dict[str, Tensor]:
    """A part's weights under our names in a VideoChat, whose Q-Former has no text."""
    text = ("words.", "head.")
    return {
        f"{name}.{n}": t
        for n, t in weights_of(part).items()
        if name == "image" or not (n.startswith(text) or "_text." in n)
    }


def _published(theirs: Mapping[str, Any], llm: nn.Module, name: str) -> VideoChatConfig:
    """The released model that has these sizes, before this language model."""
    for config in PRESETS.values():
        shape = tuple(getattr(theirs.get("llama_proj.weight"), "shape", ()))
        assert isinstance(config.llm, LLaMAConfig)
        if shape == (config.llm.width, config.qformer.width):
            return replace(config, llm=llm.config)  # type: ignore[arg-type]
    raise WeightsError(f"{name} has not the sizes of a released VideoChat: pass config")
