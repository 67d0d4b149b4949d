"""videochat.temporal and videochat.text_loses: systems as they ship, and what is left to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from vlcourse import zoo
from vlcourse.data.world.video_questions import TEMPORAL, VIDEO_KINDS, in_tags
from vlcourse.evals import filmed, metrics, video
from vlcourse.teach.blip.experiments.cache import kept
from vlcourse.teach.blip.experiments.score import Scores, measurement, minus, with_ends
from vlcourse.teach.blip2.experiments.score import kinds_mean, mean_of
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.videochat import watching
from vlcourse.teach.videochat.experiments import arms
from vlcourse.teach.videochat.experiments.arms import SEEDS, SPLIT, Settings
from vlcourse.weights.state import digest, weights_of

RESAMPLES = 2000
READER = "llm-time"
WATCHING = ("blip-toy", "clip-toy", READER)
EMBED, GLANCE, LANGUAGE, TEXT = "Embed", "Embed, middle frame", "language model alone", "Text"
TOLD, TAGS, TOOLS = "events told", "perfect tags", "toy tools"
Marks = Mapping[str, Tensor]


def asked_of(settings: Settings) -> list[video.Asked]:
    """Held-out questions of all kinds: what is said in a film, too."""
    return video.film_questions(SPLIT, settings.asked)


def watched(settings: Settings) -> list[str]:
    """What VideoChat-Text answers that looks with the toy tools."""
    asked = asked_of(settings)

    def make() -> list[str]:
        return watching.read(watching.readers(text=watching.EVERY)["text"], asked)

    key = [settings.asked, [zoo.card(name)["sha256"] for name in WATCHING]]
    return kept("videochat text", key, make)


def read(settings: Settings, as_tags: bool) -> list[str]:
    """What the language model answers that is told each event, or all tags of each second."""
    model, recipe = zoo.load(READER), zoo.find(READER)
    asked = asked_of(settings)
    return video.read_answers(model, recipe.collate(train=False), asked, as_tags=as_tags)


def seen(settings: Settings) -> dict[str, Marks]:
    """Right or wrong by kind, of the systems as they ship, on the same questions."""
    model, recipe = arms.start(), arms.sized(arms.START, settings, 0, 1)
    data: Any = recipe.data
    asked = video.film_questions(SPLIT, settings.asked, data.kinds)
    ways: dict[str, filmed.Shown] = {EMBED: "film", GLANCE: "middle", LANGUAGE: "nothing"}

    def make() -> dict[str, list[str]]:
        return {
            name: filmed.answers(
                model, recipe.collate(train=False), asked, count=data.frames, shown=shown
            )
            for name, shown in ways.items()
        }

    answers = kept("videochat seen", [settings.asked, data, digest(weights_of(model))], make)
    found: dict[str, Marks] = {name: video.marks(asked, said) for name, said in answers.items()}
    text = video.marks(asked_of(settings), watched(settings))  # of each kind the same questions
    return found | {TEXT: {kind: text[kind] for kind in found[EMBED]}}


def over_time(marks: Marks) -> dict[str, Tensor]:
    """Of the marks those of questions about time, where a second off counts as right."""
    return {kind: marks[video.near(kind)] for kind in TEMPORAL}


def with_bootstrap(name: str, details: Marks) -> dict[str, float]:
    """The mean over kinds under ``name``, and its interval over questions."""
    value = mean_of(details)
    low, high = kinds_mean(details, RESAMPLES)
    return {name: value, f"{name} low": min(low, value), f"{name} high": max(high, value)}


def less(one: Marks, other: Marks) -> dict[str, Tensor]:
    """One system's marks minus another's, question by question."""
    return {kind: one[kind] - other[kind] for kind in one}


def ends(values: Tensor) -> list[float]:
    """Mean, and its interval over questions."""
    value = float(values.mean())
    low, high = metrics.bootstrap_interval(values, RESAMPLES)
    return [value, min(low, value), max(high, value)]


def temporal(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Questions by kind: what a film answers, and what is had from less of it.

    Args:
        seeds: of the arms, three or more.
        settings: their numbers, and the test sets' sizes.

    Returns:
        ``measured``: questions about time, an arm that learns from all frames minus one that learns
        from the middle one, paired by seed. In ``others``: "pooled" for the same against the
        frames' mean; of the systems as they ship "Embed: temporal" and so on, over questions; and
        Embed minus each other, as "Embed − Text".
    """
    s = settings or Settings()
    names = (arms.ALL, arms.MIDDLE, arms.POOLED)
    return compare_temporal(arms.all_of(names, seeds, s), seen(s), seeds, s)


