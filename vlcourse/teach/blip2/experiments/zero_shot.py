"""blip2.zero_shot_vqa: frozen language models answer about pictures, and what they say blindly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from torch import Tensor

from vlcourse import zoo
from vlcourse.data.world import QUESTION_KINDS
from vlcourse.evals import captions, metrics, pictured, vqa
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.teach.blip2.experiments.arms import Settings
from vlcourse.teach.blip2.experiments.score import SPLIT, asked, by_kind, kinds_mean, mean_of
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers import llama

RESAMPLES = 2000
MODELS = {"decoder": "blip2-toy-llm", "encoder–decoder": "blip2-toy-seq2seq"}


def zero_shot_vqa(
    settings: Settings | None = None, models: Mapping[str, BLIP2LLM] | None = None
) -> Measurement:
    """Ask both shipped models about held-out compositions, with the picture and without.

    Args:
        settings: the test sets' sizes.
        models: by kind of language model; the shipped ones by default.

    Returns:
        ``measured``: the lesser of both accuracies, means over kinds of questions, with its
        interval over questions. In ``others``: each, its language model's alone ("decoder:
        blind"), captions true ("decoder: true"), and "most frequent" answers, each with ends.
    """
    s = settings or Settings(scenes=200)
    if models is None:
        loaded = {kind: zoo.load(name) for kind, name in MODELS.items()}
        models = {kind: m for kind, m in loaded.items() if isinstance(m, BLIP2LLM)}
    tokenizer, questions = llama(), asked(s)
    others: dict[str, float] = {}
    shown: dict[str, dict[str, list[float]]] = {}

    def note(name: str, details: Mapping[str, Tensor]) -> None:
        low, high = kinds_mean(details, RESAMPLES)
        value = mean_of(details)
        others.update(
            {name: value, f"{name} low": min(low, value), f"{name} high": max(high, value)}
        )
        shown[name] = {
            kind: [float(hits.mean()), *metrics.bootstrap_interval(hits)]
            for kind, hits in details.items()
        }

    scenes = captions.caption_set(s.scenes, s.objects, SPLIT)
    for kind, model in models.items():
        note(kind, by_kind(model, tokenizer, questions))
        note(f"{kind}: blind", by_kind(model, tokenizer, questions, blind=True))
        true = captions.judge(pictured.written(model, tokenizer, scenes), scenes)["true"]
        low, high = metrics.bootstrap_interval(true)
        others |= {f"{kind}: true": float(true.mean()), f"{kind}: true low": low}
        others[f"{kind}: true high"] = high
    learned = vqa.question_set("train", 5 * s.scenes, per_kind=4, objects=s.objects)
    note("most frequent", vqa.by_kind(questions, vqa.blind_answers(learned, questions)))
    least = min(models, key=lambda kind: others[kind])
    return Measurement(
        measured=others[least], low=others[f"{least} low"], high=others[f"{least} high"],
        bootstrap=RESAMPLES,
        recipe={"models": dict(MODELS), "settings": asdict(s)},
        others=others,
        figure={"by kind": shown, "kinds": [k for k in QUESTION_KINDS if k in shown[least]]},
    )  # fmt: skip
