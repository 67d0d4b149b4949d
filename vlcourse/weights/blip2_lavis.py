"""BLIP-2 in the files of LAVIS, the official code: both stages.

The published files hold {"model": names → tensors} of what was trained, and neither the image tower
nor the language model, which are given beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.blip2 import PRESETS as FIRST
from vlcourse.models.blip2_llm import BLIP2LLM, BLIP2LLMConfig
from vlcourse.models.blip2_llm import PRESETS as SECOND
from vlcourse.models.eva import EVAConfig
from vlcourse.weights import blip2_names as names_of
from vlcourse.weights import files
from vlcourse.weights.build import check_depth, filled
from vlcourse.weights.mappings import unwrapped
from vlcourse.weights.rename import Rule, WeightsError, once, to_theirs
from vlcourse.weights.state import weights_of

Config = BLIP2Config | BLIP2LLMConfig
TOWER = "visual_encoder."
PROJECTIONS = {True: "t5_proj", False: "opt_proj"}  # whether the language model encodes


def from_lavis(
    source: Mapping[str, Any] | str | Path,
    *,
    config: Config | None = None,
    image: nn.Module | None = None,
    llm: nn.Module | None = None,
) -> BLIP2 | BLIP2LLM:
    """A BLIP-2 with weights in the layout of LAVIS; its temperature comes along.

    Args:
        source: a .pth or .safetensors file, or a state dict.
        config: the shape; by default that of the published model with these sizes.
        image: the image tower, where the file holds none: ``from_openai(…).image``, say. (Of the
            towers only EVA's is read from a file.)
        llm: the second stage's language model.

    Returns:
        The model on the CPU, in eval mode. It holds copies of the parts that were given.

    Raises:
        WeightsError: for a file that cannot be read, weights of another kind or size; a part that
            the file does not hold and that was not given; or the missing, unused and misshapen
            names.
    """
    theirs: Mapping[str, Any]
    if isinstance(source, Mapping):
        name, theirs = "the state dict", unwrapped(source, "the state dict")
    else:
        name, theirs = str(source), files.read_state_dict(source)
    config = config or _published(theirs, name)
    check_depth(config.qformer.layers, theirs, name)
    for copies in names_of.LAVIS_COPIES:
        theirs = once(theirs, copies, name)
    own = any(key.startswith(TOWER) for key in theirs)
    given = {"image": None if own else image, "llm": llm}
    if isinstance(config, BLIP2Config):
        del given["llm"]
    lent: dict[str, Tensor] = {}
    for part, module in given.items():
        if module is not None:
            lent |= {f"{part}.{n}": t for n, t in weights_of(module).items()}
        elif part == "llm" or not own:
            raise WeightsError(
                f"{name} holds what was trained, and no {_CALLED[part]}: pass it as {part}"
            )
    table = lavis_table(config, own, lent)
    drop = [*names_of.LAVIS_BUFFERS, *(n for group in names_of.LAVIS_COPIES for n in group[1:])]
    return filled(config, {**theirs, **lent}, table, drop, name, torch.float32)


_CALLED = {"image": "image tower", "llm": "language model"}


def to_lavis(model: BLIP2 | BLIP2LLM, *, tower: bool = False) -> dict[str, Tensor]:
    """The weights as LAVIS loads them, under {"model": …} in its files: what was trained.

    Tensors that need no change share their memory with the model.

    Args:
        model: either stage.
        tower: whether EVA's tower is written, too.

    Raises:
        WeightsError: for a grid's positions, or another tower that is to be written.
    """
    config = model.config
    if tower and not isinstance(config.image, EVAConfig):
        raise WeightsError(f"LAVIS's layout of a {type(config.image).__name__} is not known here")
    if "norm_image.positions" in model.state_dict():
        raise WeightsError("LAVIS's BLIP-2 has no positions for a grid: keep it in our own files")
    left = ("llm.",) if tower else ("llm.", "image.")
    kept = {n: t for n, t in weights_of(model).items() if not n.startswith(left)}
    found = to_theirs(kept, lavis_table(config, tower, {}))
    for first, other in names_of.LAVIS_COPIES:
        if first in found and config.qformer.writes:
            found[other] = found[first]
    return found


def lavis_table(config: Config, tower: bool, lent: Mapping[str, Tensor]) -> list[Rule]:
    """LAVIS's names; ``lent`` are parts under our own."""
    rules = [*names_of.lavis_qformer(), *(Rule(name, name) for name in lent)]
    if tower:
        rules += names_of.lavis_eva()
    if isinstance(config, BLIP2Config):
        return [*rules, *names_of.heads("vision_proj", "text_proj")]
    return [*rules, Rule("projection.*", f"{PROJECTIONS[config.encodes]}.*")]


def _published(theirs: Mapping[str, Any], name: str) -> Config:
    """The published model that has these sizes."""

    def rows(key: str) -> int | None:
        shape = tuple(getattr(theirs.get(key), "shape", ()))
        return shape[0] if shape else None

    width = rows("ln_vision.weight")
    sizes = {encodes: rows(f"{proj}.weight") for encodes, proj in PROJECTIONS.items()}
    if not any(sizes.values()):
        for first in FIRST.values():
            if first.qformer.image_width == width:
                return first
    for second in SECOND.values():
        llm = second.llm
        proj = sizes[second.encodes]
        if proj and second.qformer.image_width == width and proj == _width(llm):
            return second
    raise WeightsError(f"{name} has not the sizes of a published BLIP-2: pass config")


def _width(llm: Any) -> int:
    return int(llm.width if hasattr(llm, "width") else llm.theirs().hidden_size)