def compare_temporal(
    scores: Scores, systems: Mapping[str, Marks], seeds: Sequence[int], settings: Settings
) -> Measurement:
    """From the arms' numbers and the systems' marks to what `temporal` returns."""
    full, middle, pooled = (scores[n] for n in (arms.ALL, arms.MIDDLE, arms.POOLED))
    others = with_ends("pooled", minus(full, pooled, "temporal"))
    mine = over_time(systems[EMBED])
    for name, marks in systems.items():
        others |= with_bootstrap(f"{name}: temporal", over_time(marks))
        if name != EMBED:
            others |= with_bootstrap(f"{EMBED} − {name}", less(mine, over_time(marks)))
    shown = {n: {kind: ends(v) for kind, v in marks.items()} for n, marks in systems.items()}
    values = minus(full, middle, "temporal")
    told = ("temporal", "image")
    return measurement(values, scores, told, seeds, settings, others, {"by kind": shown})


def text_loses(settings: Settings | None = None) -> Measurement:
    """One language model reads films as events, as perfect tags, and as the toy tools see them.

    Args:
        settings: the test set's size.

    Returns:
        ``measured``: questions about time, events told minus perfect tags, over questions. In
        ``others``: each one's "temporal"; "tools" for events minus the toy tools; "lost: cause" and
        so on for events minus tags by kind; of questions about time that tags answer or do not,
        "answered by tags" and "not in tags" for events minus tags.
    """
    s = settings or Settings()
    answers = {TOLD: read(s, False), TAGS: read(s, True), TOOLS: watched(s)}
    return compare_texts(asked_of(s), answers, s)


def compare_texts(
    asked: Sequence[video.Asked], answers: Mapping[str, Sequence[str]], settings: Settings
) -> Measurement:
    """From the answers to what `text_loses` returns."""
    marks = {name: video.marks(asked, said) for name, said in answers.items()}
    told, tags, tools = (over_time(marks[name]) for name in (TOLD, TAGS, TOOLS))
    others: dict[str, float] = {}
    for name, found in ((TOLD, told), (TAGS, tags), (TOOLS, tools)):
        others |= with_bootstrap(f"{name}: temporal", found)
    others |= with_bootstrap("tools", less(told, tools))
    lost = {}
    for kind in VIDEO_KINDS:
        near = video.near(kind)
        lost[kind] = ends(marks[TOLD][near] - marks[TAGS][near])
        others |= _named(f"lost: {kind}", lost[kind])
    difference = less(told, tags)
    for name, wanted in (("answered by tags", True), ("not in tags", False)):
        chosen = torch.cat([
            difference[kind][torch.tensor([
                in_tags(script, q) is wanted for script, q in asked if q.kind == kind
            ])]
            for kind in TEMPORAL
        ])  # fmt: skip
        if len(chosen):
            others |= _named(name, ends(chosen))
    own = with_bootstrap("own", difference)
    shown = {
        name: {kind: ends(found[video.near(kind)]) for kind in VIDEO_KINDS}
        for name, found in marks.items()
    }
    return Measurement(
        measured=own["own"], low=own["own low"], high=own["own high"], bootstrap=RESAMPLES,
        recipe={"reader": READER, "settings": asdict(settings)}, others=others,
        figure={"by kind": shown, "lost": lost},
    )  # fmt: skip


def _named(name: str, three: Sequence[float]) -> dict[str, float]:
    return dict(zip((name, f"{name} low", f"{name} high"), three, strict=True))
