"""VideoChat's experiments at sizes that take seconds: all of them once, in a cache of their own."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import pytest
import torch

from vlcourse.data.filmed import SEEN_KINDS
from vlcourse.data.media import sampled
from vlcourse.data.world.script import LONGEST
from vlcourse.data.world.video_questions import TEMPORAL, VIDEO_KINDS
from vlcourse.evals import metrics, video
from vlcourse.models.videochat import VideoChat
from vlcourse.recipes import RECIPES, features, parts
from vlcourse.teach import claims as ledger
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.videochat.claims import CLAIMS
from vlcourse.teach.videochat.experiments import arms, stages, systems
from vlcourse.teach.videochat.experiments.arms import ALL, MEAN, MIDDLE, NO_LOCAL, POOLED, SEEDS
from vlcourse.teach.videochat.experiments.stages import ONE, TWO

pytestmark = pytest.mark.slow
TINY = arms.Settings(
    steps=2, first_steps=2, second_steps=1, batch_size=2, films=3, per_kind=1, timed=2, asked=2
)  # fmt: skip
SYSTEMS = (systems.EMBED, systems.GLANCE, systems.LANGUAGE, systems.TEXT)
TEXTS = (systems.TOLD, systems.TAGS, systems.TOOLS)
# What is told besides the number of the claim: of each arm or system, and of two of them.
TOLD: dict[str, set[str]] = {
    "videochat.temporal": {
        "pooled", *(f"{name}: temporal" for name in (ALL, MIDDLE, POOLED, *SYSTEMS)),
        *(f"{systems.EMBED} − {name}" for name in SYSTEMS[1:]),
    },
    "videochat.text_loses": {
        "tools", "answered by tags", "not in tags", *(f"{name}: temporal" for name in TEXTS),
        *(f"lost: {kind}" for kind in VIDEO_KINDS),
    },
    "videochat.gmhra": {
        "local", "loss", *(f"{name}: temporal" for name in (ALL, MEAN, NO_LOCAL)),
    },
    "videochat.timestamps": {
        "sentence", *(f"{name}: off" for name in (ALL, arms.ORDER, arms.SENTENCE)),
    },
    "videochat.stages": {
        "temporal", "validation",
        *(f"{name}: {number}" for name in (TWO, ONE) for number in ("mean", "image")),
    },
}  # fmt: skip
TRAINED = [id for id in TOLD if id != "videochat.text_loses"]


@dataclass
class Measured:
    """What the experiments gave, how often each kind of training ran, and what a tower saw."""

    results: dict[str, Measurement] = field(default_factory=dict)
    trainings: Counter[str] = field(default_factory=Counter)
    pictures: list[int] = field(default_factory=list)


def experiment(id: str) -> Measurement:
    """A claim's experiment, in short."""
    module, function = ledger.get(id).experiment.split(":")
    result: Measurement = getattr(importlib.import_module(module), function)(settings=TINY)
    return result


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLCOURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("VLCOURSE_PROCESSES", raising=False)
        patch.setattr(stages, "VALIDATED", 16)
        yield


@pytest.fixture(scope="module")
def measured(own_cache: None) -> Measured:
    found, fit, compute = Measured(), arms.fit, features._compute

    def counted(name: str, *rest: Any) -> Any:
        found.trainings[name] += 1
        return fit(name, *rest)

    def seen(model: Any, size: int, pictures: Any, store: Any) -> None:
        found.pictures += [key for key, _ in pictures]
        compute(model, size, pictures, store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "fit", counted)
        patch.setattr(features, "_compute", seen)
        found.results |= {claim.id: experiment(claim.id) for claim in CLAIMS}
    return found


def by_seed(measured: Measured, id: str) -> dict[str, list[dict[str, float]]]:
    """What was found of each arm, seed by seed."""
    found: dict[str, list[dict[str, float]]] = measured.results[id].figure["by seed"]
    return found


