"""What a language model has understood, measured: questions about scenes that it reads of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.data.collate.text import IGNORED
from vlcourse.data.corpus import Corpus, ask
from vlcourse.data.corpus.describe import describe
from vlcourse.data.corpus.lessons import Part
from vlcourse.data.world.questions import QUESTION_KINDS, Question
from vlcourse.data.world.scene import Scene
from vlcourse.layers.frozen import evaluating

TextBatches = Callable[[Sequence[dict[str, Any]]], dict[str, Any]]


def comprehension_set(
    split: str = "heldout", scenes: int = 100, per_kind: int = 2, seed: int = 9
) -> list[tuple[Scene, Question, tuple[Part, ...]]]:
    """Questions about scenes told in words, each with its own text: description, question, answer.

    Args:
        split: "heldout": each scene has an object whose colour and shape never came together in
            training; "test": new scenes of known objects.
        scenes: how many scenes, of two to four objects.
        per_kind: questions of each kind about each scene, as far as there are.
        seed: another seed gives other scenes.
    """
    corpus = Corpus(split, scenes, seed, mixture=(100, 0, 0, 0))
    found: list[tuple[Scene, Question, tuple[Part, ...]]] = []
    for sample in corpus.__getitems__(range(scenes)):
        scene = sample["scene"]
        told = describe(scene.objects, scene.seed)
        left = dict.fromkeys(QUESTION_KINDS, per_kind)
        for question in corpus.choose(scene, told, most=1000, to_learn=False):
            if left[question.kind]:
                left[question.kind] -= 1
                parts = ((told.text, False), (ask(question), False), (f"{question.answer}.", True))
                found.append((scene, question, parts))
    return found


@torch.no_grad()
def answers_right(
    model: nn.Module, collate: TextBatches, texts: Sequence[Sequence[Part]], batch_size: int = 64
) -> Tensor:
    """Whether greedy decoding would write exactly each text's learned parts: bool (N,).

    Each token is the most probable one after the right ones before it, which is what greedy
    decoding, token by token, would have written.

    Args:
        model: a LLaMA or a Seq2Seq.
        collate: documents → its batch, without an end-of-text token.
        texts: parts, each with whether it is to be written.
        batch_size: texts at a time.
    """
    device = next(model.parameters()).device
    right = []
    with evaluating(model):
        for start in range(0, len(texts), batch_size):
            chunk = texts[start : start + batch_size]
            batch = collate([{"id": str(i), "parts": parts} for i, parts in enumerate(chunk)])
            on_device = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
            predicted = logits(model, on_device).argmax(dim=-1)
            targets = on_device["targets"]
            right.append(((predicted == targets) | (targets == IGNORED)).all(dim=1).cpu())
    return torch.cat(right)


def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """(B, L, V) logits for a batch of either kind of language model."""
    if "inputs" in batch:
        return model(batch["inputs"], batch["tokens"], batch.get("inputs_mask"))
    return model(batch["tokens"])


def comprehension_details(
    model: nn.Module, collate: TextBatches, split: str = "heldout", scenes: int = 100
) -> dict[str, Tensor]:
    """Right (1) or wrong (0) for each question, by kind: float (N,) each, for intervals."""
    asked = comprehension_set(split, scenes)
    right = answers_right(model, collate, [parts for _, _, parts in asked]).float()
    kinds = [question.kind for _, question, _ in asked]
    return {
        kind: right[torch.tensor([k == kind for k in kinds])]
        for kind in QUESTION_KINDS
        if kind in kinds
    }


def comprehension(
    model: nn.Module, collate: TextBatches, split: str = "heldout", scenes: int = 100
) -> dict[str, float]:
    """Accuracy of reading comprehension by kind of question, and the worst of them."""
    details = comprehension_details(model, collate, split, scenes)
    accuracy = {kind: float(values.mean()) for kind, values in details.items()}
    return {**accuracy, "worst": min(accuracy.values())}
