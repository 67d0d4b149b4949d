"""How a second stage is judged: questions and captions on compositions that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlcourse.evals import captions, pictured, vqa
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.teach.blip2.experiments.arms import Settings
from vlcourse.tokenizers import TextTokenizer, llama

SPLIT = "heldout"


def asked(settings: Settings) -> vqa.Asked:
    """Questions about held-out scenes, up to two of each kind about each."""
    return vqa.question_set(SPLIT, settings.scenes, objects=settings.objects)


def by_kind(
    model: BLIP2LLM, tokenizer: TextTokenizer, questions: vqa.Asked, blind: bool = False
) -> dict[str, Tensor]:
    """Right or wrong for each question, by kind; ``blind``: by the language model alone."""
    return vqa.by_kind(questions, pictured.answers(model, tokenizer, questions, blind=blind))


def mean_of(details: Mapping[str, Tensor]) -> float:
    """The mean over kinds, each of which counts alike."""
    return sum(float(values.mean()) for values in details.values()) / len(details)


def answers_only(model: Any, settings: Settings) -> dict[str, float]:
    """``mean``: the accuracy over kinds of questions; for a look on the way."""
    return {"mean": mean_of(by_kind(model, llama(), asked(settings)))}


def score(model: BLIP2LLM, settings: Settings) -> dict[str, float]:
    """What an arm can do, and how large its trained part is.

    Returns:
        Each kind of question; ``mean`` over kinds, ``mean blind`` by the language model alone;
        ``true``: captions of which every word holds; ``trained`` and ``all``: parameters.
    """
    tokenizer, questions = llama(), asked(settings)
    right = by_kind(model, tokenizer, questions)
    blind = by_kind(model, tokenizer, questions, blind=True)
    scenes = captions.caption_set(settings.scenes, settings.objects, SPLIT)
    said = captions.judge(pictured.written(model, tokenizer, scenes), scenes)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {
        **{kind: float(values.mean()) for kind, values in right.items()},
        "mean": mean_of(right),
        "mean blind": mean_of(blind),
        "true": float(said["true"].mean()),
        "trained": float(sum(n for n, learns in sizes if learns)),
        "all": float(sum(n for n, _ in sizes)),
    }


def kinds_mean(details: Mapping[str, Tensor], resamples: int, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean over kinds: each kind's questions are drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(resamples)
    for values in details.values():
        rows = torch.randint(len(values), (resamples, len(values)), generator=generator)
        total += values[rows].mean(dim=1)
    low, high = (total / len(details)).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high
