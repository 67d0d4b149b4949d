"""Whether a model does what it is told: exact responses, by kind of instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.data.collate.pictures import normalise
from vlcourse.data.collate.text import IGNORED
from vlcourse.data.corpus.instructions import (
    INSTRUCTION_KINDS,
    KNOWN_KINDS,
    Instructions,
)
from vlcourse.data.corpus.shown import CAPTION, asked
from vlcourse.evals.captions import caption_set, judge
from vlcourse.evals.reading import TextBatches
from vlcourse.generate import Options, search
from vlcourse.layers.frozen import evaluating
from vlcourse.tokenizers import TextTokenizer


@torch.no_grad()
def responses_right(
    model: nn.Module, collate: TextBatches, samples: Sequence[dict[str, Any]], batch_size: int = 64
) -> Tensor:
    """Whether greedy decoding would write exactly each sample's learned parts: bool (N,).

    As :func:`vlcourse.evals.reading.answers_right`, for models that may see as well: a batch's
    pictures, if it has any, go to the model.
    """
    device = next(model.parameters()).device
    right = []
    with evaluating(model):
        for start in range(0, len(samples), batch_size):
            batch = collate(samples[start : start + batch_size])
            own = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
            seen = {"pixels": own["pixels"]} if "pixels" in own else {}
            predicted = model(own["tokens"], **seen).argmax(dim=-1)
            targets = own["targets"]
            right.append(((predicted == targets) | (targets == IGNORED)).all(dim=1).cpu())
    return torch.cat(right)


def instruction_set(
    split: str = "heldout",
    scenes: int = 600,
    seed: int = 17,
    objects: tuple[int, int] = (2, 4),
    images: bool = False,
) -> list[dict[str, Any]]:
    """Scenes with one instruction each, as many of each kind, but for what a scene does not allow.

    Args:
        split: "heldout": each scene has an object whose colour and shape never came together in
            training; "test": new scenes of known objects.
        scenes, seed, objects, images: as of :class:`Instructions`.
    """
    found = Instructions(split, scenes, seed, objects, images=images)
    return found.__getitems__(range(scenes))


def following_details(
    model: nn.Module,
    collate: TextBatches,
    split: str = "heldout",
    scenes: int = 600,
    objects: tuple[int, int] = (2, 4),
    images: bool = False,
) -> dict[str, Tensor]:
    """Right (1) or wrong (0) for each instruction, by kind: float (N,) each, for intervals."""
    samples = instruction_set(split, scenes, objects=objects, images=images)
    right = responses_right(model, collate, samples).float()
    kinds = [sample["kind"] for sample in samples]
    return {
        kind: right[torch.tensor([k == kind for k in kinds])]
        for kind in INSTRUCTION_KINDS
        if kind in kinds
    }


def following(
    model: nn.Module,
    collate: TextBatches,
    split: str = "heldout",
    scenes: int = 600,
    objects: tuple[int, int] = (2, 4),
    images: bool = False,
) -> dict[str, float]:
    """The share of exact responses by kind of instruction.

    "score" is the mean over the kinds, "known" that over those which need nothing new.
    """
    details = following_details(model, collate, split, scenes, objects, images)
    found = {kind: float(values.mean()) for kind, values in details.items()}
    known = [found[kind] for kind in KNOWN_KINDS if kind in found]
    return {
        **found, "known": sum(known) / len(known), "score": sum(found.values()) / len(found)
    }  # fmt: skip


@torch.no_grad()
def captions(
    model: nn.Module,
    tokenizer: TextTokenizer,
    size: int,
    objects: tuple[int, int] = (1, 2),
    n: int = 200,
) -> dict[str, float]:
    """What an adapter that sees says of pictures, word by word: the share that is true of them.

    Args:
        model: an adapter.
        tokenizer: its own.
        size: side of its images, in pixels.
        objects, n: of the scenes, which are new.

    Returns:
        ``{"caption_true": …, "caption_coverage": …}``, as of
        :func:`vlcourse.evals.captions.judge`.
    """
    scenes = caption_set(n, objects)
    prompt = [tokenizer.bos, *tokenizer.encode(asked(CAPTION))]
    device = next(model.parameters()).device
    texts: list[str] = []
    for start in range(0, n, 50):
        shown = scenes[start : start + 50]
        pixels = normalise(torch.stack([scene.render(size) for scene in shown])).to(device)
        found = search(
            model, torch.tensor([prompt] * len(shown), device=device),  # type: ignore[arg-type]
            Options(48, end=tokenizer.eos), tokenizer=tokenizer, pixels=pixels,
        )  # fmt: skip
        assert found.texts is not None
        texts += [own[0].strip() for own in found.texts]
    judged = judge(texts, scenes)
    return {f"caption_{k}": float(judged[k].mean()) for k in ("true", "coverage")}
