"""BLIP in the files of salesforce/BLIP: ``model_base.pth`` and what was fine-tuned from it.

The files hold {"model": names → tensors}, and are read without unpickling anything else. There are
four kinds, told apart by their names: pretraining, retrieval, captions, answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard

import torch
from torch import Tensor

from vlcourse.layers.errors import ModelError
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswerer, BLIPAnswererConfig
from vlcourse.models.med_config import MEDConfig
from vlcourse.weights import blip_names as names_of
from vlcourse.weights import files
from vlcourse.weights.blip import blocks
from vlcourse.weights.build import check_depth, filled
from vlcourse.weights.mappings import unwrapped
from vlcourse.weights.rename import Rule, WeightsError, entries, once, same, to_theirs
from vlcourse.weights.state import aliases, weights_of

Config = BLIPConfig | BLIPAnswererConfig

_POINTERS = ("queue_ptr", "ptr_queue")  # as pretraining calls it, and retrieval
# Widths of the published models → their heads, which weights do not tell.
IMAGE_HEADS, TEXT_HEADS = {768: 12, 1024: 16}, {768: 12}
# Theirs is one for both queues, ours one for each: a name for the text queue's.
TEXT_PLACE, TEXT_IDS = "place of the text queue", "ids of the text queue"


def from_salesforce(
    source: Mapping[str, Any] | str | Path,
    *,
    config: Config | None = None,
    sharing: Literal["all-but-sa", "all", "all-but-ca", "none"] = "all-but-sa",
) -> BLIP | BLIPAnswerer:
    """A BLIP with weights in the layout of the official code.

    The files hold the reader and the writer apart. What our model has once must be equal in both.
    The momentum encoders and queues come along; the files do not say how many steps were made, so
    α stands where its ramp ends. What nothing ever read (position_ids, and the momentum encoder's
    cross-attention) is left out.

    Args:
        source: a .pth or .safetensors file, or a state dict.
        config: the whole shape, for sizes that are not those of the published ViT-B and ViT-L.
        sharing: what reader and writer share, where the file is one of pretraining and there is
            no config.

    Returns:
        The model on the CPU, in eval mode: a BLIP with both roles (pretraining), one that only
        reads (retrieval) or only writes (captions), or a BLIPAnswerer.

    Raises:
        WeightsError: for a file that cannot be read, weights of another kind or size; two tensors
            that should be one; or the missing, unused and misshapen names.
    """
    theirs: Mapping[str, Any]
    if isinstance(source, Mapping):
        name, theirs = "the state dict", unwrapped(source, "the state dict")
    else:
        name, theirs = str(source), files.read_state_dict(source)
    role, answers = _kind(theirs, name)
    if config is None:
        config = _config_from_shapes(theirs, name, role, answers, sharing)
    elif config.text.roles != role or isinstance(config, BLIPAnswererConfig) != answers:
        raise WeightsError(f"{name} holds {_called(role, answers)}, and config is of another kind")
    check_depth(blocks(config), theirs, name)
    for copies in _copies(config):
        try:
            theirs = once(theirs, copies, name)
        except WeightsError as error:
            head = str(error).startswith(names_of.HEAD)
            advice = "a config that is not tied" if head else 'another sharing, "none" say'
            raise WeightsError(f"{error}: pass {advice}") from None
    table, there = official_table(config), {**theirs}
    if isinstance(config, BLIPConfig):
        there["steps"] = torch.tensor(config.alpha_steps if _has_twin(config) else 0)
    if _has_twin(config):
        if config.text.writes:  # pretraining has no ids
            there.setdefault("idx_queue", torch.full((1, config.queue), -1))
        twice = ((TEXT_IDS, "idx_queue"), (TEXT_PLACE, _POINTERS[config.text.roles == "reader"]))
        there |= {text: there[one] for text, one in twice if one in there}
    return filled(config, there, table, _unread(config), name, torch.float32)


def to_salesforce(model: BLIP | BLIPAnswerer) -> dict[str, Tensor]:
    """The weights as the official code loads them, under {"model": …} in its files.

    Tensors that need no change share their memory with the model. What the official code stores and
    never reads, the momentum encoder's cross-attention, is the encoder's own. The number of steps
    has no place there.

    Raises:
        WeightsError: for a model with a ResNet.
    """
    config = model.config
    if not isinstance(config.image, BLIPViTConfig):
        raise WeightsError("the official BLIP has no ResNet tower: keep it in our own files")
    found = to_theirs(weights_of(model), official_table(config))
    for first, *others in _copies(config):
        found |= {other: found[first] for other in others}
    left = {"steps", TEXT_PLACE, TEXT_IDS} | ({"idx_queue"} if config.text.writes else set())
    found = {name: tensor for name, tensor in found.items() if name not in left}
    if _has_twin(config):
        cross = [name for name in found if name.startswith("text_encoder.") and ".cross" in name]
        found |= {name.replace("text_encoder.", "text_encoder_m."): found[name] for name in cross}
    return found


def official_table(config: Config) -> list[Rule]:
    """The official names."""
    rules = [
        *names_of.image_table("image", names_of.official_tower()),
        *names_of.text_table(config),
    ]
    if not _has_twin(config):
        return rules
    pointer = _POINTERS[config.text.roles == "reader"]
    return [
        *rules,
        *names_of.image_table("twin.image", names_of.official_tower("visual_encoder_m")),
        *names_of.role_table("reader", "reading", "text_encoder_m", "twin.text"),
        Rule("twin.image_projection.*", "vision_proj_m.*"),
        Rule("twin.text_projection.*", "text_proj_m.*"),
        Rule("image_queue.rows", "image_queue", "transpose"),  # (embed, size) there
        Rule("text_queue.rows", "text_queue", "transpose"),
        Rule("image_queue.ids", "idx_queue", "lead", axes=1),
        Rule("text_queue.ids", TEXT_IDS, "lead", axes=1),
        Rule("image_queue.place", pointer, "lead", axes=1),
        Rule("text_queue.place", TEXT_PLACE, "lead", axes=1),
    ]


def _kind(theirs: Mapping[str, Any], name: str) -> tuple[Literal["both", "reader", "writer"], bool]:
    """Which roles there are, and whether it answers questions."""
    reads, writes = (
        any(key.startswith(part) for key in theirs) for part in ("text_encoder.", "text_decoder.")
    )
    matches = any(key.startswith("itm_head.") for key in theirs)
    if reads and (matches or writes) and "cls_head.0.weight" not in theirs:
        return ("both" if writes else "reader"), not matches
    if writes and not reads:
        return "writer", False
    raise WeightsError(
        f"{name} is none of the official BLIPs that we have (pretraining, retrieval, captions, "
        "answers): it needs a text_encoder and an itm_head, a text_decoder, or both of them"
    )


def _called(role: str, answers: bool) -> str:
    return {"reader": "a model for retrieval", "writer": "a captioner"}.get(
        role, "a model that answers" if answers else "a pretrained model"
    )


def _config_from_shapes(
    theirs: Mapping[str, Any],
    name: str,
    role: Literal["both", "reader", "writer"],
    answers: bool,
    sharing: Literal["all-but-sa", "all", "all-but-ca", "none"],
) -> Config:
    """Our config from the shapes of the weights; the heads and ids are the published ones."""

    def shape(key: str, axes: int) -> tuple[int, ...]:
        found = tuple(getattr(theirs.get(key), "shape", ()))
        if len(found) != axes or 0 in found:
            said = f"the shape {found}" if key in theirs else "none"
            raise WeightsError(f"{name} is no official BLIP: {key} should have {axes} axes: {said}")
        return found

    def layers(prefix: str) -> int:
        numbers = (key.removeprefix(prefix).split(".")[0] for key in theirs if prefix in key)
        return len({number for number in numbers if number.isdecimal()})

    tower, text = "visual_encoder", "text_decoder.bert" if role == "writer" else "text_encoder"
    width, _, _, patch = shape(f"{tower}.patch_embed.proj.weight", 4)
    patches = shape(f"{tower}.pos_embed", 3)[1] - 1
    vocabulary, text_width = shape(f"{text}.embeddings.word_embeddings.weight", 2)
    if width not in IMAGE_HEADS or text_width not in TEXT_HEADS or vocabulary != 30_524:
        raise WeightsError(
            f"{name} has not the sizes of the published BLIPs (widths {width} and {text_width}, "
            f"{vocabulary} words), and weights do not tell the heads: pass config"
        )
    tokens, head = theirs.get(names_of.TOKENS), theirs.get(names_of.HEAD)
    hidden = shape(f"{text}.encoder.layer.0.intermediate.dense.bias", 1)[0]
    try:
        image = BLIPViTConfig(
            image_size=patch * math.isqrt(max(patches, 1)),
            patch_size=patch,
            width=width,
            layers=layers(f"{tower}.blocks."),
            heads=IMAGE_HEADS[width],
            mlp_ratio=shape(f"{tower}.blocks.0.mlp.fc1.bias", 1)[0] / width,
        )
        med = MEDConfig(
            vocab_size=vocabulary,
            context=shape(f"{text}.embeddings.position_embeddings.weight", 2)[0],
            width=text_width,
            layers=layers(f"{text}.encoder.layer."),
            heads=TEXT_HEADS[text_width],
            mlp_ratio=hidden / text_width,
            image_width=width,
            source_width=text_width if answers else None,
            sharing="none" if answers else sharing,
            roles=role,
            tied=head is None or same(head, tokens),
        )
        if answers:
            return BLIPAnswererConfig(image, med)
        queue = shape("image_queue", 2)[1] if "image_queue" in theirs else 0
        return BLIPConfig(
            shape("vision_proj.weight", 2)[0] if role != "writer" else 256, image, med,
            tasks={"reader": ("itc", "itm"), "writer": ("lm",)}.get(role, ("itc", "itm", "lm")),
            queue=queue, momentum=0.995 if queue else 0.0,
        )  # fmt: skip
    except ModelError as error:  # out of our own ranges
        raise WeightsError(f"{name} has a shape that cannot be built: {error}") from None


def _copies(config: Config) -> list[tuple[str, ...]]:
    """Groups of their names that are one tensor of ours; the table names the first."""
    with torch.device("meta"):
        model = config.build()
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    table = official_table(config)
    theirs = {our: entry.theirs for entry in entries(names, table) for our in entry.ours}
    groups: dict[str, list[str]] = {}
    for alias, first in aliases(model).items():
        groups.setdefault(theirs[first], [theirs[first]]).append(theirs[alias])
    bias = [names_of.HEAD_BIAS] if config.text.writes else []
    return [*bias, *(tuple(group) for group in groups.values())]


def _unread(config: Config) -> list[str]:
    """Names that a file may hold and nothing reads: copies, and what never was read."""
    copies = [name for group in _copies(config) for name in group[1:]]
    layers = [
        f"text_encoder_m.encoder.layer.{i}.crossattention." for i in range(config.text.layers)
    ]
    parts = [f"self.{p}" for p in ("query", "key", "value")] + ["output.dense", "output.LayerNorm"]
    cross = [f"{a}{b}.{c}" for a in layers for b in parts for c in ("weight", "bias")]
    ids = [*names_of.POSITION_IDS, "text_encoder_m.embeddings.position_ids"]
    return copies + ids + (cross if _has_twin(config) else [])


def _has_twin(config: Config) -> TypeGuard[BLIPConfig]:
    """Whether there are momentum encoders and queues."""
    return isinstance(config, BLIPConfig) and config.momentum > 0 and "itc" in config.tasks
