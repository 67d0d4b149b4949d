"""blip.tasks: one model finds, matches, describes and answers; and what specialists do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean

import torch
from torch import Tensor

from vlcourse import zoo
from vlcourse.data import world
from vlcourse.data.world.read import read
from vlcourse.evals import captions, matching, metrics, ngrams, vqa
from vlcourse.evals import rerank as evals_rerank
from vlcourse.models.blip import BLIP
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.teach.blip.experiments import arms, sharing
from vlcourse.teach.blip.experiments.score import DIRECTIONS, minus, with_ends
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers import med

RESAMPLES = 2000
SPECIALISTS = {"recall": "comparing and matching", "true": "writing"}


def tasks(
    seeds: Sequence[int] = sharing.SEEDS,
    settings: arms.Settings | None = None,
    model: BLIP | None = None,
    answerer: BLIPAnswerer | None = None,
) -> Measurement:
    """Measure blip-toy on four tasks, beside what can be had without looking at the picture.

    Args:
        seeds: of the small arms that are trained for one kind of task each, against all at once.
        settings: their numbers, and the test sets' sizes.
        model, answerer: the ones that ship, by default; the answerer begins from the model.

    Returns:
        ``measured``: the least of the four numbers (recall@1 of 256 after re-ranking, swapped
        relations noticed, captions true in each word, questions answered), and its interval over
        pictures. In ``others``: each with its interval, and under "blind: …" what can be had
        without looking; "cider" and "bleu4"; "all tasks − …: recall" for what a small model of all
        tasks does better than a specialist, over the seeds.
    """
    s = arms.with_rate(settings or arms.Settings(), sharing.loss_at)
    blip, answers = model or zoo.load("blip-toy"), answerer or zoo.load("blip-toy-vqa")
    assert isinstance(blip, BLIP) and isinstance(answers, BLIPAnswerer)
    found, blind, likeness = measured(blip, answers, s)
    others = {f"blind: {name}": value for name, value in blind.items()} | likeness
    for name, values in found.items():
        low, high = metrics.bootstrap_interval(values, RESAMPLES)
        others |= {name: float(values.mean()), f"{name} low": low, f"{name} high": high}
    scores = sharing.trained((sharing.BASE, *SPECIALISTS.values()), seeds, s)
    for what, name in SPECIALISTS.items():
        gain = minus(scores[sharing.BASE], scores[name], what)
        others |= with_ends(f"all tasks − {name}: {what}", gain)
    least = min(found, key=lambda name: others[name])
    return Measurement(
        measured=others[least],
        low=others[f"{least} low"],
        high=others[f"{least} high"],
        bootstrap=RESAMPLES,
        recipe={"models": ["blip-toy", "blip-toy-vqa"], "settings": asdict(s), "seeds": [*seeds]},
        others=others,
        figure={
            "tasks": list(found),
            "arms": {
                name: [dict(each) for each in each_seed] for name, each_seed in scores.items()
            },
        },
    )


def measured(
    blip: BLIP, answerer: BLIPAnswerer, settings: arms.Settings
) -> tuple[dict[str, Tensor], dict[str, float], dict[str, float]]:
    """Each task item by item; what can be had without looking; and the captions' likeness.

    Without looking: any picture; either of a caption and its foil; captions of other pictures,
    written by the model; and the answer most frequent for the question.
    """
    s, tokenizer = settings, med.toy()
    both = evals_rerank.retrieval_details(blip, tokenizer, s.pairs)
    foils = matching.foil_details(
        blip, tokenizer, world.two_object_scenes(s.scenes, seed=7), matching.KINDS[:1]
    )
    scenes = captions.caption_set(s.scenes, s.objects)
    texts = captions.written_for(blip, tokenizer, scenes)
    said = captions.judge(texts, scenes)
    turned = zip([*texts[1:], texts[0]], scenes, strict=True)
    by_chance = [(c := read(text)) is not None and scene.is_true(c) for text, scene in turned]
    asked = vqa.question_set(scenes=max(1, s.scenes // 2), objects=s.objects)
    learned = vqa.question_set("train", 2000, per_kind=4, objects=s.objects)
    answered = vqa.by_kind(asked, vqa.rank_answers(answerer, tokenizer, asked))
    blind = vqa.by_kind(asked, vqa.blind_answers(learned, asked))
    found = {
        "recall@1": torch.stack([both[way] for way in DIRECTIONS]).mean(dim=0),
        "relations": foils[matching.KINDS[0]],
        "true captions": said["true"],
        "answers": torch.cat(list(answered.values())),
    }
    without = {
        "recall@1": 1 / s.pairs,
        "relations": 0.5,
        "true captions": mean(map(float, by_chance)),
        "answers": vqa.overall(blind),
    }
    references = [[*scene.captions()] for scene in scenes]
    return (
        found,
        without,
        {
            "cider": float(said["cider"].mean()),
            "bleu4": ngrams.bleu(texts, references),
        },
    )
