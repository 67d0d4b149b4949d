"""Questions about pictures: accuracy by kind, chosen from a list or written freely, and blind.

Li et al. 2022, section 5.3: answers are ranked among a list of candidates. What can be had without
the picture says how much of an accuracy is worth something.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.world import COLOURS, QUESTION_KINDS, SHAPES, Question, Scene, World
from vlcourse.generate import Options, search
from vlcourse.layers.frozen import evaluating
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.tokenizers.med import MEDTokenizer

ANSWERS: tuple[str, ...] = (*COLOURS, *SHAPES, "0", "1", "2", "3", "4", "yes", "no")
"""Every answer to a question about the toy world."""
LONGEST = 8  # tokens of a written answer, its end included
Asked = Sequence[tuple[Scene, Question]]


def question_set(
    split: str = "test",
    scenes: int = 200,
    per_kind: int = 2,
    objects: tuple[int, int] = (1, 4),
    seed: int = 9,
) -> Asked:
    """Questions about scenes, up to ``per_kind`` of each kind about each scene.

    Which ones is chosen by the scene's seed, so that "yes" and "no" stay as frequent as they are.
    """
    found = []
    for scene in World(split, scenes, objects=objects, seed=seed).scenes():
        asked = scene.questions()
        for number, kind in enumerate(QUESTION_KINDS):
            of_kind = [question for question in asked if question.kind == kind]
            first = (scene.seed >> 8 * number) % max(len(of_kind), 1)
            turned = of_kind[first:] + of_kind[:first]
            found += [(scene, question) for question in turned[:per_kind]]
    return found


def rank_answers(
    model: BLIPAnswerer,
    tokenizer: MEDTokenizer,
    asked: Asked,
    answers: Sequence[str] = ANSWERS,
    k: int = 128,
    batch_size: int = 64,
) -> list[str]:
    """The likeliest answer of a list to each question; ``k`` as in :meth:`BLIPAnswerer.rank`."""
    context, device = model.config.text.context, _device(model)
    candidates, candidates_mask = (x.to(device) for x in tokenizer(answers, context))

    def best(pixels: Tensor, questions: Tensor, mask: Tensor) -> list[str]:
        scores = model.rank(pixels, questions, mask, candidates, candidates_mask, k)  # (B, n)
        return [answers[i] for i in scores.argmax(dim=1).tolist()]

    return _answered(model, tokenizer, asked, best, batch_size)


def write_answers(
    model: BLIPAnswerer, tokenizer: MEDTokenizer, asked: Asked, batch_size: int = 64
) -> list[str]:
    """A greedily written answer to each question."""
    options = Options(LONGEST, end=model.config.text.sep)

    def written(pixels: Tensor, questions: Tensor, mask: Tensor) -> list[str]:
        found = search(
            model, None, options, tokenizer=tokenizer,
            pixels=pixels, questions=questions, questions_mask=mask,
        )  # fmt: skip
        assert found.texts is not None
        return [texts[0].strip() for texts in found.texts]

    return _answered(model, tokenizer, asked, written, batch_size)


@torch.no_grad()
def _answered(
    model: BLIPAnswerer,
    tokenizer: MEDTokenizer,
    asked: Asked,
    answer: Callable[[Tensor, Tensor, Tensor], list[str]],
    batch_size: int,
) -> list[str]:
    """``answer(pixels, questions, mask)`` of each batch, one after the other."""
    size, device, found = model.config.image.image_size, _device(model), []
    with evaluating(model):
        for start in range(0, len(asked), batch_size):
            chunk = asked[start : start + batch_size]
            drawn = torch.from_numpy(world.render_batch([scene for scene, _ in chunk], size))
            questions, mask = tokenizer([q.text for _, q in chunk], model.config.text.context)
            found += answer(normalise(drawn.to(device)), questions.to(device), mask.to(device))
    return found


def _device(model: BLIPAnswerer) -> torch.device:
    return next(model.parameters()).device


def blind_answers(learned: Asked, asked: Asked) -> list[str]:
    """What can be answered without the picture: the answer most frequent among ``learned``.

    Among those to the very same question; or, where it was never asked, to its kind.
    """
    by_text: dict[str, Counter[str]] = defaultdict(Counter)
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for _, question in learned:
        by_text[question.text][question.answer] += 1
        by_kind[question.kind][question.answer] += 1
    found = []
    for _, question in asked:
        counted = by_text.get(question.text) or by_kind[question.kind]
        found.append(max(sorted(counted), key=lambda answer: counted[answer], default=""))
    return found


def by_kind(asked: Asked, answers: Sequence[str]) -> dict[str, Tensor]:
    """Right (1) or wrong (0) for each question, by kind: float (N,) each, for intervals."""
    right = [float(q.answer == a) for (_, q), a in zip(asked, answers, strict=True)]
    kinds = [question.kind for _, question in asked]
    return {
        kind: torch.tensor([r for r, k in zip(right, kinds, strict=True) if k == kind])
        for kind in QUESTION_KINDS
        if kind in kinds
    }


def vqa(
    model: BLIPAnswerer,
    tokenizer: MEDTokenizer,
    asked: Asked | None = None,
    learned: Asked | None = None,
) -> dict[str, float]:
    """Accuracy by kind and over all questions, ranked; over all written; and both without looking.

    Args:
        model: the answerer.
        tokenizer: its own.
        asked: the questions.
        learned: training questions, from which the blind answers come.
    """
    asked = asked or question_set()
    learned = learned or question_set("train", 2000, per_kind=4)
    ranked = by_kind(asked, rank_answers(model, tokenizer, asked))
    written = by_kind(asked, write_answers(model, tokenizer, asked))
    blind = by_kind(asked, blind_answers(learned, asked))
    return {
        **{kind: float(values.mean()) for kind, values in ranked.items()},
        **{f"{kind} blind": float(values.mean()) for kind, values in blind.items()},
        "all": overall(ranked),
        "all written": overall(written),
        "all blind": overall(blind),
    }


def overall(details: dict[str, Tensor]) -> float:
    """The accuracy over all questions of all kinds."""
    return float(torch.cat(list(details.values())).mean())