def state(model: VideoChat) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def split(tensors: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """What begins anew in every arm, and what does not."""
    new = {n for n in tensors if n.split(".")[0] in arms.FRESH}
    return [{n: tensors[n] for n in names} for names in (new, tensors.keys() - new)]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_every_claim_can_be_judged_by_what_its_experiment_finds(measured: Measured) -> None:
    assert set(measured.results) == {claim.id for claim in CLAIMS} == set(TOLD)
    for id, result in measured.results.items():
        assert ledger.judge(id, result).verdict is not None
        assert result.seeds == (SEEDS if id in TRAINED else ())
        assert abs(result.measured) <= (LONGEST if id == "videochat.timestamps" else 1)
        assert all(map(math.isfinite, result.others.values()))
        for name in TOLD[id]:
            value, low, high = (result.others[name + end] for end in ("", " low", " high"))
            assert low <= value <= high, f"{id}: {name}"


@pytest.mark.parametrize("id", TRAINED)
def test_what_an_arm_answers_is_a_share_and_seeds_differ(id: str, measured: Measured) -> None:
    for name, found in by_seed(measured, id).items():
        losses = {tuple(v for n, v in own.items() if n.startswith("loss ")) for own in found}
        assert len(found) == len(losses) == len(SEEDS), f"{name}: every seed trains anew"
        for own in found:
            assert all(0 < value < 20 for n, value in own.items() if n.startswith("loss "))
            if name == arms.SENTENCE:
                continue  # is asked when something was, and nothing else
            kinds = {kind: own[video.near(kind)] for kind in SEEN_KINDS}
            assert set(kinds.values()) <= {0.0, 1.0}  # of one question each
            assert own["mean"] == pytest.approx(mean(kinds.values()))
            assert own["temporal"] == pytest.approx(mean(kinds[kind] for kind in TEMPORAL))


@pytest.mark.parametrize(
    ("id", "told", "one", "other", "number"),
    [
        ("videochat.temporal", "", ALL, MIDDLE, "temporal"),
        ("videochat.temporal", "pooled", ALL, POOLED, "temporal"),
        ("videochat.gmhra", "", ALL, MEAN, "temporal"),
        ("videochat.gmhra", "local", ALL, NO_LOCAL, "temporal"),
        ("videochat.gmhra", "loss", MEAN, ALL, f"loss {TINY.steps}"),
        ("videochat.timestamps", "", arms.ORDER, ALL, "off"),
        ("videochat.timestamps", "sentence", arms.ORDER, arms.SENTENCE, "off"),
        ("videochat.stages", "", TWO, ONE, "mean"),
        ("videochat.stages", "temporal", TWO, ONE, "temporal"),
        ("videochat.stages", "validation", ONE, TWO, "validation"),
    ],
)
def test_arms_are_compared_seed_by_seed(
    id: str, told: str, one: str, other: str, number: str, measured: Measured
) -> None:
    result, found = measured.results[id], by_seed(measured, id)
    pairs = zip(found[one], found[other], strict=True)
    minus = [a[number] - b[number] for a, b in pairs]
    given = (result.measured, result.low, result.high)
    if told:
        given = tuple(result.others[told + end] for end in ("", " low", " high"))
    assert given == pytest.approx((mean(minus), *metrics.seed_interval(minus)))


def test_an_arm_is_trained_once_for_all_claims_and_a_film_seen_once(measured: Measured) -> None:
    assert measured.trainings == {
        "videochat run": len(arms.ARMS) * len(SEEDS),
        "videochat first": len(SEEDS),
        "videochat second": 2 * len(SEEDS),
    }
    all_frames = [by_seed(measured, f"videochat.{n}")[ALL] for n in ("temporal", "gmhra")]
    assert all_frames[0] == all_frames[1] == by_seed(measured, "videochat.timestamps")[ALL]
    # Ten frames of each film, the middle one, and as many pictures for the first stage.
    assert len(measured.pictures) == len(set(measured.pictures)) <= (10 + 1 + 1) * TINY.films


def test_what_was_measured_is_only_read(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: Any, **__: Any) -> Any:
        raise AssertionError("it is made anew")

    for module, name in (
        (arms, "fit"), (arms, "begun"), (stages, "begun"), (arms.filmed, "answers"),
        (systems.watching, "read"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, again)
    for id, result in measured.results.items():
        assert experiment(id) == result


def test_arms_of_a_seed_begin_alike(measured: Measured) -> None:
    def begun(name: str, seed: int) -> list[dict[str, torch.Tensor]]:
        return split(state(arms.begun(arms.recipe_of(arms.ARMS[name], TINY, seed))))

    (new, old), (learned, shipped) = begun(ALL, 1), split(state(arms.start()))
    assert new.keys() == learned.keys() and not same(new, learned)
    assert same(old, shipped) and same(begun(arms.SENTENCE, 1)[1], shipped)
    assert not same(begun(ALL, 2)[0], new)
    assert all(same(begun(name, 1)[0], new) for name in (MIDDLE, POOLED))
    found = by_seed(measured, "videochat.gmhra")
    trained = {name: own[0]["trained"] for name, own in found.items()}
    assert trained[ALL] == trained[MEAN] > trained[NO_LOCAL]


def test_an_arm_sees_and_is_told_what_its_name_says() -> None:
    recipes = {name: arms.recipe_of(kind, TINY, 0) for name, kind in arms.ARMS.items()}
    films = {name: recipe.build_data("train")[0] for name, recipe in recipes.items()}
    duration = films[ALL]["timeline"].duration
    assert films[MIDDLE]["seconds"] == (duration / 2,)
    assert all(len(films[name]["seconds"]) == 10 for name in films if name != MIDDLE)
    plain = arms.collated(recipes[arms.ORDER], False, train=True).text
    told = arms.collated(recipes[arms.SENTENCE], True, train=True).text
    sample = films[ALL]
    before, *rest = told.told(sample).parts
    assert tuple(rest) == plain.told(sample).parts
    said, learned = before
    assert said.startswith("the video contains 10 frames sampled at 0.") and not learned
    longest = sampled(tuple(9.5 - t for t in range(10))).lower()
    assert len(told.tokenizer.encode(longest)) <= arms.ROOM == told.context - plain.context


def test_one_stage_begins_as_the_first_does_and_takes_the_steps_of_both() -> None:
    one, two = (stages.chats(name, 1, TINY) for name in (ONE, TWO))
    assert one.train.steps == TINY.first_steps + two.train.steps
    assert one.data == two.data and one.data != RECIPES[arms.FIRST].data
    torch.manual_seed(1)
    first: Any = parts.started(arms.sized(arms.FIRST, TINY, 1, TINY.first_steps), RECIPES)
    assert same(state(first), state(stages.begun(ONE, one, TINY)))
    trained = state(stages.begun(TWO, two, TINY))
    assert same(trained, state(stages.first_stage(1, TINY))) and not same(trained, state(first))


def test_an_answer_without_a_time_is_off_by_the_whole_film() -> None:
    asked = video.film_questions("heldout", 6, ("localisation",), (6, LONGEST), 3, easy=True)
    right = [question.answer for _, question in asked]
    assert arms.off(asked, right)["off"] == 0
    durations = [script.duration for script, _ in asked]
    found = arms.off(asked, ["the ring"] * len(asked))
    assert found.pop("off") == mean(durations)
    assert found == {f"off {seconds}": seconds for seconds in durations}


def test_readers_of_texts_are_asked_the_same(measured: Measured) -> None:
    result = measured.results["videochat.text_loses"]
    shown = result.figure["by kind"]
    assert set(shown) == set(TEXTS)
    for kind, (lost, low, high) in result.figure["lost"].items():
        given = [shown[name][kind][0] for name in (systems.TOLD, systems.TAGS)]
        assert lost == pytest.approx(given[0] - given[1]) and low <= lost <= high
    told = mean(shown[systems.TOLD][kind][0] for kind in TEMPORAL)
    assert result.others[f"{systems.TOLD}: temporal"] == pytest.approx(told) and told > 0.5
