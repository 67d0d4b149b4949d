"""Questions about films, answered by any system, and how many of the answers are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.data.collate.text import IGNORED
from vlcourse.data.corpus.films import film
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.script import LONGEST, Script
from vlcourse.data.world.video_questions import (
    LONG_ENOUGH,
    TEMPORAL,
    VIDEO_KINDS,
    VideoQuestion,
    in_tags,
    questions,
    seconds_of,
)
from vlcourse.data.world.words import hash_int
from vlcourse.evals.reading import TextBatches, logits
from vlcourse.layers.frozen import evaluating

WITHIN = 1.0  # seconds that an answer about time may be off
NEAR = "localisation ± 1 s"
_SEED = 187

Asked = tuple[Script, VideoQuestion]


def film_questions(
    split: str = "heldout",
    per_kind: int = 100,
    kinds: Sequence[str] = VIDEO_KINDS,
    seconds: tuple[int, int] = (LONG_ENOUGH, LONGEST),
    seed: int = 9,
    as_tags: bool = False,
    easy: bool = False,
) -> list[Asked]:
    """As many questions of each kind, each about a film of its own kind of questions.

    Args:
        split: "heldout": each film has an actor whose colour and shape never came together in
            training; "test": new films of known actors.
        per_kind: questions of each kind.
        kinds: of `VIDEO_KINDS`.
        seconds: least and greatest duration of the films.
        seed: another seed gives other films.
        as_tags: only questions that tags at each second answer; kinds of which there are none are
            left out.
        easy: also questions that a guess would often answer, such as when something was in a short
            film.
    """
    if as_tags:
        kinds = [kind for kind in kinds if kind not in ("direction", "cause")]
    left, found, i = dict.fromkeys(kinds, per_kind), list[Asked](), 0
    while any(left.values()):
        script = Script.sample(hash_int(seed, _SEED, i), split, seconds)
        for kind in kinds:
            asked = questions(script, (kind,), easy) if left[kind] else []
            if as_tags:
                asked = [question for question in asked if in_tags(script, question)]
            if asked:
                left[kind] -= 1
                found.append((script, Dice(script.seed, "asked of a film", 2 << 20).pick(asked)))
        i += 1
    return found


def right(question: VideoQuestion, answer: str, within: float = 0.0) -> bool:
    """Whether an answer is right: the same words, or a time at most ``within`` seconds off."""
    true, given = question.seconds, seconds_of(answer)
    if true is not None:
        return given is not None and abs(given - true) <= within
    return _words(answer) == _words(question.answer)


def _words(answer: str) -> list[str]:
    words = answer.lower().replace(".", " ").replace(",", " ").split()
    return words[1:] if words[:1] == ["the"] else words


def marks(asked: Sequence[Asked], answers: Sequence[str]) -> dict[str, Tensor]:
    """Right (1) or wrong (0) for each question, by kind: float (N,) each, for intervals.

    "localisation" wants the very second; "localisation ± 1 s" allows one more or less.

    Raises:
        ValueError: when there are not as many answers as questions.
    """
    if len(asked) != len(answers):
        raise ValueError(f"There are {len(asked)} questions, but {len(answers)} answers.")
    found: dict[str, list[float]] = {}
    for (_, question), answer in zip(asked, answers, strict=True):
        found.setdefault(question.kind, []).append(right(question, answer))
        if question.kind == "localisation":
            found.setdefault(NEAR, []).append(right(question, answer, WITHIN))
    order = [*VIDEO_KINDS[:3], NEAR, *VIDEO_KINDS[3:]]
    return {kind: torch.tensor(found[kind], dtype=torch.float32) for kind in order if kind in found}


def near(kind: str) -> str:
    """A kind of question as its marks are called where a second off counts as right."""
    return NEAR if kind == "localisation" else kind


def score(asked: Sequence[Asked], answers: Sequence[str]) -> dict[str, float]:
    """Accuracy by kind of question; "temporal", the mean of those that only time answers, where a
    second off counts as right; and "worst", the least of them with every second exact."""
    accuracy = {
        kind: float(values.double().mean()) for kind, values in marks(asked, answers).items()
    }
    if set(TEMPORAL) <= set(accuracy):
        found = [accuracy[near(kind)] for kind in TEMPORAL]
        accuracy["temporal"] = sum(found) / len(found)
        accuracy["worst"] = min(accuracy[kind] for kind in TEMPORAL)
    return accuracy


@torch.no_grad()
def read_answers(
    model: nn.Module,
    collate: Any,
    asked: Sequence[Asked],
    batch_size: int = 64,
    as_tags: bool = False,
) -> list[str]:
    """What a language model answers about films that it reads of, one question a text.

    Each token is the most probable one after the right ones before it: the text is exactly right
    where greedy decoding would have written the answer.

    Args:
        model: a LLaMA.
        collate: a `TextCollate` without an end-of-text token.
        asked: questions about films.
        batch_size: texts at a time.
        as_tags: the films are told as tags at each second, and not as what happens.
    """
    device = next(model.parameters()).device
    found = []
    with evaluating(model):
        for start in range(0, len(asked), batch_size):
            chunk = asked[start : start + batch_size]
            texts = [
                {"id": str(i), "parts": film(script, [question], as_tags=as_tags)}
                for i, (script, question) in enumerate(chunk)
            ]
            batch = collate(texts)
            on_device = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
            predicted = logits(model, on_device).argmax(dim=-1).cpu()
            for row, targets in zip(predicted, batch["targets"], strict=True):
                found.append(collate.tokenizer.decode(row[targets != IGNORED].tolist()).strip())
    return found


def reading(
    model: nn.Module,
    collate: TextBatches,
    split: str = "heldout",
    per_kind: int = 100,
    as_tags: bool = False,
) -> dict[str, float]:
    """Accuracy of a language model that reads of films instead of seeing them, by kind."""
    asked = film_questions(split, per_kind, as_tags=as_tags)
    return score(asked, read_answers(model, collate, asked, as_tags=as_tags))
