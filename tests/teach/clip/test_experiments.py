"""CLIP's experiments at sizes that take seconds, and the rules on numbers made up here."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse.data import world
from vlcourse.data.world.arrays import RADII, SHIFTED_RADII
from vlcourse.evals import clip as clip_evals
from vlcourse.models.clip import CLIP, CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.recipes import RECIPES
from vlcourse.teach import claims as ledger
from vlcourse.teach.claims import Measurement
from vlcourse.teach.clip import claims
from vlcourse.teach.clip.experiments import (
    arms,
    efficiency,
    limits,
    objectives,
    probe,
    prompts,
    real,
    rich,
    robust,
    varied,
)
from vlcourse.teach.clip.experiments.rich_words import OTHER_NAMES
from vlcourse.tokenizers.byte_bpe import TOY_VOCAB, toy

TEXT = TextConfig(vocab_size=TOY_VOCAB, context=64, width=16, layers=1, heads=2)
VIT = ViTConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2)
RESNET = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=4, heads=2)


@pytest.fixture
def model() -> CLIP:
    torch.manual_seed(0)
    return CLIPConfig(embed=16, image=VIT, text=TEXT).build().eval()


def judged(id: str, result: Measurement) -> str:
    """The measurement can be judged and stored; its verdict."""
    assert result.judged_by() is None and result.recipe and result.figure
    verdict = ledger.judge(id, result).verdict
    assert verdict is not None
    return verdict.word


def test_the_experiment_of_each_claim_is_there() -> None:
    for claim in claims.CLAIMS:
        module, function = claim.experiment.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_limits_scores_what_it_says(model: CLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = world.two_object_scenes(30, seed=7)
    right = torch.randn(30, 16)
    captions: list[str] = []

    def embed_texts(_: Any, __: Any, texts: list[str]) -> torch.Tensor:
        captions.extend(texts)
        return right[: len(texts)] if len(captions) == len(texts) else -right[: len(texts)]

    monkeypatch.setattr(clip_evals, "embed_images", lambda _, images: right[: len(images)])
    monkeypatch.setattr(clip_evals, "embed_texts", embed_texts)
    for kind in limits.KINDS:
        captions.clear()
        assert limits.preferred(model, scenes, kind).mean() == 1.0
        half = len(captions) // 2
        assert all(a != b for a, b in zip(captions[:half], captions[half:], strict=True))
    monkeypatch.setattr(clip_evals, "embed_texts", lambda _, __, texts: right[: len(texts)])
    assert limits.preferred(model, scenes, "swapped relation").unique().tolist() == [0.5]


def test_limits(model: CLIP) -> None:
    result = limits.limits(items=80, model=model)
    assert judged("clip.limits", result) == "does not show here"  # it knows nothing at all
    assert 0.3 < result.measured < 0.7
    assert set(result.figure["accuracy by foil"]) == set(limits.KINDS)
    assert result.figure["scenes by foil"]["replaced attribute"] == 80


def test_prompts(model: CLIP) -> None:
    result = prompts.prompts(items=100, model=model, photos=False)
    judged("clip.prompts", result)
    accuracy = result.figure["accuracy by prompt"]["toy world"]
    assert list(accuracy) == list(prompts.WAYS)
    assert result.measured == pytest.approx(accuracy["ensemble"] - accuracy["bare name"], abs=1e-6)
    low, high = (result.others[f"one template − bare name {end}"] for end in ("low", "high"))
    assert low <= result.others["one template − bare name"] <= high


def test_probe_by_labels(model: CLIP) -> None:
    result = probe.probe_by_labels(labels=(1, 16), items=120, steps=2, model=model)
    judged("clip.linear_probe", result)
    assert set(result.others) == {"zero-shot", "probe 1", "scratch 1", "probe 16", "scratch 16"}
    gap = result.others["probe 16"] - result.others["scratch 16"]
    assert result.measured == pytest.approx(gap, abs=1e-6)


def test_robust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robust, "TOY_RESNET", RESNET)
    monkeypatch.setattr(robust, "TOY_TEXT", TEXT)
    result = robust.robust(seeds=(0, 1, 2), steps=2, items=40)
    judged("clip.robust", result)
    scores = result.figure["accuracy by seed"]
    assert list(scores) == list(robust.ARMS) and len(scores["labels, varied"]) == 3
    assert set(scores["labels, varied"][0]) == {"test", *world.SHIFTS}


def test_robust_pairs_the_arms_by_seed() -> None:
    def found(plain: float, lost: float) -> dict[str, float]:
        return {"test": plain, **dict.fromkeys(world.SHIFTS, plain - lost)}

    lost = {
        "captions, one generator": (0.3, 0.4, 0.5),
        "labels, one generator": (0.4, 0.5, 0.6),
        "captions, varied": (0.1, 0.2, 0.2),
        "labels, varied": (0.1, 0.1, 0.3),
    }
    scores = {arm: [found(0.9, each) for each in values] for arm, values in lost.items()}
    result = robust.compare(scores, (0, 1, 2), steps=2)
    assert result.measured == pytest.approx(0.05)  # the mean of 0.1 and 0
    assert result.others["objective, one generator"] == pytest.approx(0.1)
    assert result.others["objective, varied"] == pytest.approx(0)
    assert result.others["variety, captions"] == pytest.approx(0.7 / 3)
    low, high = (result.others[f"objective, one generator {end}"] for end in ("low", "high"))
    assert low == pytest.approx(0.1) and high == pytest.approx(0.1)  # the same for each seed
    assert result.others["captions, varied: noise"] == pytest.approx(0.9 - 0.5 / 3)
    alone = {arm: each for arm, each in scores.items() if arm.endswith("one generator")}
    half = robust.compare(alone, (0, 1, 2), steps=2)
    assert half.measured == pytest.approx(0.1) and "variety, labels" not in half.others
    verdict = claims.robust(half)
    assert verdict.word == "does not show here" and "without the web's variety" in verdict.reason


def test_varied_pictures_show_the_same_objects_and_stay_inside_the_shifts() -> None:
    plain, other = arms.OneObject(200, 32, seed=2), varied.VariedObject(200, 32, seed=2)
    for a, b in zip(plain.__getitems__(range(20)), other.__getitems__(range(20)), strict=True):
        assert (a["label"], a["caption"]) == (b["label"], b["caption"])
        assert not torch.equal(a["image"], b["image"])
    assert torch.equal(other[7]["image"], other.__getitems__([3, 7])[1]["image"])
    before = plain.world.arrays(range(200))
    after = varied.resized(before)
    radius, size = after.radius[:, 0], after.size[:, 0]
    low, high = RADII[0][0], RADII[1][1]
    assert radius.min() >= low and radius.max() <= high  # the shift's are smaller and larger
    assert SHIFTED_RADII[0][1] < low and high < SHIFTED_RADII[1][0]
    assert radius[size == 0].max() < radius[size == 1].min()
    assert len(set(radius.tolist())) > 50  # not two bands
    for place in (after.x[:, 0], after.y[:, 0]):
        assert (place - radius >= 16).all() and (place + radius <= 1024 - 16).all()
    grounds = varied.grounds(before.seed, 32)
    assert grounds.shape == (200, 3, 32, 32) and 0 <= grounds.min() and grounds.max() <= 110
    assert grounds.mean(axis=(2, 3)).std() > 15  # tints from dark to light


def test_one_object_scenes_are_labelled_with_what_they_show() -> None:
    data = arms.OneObject(20, 32, seed=1)
    for sample in data.__getitems__(range(20)):
        thing = sample["scene"].objects[0]
        assert data.classes[sample["label"]] == world.class_prompt(thing.colour, thing.shape)
        assert len(sample["scene"].objects) == 1
    images, labels = arms.seen_pictures("test", 80, 32)
    assert images.shape == (80, 3, 32, 32) and sorted(set(labels.tolist())) == list(range(40))


SETTINGS = efficiency.Settings(
    steps=4, tuning_steps=2, rates=(1e-3, 2e-3), batch_size=8, every=1, items=40
)
RICH = replace(SETTINGS, clauses=2, arms=("contrastive", "bag of words"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficiency, "TOY_RESNET", RESNET)
    monkeypatch.setattr(efficiency, "TOY_TEXT", TEXT)
    monkeypatch.setattr(efficiency, "EMBED", 16)


def test_efficiency_trains_both_kinds_and_counts_runs_that_never_get_there(small: None) -> None:
    kinds = {"plain": replace(SETTINGS, threshold=1.0), "rich": replace(RICH, threshold=0.0)}
    result = efficiency.efficiency(kinds=kinds)
    assert judged("clip.efficiency", result) == "does not show here"
    assert result.others["censored"] == 9 and result.others["censored contrastive"] == 3
    assert result.others["contrastive images, plain"] == 32
    assert result.others["contrastive, plain"] == 1.0
    curves = result.figure["plain"]["accuracy by images seen"]
    assert [point[0] for point in curves["language model"][2]] == [8, 16, 24, 32]
    assert set(result.recipe["lr"]["plain"]) == set(efficiency.ARMS)
    # Where the goal is reached the run ends.
    curves = result.figure["rich"]["accuracy by images seen"]
    assert set(curves) == {"contrastive", "bag of words"}
    assert all(len(curve) == 2 for each in curves.values() for curve in each)


def test_efficiency_compares_images_at_each_goal() -> None:
    def climb(images: int) -> list[list[tuple[int, float]]]:
        """Past 30 % after so many images and past 50 % after twice as many, for three seeds."""
        points = [(images, 0.3), (images + 1, 0.3), (2 * images, 0.5), (2 * images + 1, 0.5)]
        return [points] * 3

    plain = {"contrastive": 100, "bag of words": 150, "language model": 600}
    rich = {"contrastive": 200, "bag of words": 800}
    lower = replace(RICH, threshold=0.3)
    runs = {
        "plain": efficiency.Runs(SETTINGS, {}, {}, {arm: climb(n) for arm, n in plain.items()}),
        "rich": efficiency.Runs(lower, {}, {}, {arm: climb(n) for arm, n in rich.items()}),
    }
    result = efficiency.compare(runs, (0, 1, 2))
    assert result.measured == result.low == pytest.approx(4)
    assert result.others["contrastive, plain"] == pytest.approx(1.5)
    assert result.others["contrastive, plain, goal of rich"] == pytest.approx(1.5)
    assert result.others["language model, plain"] == pytest.approx(4)
    assert result.others["bag of words images, rich"] == pytest.approx(800)
    plain_only = efficiency.compare({"plain": runs["plain"]}, (0, 1, 2))
    assert plain_only.measured == pytest.approx(1.5)
    assert "bag of words ÷ contrastive 1.5" in claims.efficiency(plain_only).reason
    verdict = claims.efficiency(result)
    assert verdict.word == "holds"
    assert "÷ contrastive 4 (4 to 4) × (rich captions, to 30 %)" in verdict.reason


def test_rich_captions_say_the_same_and_more() -> None:
    scenes = world.World("train", 300).scenes()
    said = [rich.rich(s.caption(), s.seed, clauses=4) for s in scenes]
    assert said[5] == rich.rich(scenes[5].caption(), scenes[5].seed, clauses=4)
    assert rich.rich("a red ring", 1, clauses=0, renamed=0) == "a red ring"
    other = {rich.rich("a red ring", seed, clauses=0, renamed=1.0) for seed in range(500)}
    assert other == {f"a {c} {s}" for c in OTHER_NAMES["red"] for s in OTHER_NAMES["ring"]}
    assert 600 < len(rich.vocabulary()) < 3000
    ids = rich.tokens(said)
    assert (ids != 0).sum(dim=1).float().mean() > 25
    assert (ids.argmax(dim=1) + 1 == (ids != 0).sum(dim=1)).all()  # the end has the largest id
    assert int(ids.max()) == rich.text_config().vocab_size - 1
    names = [n for several in OTHER_NAMES.values() for n in several] + list(OTHER_NAMES)
    assert len(names) == len(set(names))  # no name stands for two things
    assert rich.tokens(["a red ring"]).shape == (1, 5)
    with pytest.raises(KeyError, match="zebra"):
        rich.tokens(["a zebra"])


def test_the_crossing_is_interpolated_and_must_last() -> None:
    points = [(100, 0.2), (200, 0.55), (300, 0.4), (400, 0.6), (500, 0.7)]
    assert efficiency.crossing(points, 0.5) == pytest.approx(350)
    assert efficiency.crossing(points[:4], 0.5) is None


def test_noisy_captions_are_wrong_as_often_as_asked_and_the_same_every_time() -> None:
    data = efficiency.NoisyWorld(2000, 32, seed=3, noise=0.2)
    samples = data.__getitems__(range(400))
    assert 0.13 < sum(s["wrong"] for s in samples) / 400 < 0.27
    for sample in samples:
        true = sample["scene"].is_true(sample["caption"])
        assert true or sample["wrong"]
    assert sum(not s["scene"].is_true(s["caption"]) for s in samples) > 40
    assert data[7]["caption"] == samples[7]["caption"]


@pytest.mark.parametrize("arm", list(efficiency.ARMS))
def test_an_objective_learns_one_batch_and_then_names_its_pictures(arm: str) -> None:
    torch.manual_seed(0)
    pairs = [("red", "circle"), ("blue", "star"), ("green", "ring"), ("white", "cross")]
    prompts = toy()([world.class_prompt(*pair) for pair in pairs])
    pixels = torch.randn(4, 3, 32, 32)
    model = efficiency.ARMS[arm](RESNET, TEXT, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    first = last = 0.0
    for step in range(60):
        (loss,) = model.losses({"pixels": pixels, "tokens": prompts}).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (loss.item(), last) if step == 0 else (first, loss.item())
    assert last < 0.8 * first
    scores = model.scores(pixels, prompts)
    assert scores.shape == (4, 4) and scores.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_the_bag_leaves_out_padding_and_ends() -> None:
    model = objectives.BagOfWords(RESNET, TEXT, 16)
    bag = model.words(toy()(["a red circle and a blue star", "two"]))
    assert bag.sum(dim=1).tolist() == [7, 1]
    assert bag.max() == 2  # "a" stands twice


def test_the_likelihood_of_a_prompt_does_not_depend_on_what_follows_it() -> None:
    torch.manual_seed(0)
    model = objectives.LanguageModel(RESNET, TEXT, 16).eval()
    pixels = torch.randn(3, 3, 32, 32)
    alone = model.scores(pixels, toy()(["a red circle"]))
    padded = model.scores(pixels, toy()(["a red circle", "a small blue star and two rings"]))
    torch.testing.assert_close(alone[:, 0], padded[:, 0])
    tokens = toy()(["a red circle"])
    by_hand = model.log_p(model.prefix(model.image(pixels)[0]), tokens.repeat(3, 1))
    torch.testing.assert_close(alone[:, 0], by_hand[:, :3].sum(dim=1))


def test_classes_are_left_out(shared_data: Path) -> None:
    recipe = RECIPES["clip-cifar"]
    recipe = replace(
        recipe,
        model=CLIPConfig(embed=16, image=RESNET, text=TEXT),
        data=replace(recipe.data, n_train=300),
        train=replace(recipe.train, batch_size=32),
    )
    data = real.Without(recipe.build_data("train"), real.LEFT_OUT)
    names = {data.classes[s["label"]] for s in data.__getitems__(range(len(data)))}
    assert len(names) == 8 and not names & set(real.LEFT_OUT)
    photos = arms.Pictures(
        torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8),
        torch.arange(20) % 10,
        data.classes,
    )
    hits = real.never_seen(recipe, photos, real.LEFT_OUT, steps=2)
    assert hits.shape == (20,)
    with pytest.raises(ValueError, match="called whale"):
        real.Without(data.data, ["whale"])


def made(low: float, high: float, **others: float) -> Measurement:
    return Measurement((low + high) / 2, low, high, bootstrap=2000, others=others)


def ratio(
    rich: tuple[float, float], lm: tuple[float, float], censored: int = 0, contrastive: int = 0
) -> Measurement:
    """Intervals of bag of words ÷ contrastive with rich captions, and of the first step."""
    others = {"goal, plain": 0.5, "goal, rich": 0.3, "censored": censored}
    others["censored contrastive"] = contrastive
    named = {
        "contrastive, rich": rich,
        "contrastive, plain": (0.5, 2),
        "contrastive, plain, goal of rich": (0.9, 1.3),
        "language model, plain": lm,
    }
    for name, (low, high) in named.items():
        others |= {name: (low + high) / 2, f"{name} low": low, f"{name} high": high}
    return made(*rich, **others)


@pytest.mark.parametrize(
    ("result", "word", "reason"),
    [
        (
            ratio((1.5, 3), (1.2, 4)),
            "holds",
            "contrastive 2.25 (1.5 to 3) × (rich captions, to 30 %)",
        ),
        (ratio((1.5, 3), (1.2, 4)), "holds", "with plain captions 1.1 (0.9 to 1.3) × to the same"),
        (ratio((1.5, 3), (1.2, 4), censored=2), "holds", "with their last image: 2"),
        (ratio((0.9, 3), (1.2, 4)), "does not show here", "(0.9 to 3) ×, no clear difference"),
        (ratio((1.5, 3), (0.9, 4)), "does not show here", "(0.9 to 4) ×, no clear difference"),
        (ratio((0.4, 0.9), (1.2, 4)), "fails", "contrastive 0.65"),
        (ratio((1.5, 3), (0.4, 0.9)), "fails", "language model ÷ bag of words 0.65"),
        (ratio((1.5, 3), (1.2, 4), 1, contrastive=1), "does not show here", "arm never got there"),
    ],
)
def test_rule_of_efficiency(result: Measurement, word: str, reason: str) -> None:
    verdict = claims.efficiency(result)
    assert verdict.word == word and reason in verdict.reason


STEPS = ("one template − bare name", "ensemble − one template")


def named(pairs: dict[str, tuple[float, float]]) -> dict[str, float]:
    others = {}
    for name, (low, high) in pairs.items():
        others |= {name: (low + high) / 2, f"{name} low": low, f"{name} high": high}
    return others


@pytest.mark.parametrize(
    ("first", "second", "word", "reason"),
    [
        ((0.005, 0.015), (0.001, 0.003), "holds", "one template helps +1.0 (0.5 to 1.5)"),
        ((0.005, 0.015), (-0.001, 0.003), "does not show here", "an ensemble adds nothing clear"),
        ((-0.001, 0.003), (0.01, 0.03), "does not show here", "one template adds nothing clear"),
        ((0.005, 0.015), (-0.03, -0.01), "fails", "an ensemble hurts −2.0 (−3.0 to −1.0)"),
    ],
)
def test_rule_of_prompts_judges_each_step(
    first: tuple[float, float], second: tuple[float, float], word: str, reason: str
) -> None:
    others = named(dict(zip(STEPS, (first, second), strict=True)))
    verdict = claims.prompts(made(0.01, 0.02, **others))
    assert verdict.word == word and reason in verdict.reason and "photos" not in verdict.reason
    others |= named({f"CIFAR-10 {step}": (-0.01, 0.01) for step in STEPS})
    verdict = claims.prompts(made(0.01, 0.02, **others))
    assert verdict.word == word
    assert "on photos, one template adds nothing clear" in verdict.reason


@pytest.mark.parametrize(
    ("one", "varied", "word"),
    [
        ((0.01, 0.1), (0.02, 0.1), "holds"),
        ((-0.1, -0.01), (-0.1, -0.02), "fails"),
        ((0.01, 0.1), (-0.1, 0.1), "does not show here"),
        ((0.01, 0.1), (-0.1, -0.02), "does not show here"),
    ],
)
def test_rule_of_robust_asks_for_the_objective_at_equal_pictures(
    one: tuple[float, float], varied: tuple[float, float], word: str
) -> None:
    pairs = {"objective, one generator": one, "objective, varied": varied}
    pairs |= {f"variety, {arm}": (0.1, 0.3) for arm in ("captions", "labels")}
    verdict = claims.robust(made(-0.1, 0.1, **named(pairs)))
    assert verdict.word == word
    assert "by varied pictures: +20.0 (10.0 to 30.0) for captions" in verdict.reason


def foils(relation: tuple[float, float], attribute: tuple[float, float], replaced: float):
    return made(
        *relation,
        **{
            "swapped attribute low": attribute[0],
            "swapped attribute high": attribute[1],
            "replaced attribute": replaced,
            "replaced attribute low": replaced - 0.03,
        },
    )


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (foils((0.48, 0.56), (0.5, 0.6), 0.9), "holds"),
        (foils((0.8, 0.86), (0.85, 0.9), 0.9), "fails"),
        (foils((0.48, 0.56), (0.85, 0.9), 0.9), "does not show here"),
        (foils((0.48, 0.75), (0.5, 0.6), 0.9), "does not show here"),
        (foils((0.48, 0.52), (0.5, 0.52), 0.58), "does not show here"),
    ],
)
def test_rule_of_limits(result: Measurement, word: str) -> None:
    assert claims.limits(result).word == word


def test_rule_of_differences() -> None:
    ends = ((0.01, 0.1), (-0.1, -0.01), (-0.1, 0.1))
    rows = [ledger.judge("clip.linear_probe", made(*pair)) for pair in ends]
    words = [row.verdict.word for row in rows if row.verdict]
    assert words == ["holds", "fails", "does not show here"]


def test_rule_of_real_tells_of_the_classes_left_out() -> None:
    verdict = claims.real(made(0.5, 0.6, **{"left out": 0.02, "left out low": 0.01}))
    assert verdict.word == "holds" and "2.0%, not above chance" in verdict.reason
    verdict = claims.real(made(0.15, 0.2, **{"left out": 0.3, "left out low": 0.2}))
    assert verdict.word == "does not show here" and "30.0%, above chance" in verdict.reason
