"""Disjoint parameter groups: which parameters captions train, and which instructions do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vlcourse.models.adapter_v2 import AdapterV2, AdapterV2Config
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect

Two = tuple[set[str], set[str]]
_SEES = ("visual", "early")
_FOLLOWS = ("layers", "tuned", "norm_final")


def parameter_groups(model: Any) -> Two:
    """The reference: section 3.2 of version 2.

    Args:
        model: an :class:`~vlcourse.models.adapter_v2.AdapterV2`.

    Returns:
        The names of the parameters that captions train, and of those that instructions train.
    """
    learned = [name for name, p in model.named_parameters() if p.requires_grad]
    captions = {name for name in learned if name.split(".")[0] in _SEES}
    return captions, set(learned) - captions


def _with(slip: str, model: Any) -> Two:
    named = dict(model.named_parameters())
    learned = [n for n, p in named.items() if p.requires_grad or slip == "frozen too"]
    captions = {n for n in learned if n.startswith(("visual.", "early."))}
    instructions = set(learned) - captions
    if slip == "frozen too":
        captions |= {n for n in learned if n.startswith("image")}
        instructions -= captions
    if slip == "all in both":
        return set(learned), set(learned)
    if slip == "norms in both":
        return captions | {n for n in learned if "norm" in n}, instructions
    if slip == "swapped":
        return instructions, captions
    if slip == "by the word norm":
        moved = {n for n in captions if "norm" in n or "bias" in n}
        return captions - moved, instructions | moved
    if slip == "all gates to instructions":
        moved = {n for n in captions if n.startswith("early")}
        return captions - moved, instructions | moved
    if slip == "all gates to captions":
        moved = {n for n in instructions if "gate" in n}
        return captions | moved, instructions - moved
    if slip == "last norm forgotten":
        return captions, {n for n in instructions if not n.startswith("norm_final")}
    if slip == "prompts only":
        return captions, {n for n in instructions if n.startswith("layers")}
    return captions, instructions


_SIDES = (
    "Captions: what begins with visual. or early. Instructions: layers., tuned. and norm_final."
)


def _check(candidate: Callable[..., Any]) -> None:
    config = AdapterV2Config(
        LLaMAConfig(11, 16, layers=3, heads=2, hidden=24, context=16),
        image=ViTConfig(16, 8, 16, 1, 2), image_embed=8, prompts=2, layers=2, queries=2, early=1,
        visual_width=8, visual_layers=1, visual_heads=2,
    )  # fmt: skip
    model = AdapterV2(config)
    found = call(candidate, model)
    pair = isinstance(found, (tuple, list)) and len(found) == 2
    expect(pair, "the answer is not two groups", "return captions, instructions")
    kinds = all(isinstance(group, (set, list, tuple, frozenset)) for group in found)
    named = kinds and all(isinstance(name, str) for group in found for name in group)
    expect(named, "the groups are no sets of names", "{name for name, p in …}")
    captions, instructions = map(set, found)
    right = parameter_groups(model)
    if both := captions & instructions:
        told = f"{min(both)} is in both groups"
        expect(False, told, f"Disjoint: no parameter in both. {_SIDES}")
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    if held := (captions | instructions) & frozen:
        expect(False, f"{min(held)} is frozen", "Only parameters with p.requires_grad.")
    swapped = captions == right[1] and instructions == right[0]
    expect(not swapped, "the groups are swapped", "return captions, instructions")
    for group, wanted, said in ((captions, right[0], "captions"), (instructions, right[1], "inst")):
        what = "captions" if said == "captions" else "instructions"
        if more := group - wanted:
            expect(False, f"{min(more)} is among those of the {what}", _SIDES)
    if less := (right[0] | right[1]) - captions - instructions:
        expect(False, f"{min(less)} is in no group, so that it never learns", _SIDES)


def _in_a_loop(model: Any) -> Two:
    captions: set[str] = set()
    instructions: set[str] = set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        (captions if name.startswith(_SEES) else instructions).add(name)
    return captions, instructions


def _by_modules(model: Any) -> Any:
    return tuple(
        [f"{part}.{name}" for part in parts for name, _ in getattr(model, part).named_parameters()]
        for parts in (_SEES, _FOLLOWS)
    )


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="adapter.groups",
        title="Disjoint groups",
        minutes=6,
        difficulty=1,
        reference=parameter_groups,
        check=_check,
        hints=(
            "Print the names first: for name, p in model.named_parameters().",
            "The first part of a name says where it belongs: name.split('.')[0].",
            _SIDES,
        ),
        wrong=(
            Wrong("all in both", partial(_with, "all in both"), "Disjoint"),
            Wrong("norms in both", partial(_with, "norms in both"), "Disjoint"),
            Wrong("frozen too", partial(_with, "frozen too"), "requires_grad"),
            Wrong("swapped", partial(_with, "swapped"), "return captions, instructions"),
            Wrong("by the word norm", partial(_with, "by the word norm"), "visual."),
            Wrong(
                "all gates to instructions", partial(_with, "all gates to instructions"), "early."
            ),
            Wrong("all gates to captions", partial(_with, "all gates to captions"), "layers."),
            Wrong("last norm forgotten", partial(_with, "last norm forgotten"), "norm_final"),
            Wrong("prompts only", partial(_with, "prompts only"), "tuned."),
            Wrong("one group", lambda m: parameter_groups(m)[0], "return captions, instructions"),
        ),
        right=(
            Right("the other way round", partial(_with, "")),
            Right("in a loop", _in_a_loop),
            Right("module by module", _by_modules),
        ),
    ),
)
