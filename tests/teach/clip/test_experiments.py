"""CLIP's experiments at sizes that take seconds, and the rules on numbers made up here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse.data import world
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
    robust,
)
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
    assert list(scores) == ["captions", "labels"] and len(scores["labels"]) == 3
    assert set(scores["labels"][0]) == {"test", *world.SHIFTS}
    lost = result.figure["accuracy lost by seed"]
    assert lost["labels"][0] == pytest.approx(
        scores["labels"][0]["test"] - sum(scores["labels"][0][s] for s in world.SHIFTS) / 3
    )


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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficiency, "TOY_RESNET", RESNET)
    monkeypatch.setattr(efficiency, "TOY_TEXT", TEXT)
    monkeypatch.setattr(efficiency, "EMBED", 16)


def test_efficiency_counts_runs_that_never_get_there(small: None) -> None:
    result = efficiency.efficiency(settings=replace(SETTINGS, threshold=1.0))
    assert judged("clip.efficiency", result) == "does not show here"
    assert (result.measured, result.low, result.high) == (1.0, 1.0, 1.0)
    assert result.others["censored"] == 9 and result.others["censored fastest"] == 3
    assert result.others["contrastive images"] == 32
    curves = result.figure["accuracy by images seen"]
    assert [point[0] for point in curves["language model"][2]] == [8, 16, 24, 32]
    assert set(result.recipe["lr"]) == set(efficiency.ARMS)


def test_efficiency_stops_where_the_accuracy_is_reached(small: None) -> None:
    result = efficiency.efficiency(settings=replace(SETTINGS, threshold=0.0))
    assert result.others["censored"] == 0
    assert all(
        len(c) == 2 for each in result.figure["accuracy by images seen"].values() for c in each
    )


def test_the_crossing_is_interpolated_and_must_last() -> None:
    curve = efficiency._Curve(SETTINGS)
    curve.points = [(100, 0.2), (200, 0.55), (300, 0.4), (400, 0.6), (500, 0.7)]
    assert curve.reached() == pytest.approx(350)
    curve.points = curve.points[:4]
    assert curve.reached() is None


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


def ratio(low: float, high: float, lm: tuple[float, float], **others: float) -> Measurement:
    more = {"language model low": lm[0], "language model high": lm[1], **others}
    return made(low, high, **more)


@pytest.mark.parametrize(
    ("result", "word", "reason"),
    [
        (ratio(1.5, 3, (1.2, 4)), "holds", ""),
        (ratio(1.5, 3, (1.2, 4), censored=2), "holds", "lower bound"),
        (ratio(0.9, 3, (1.2, 4)), "does not show here", "contrastive against"),
        (ratio(1.5, 3, (0.9, 4)), "does not show here", "against a language model"),
        (ratio(0.4, 0.9, (1.2, 4)), "fails", "contrastive against"),
        (ratio(1.5, 3, (0.4, 0.9)), "fails", "against a language model"),
        (ratio(1.5, 3, (1.2, 4), **{"censored fastest": 1}), "does not show here", "never got"),
    ],
)
def test_rule_of_efficiency(result: Measurement, word: str, reason: str) -> None:
    verdict = claims.efficiency(result)
    assert verdict.word == word and reason in verdict.reason


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


@pytest.mark.parametrize("id", ["clip.robust", "clip.prompts", "clip.linear_probe"])
def test_rules_of_differences(id: str) -> None:
    rows = [ledger.judge(id, made(*ends)) for ends in ((0.01, 0.1), (-0.1, -0.01), (-0.1, 0.1))]
    words = [row.verdict.word for row in rows if row.verdict]
    assert words == ["holds", "fails", "does not show here"]


def test_rule_of_real_tells_of_the_classes_left_out() -> None:
    verdict = claims.real(made(0.5, 0.6, **{"left out": 0.02, "left out low": 0.01}))
    assert verdict.word == "holds" and "2.0%, not above chance" in verdict.reason
    verdict = claims.real(made(0.15, 0.2, **{"left out": 0.3, "left out low": 0.2}))
    assert verdict.word == "does not show here" and "30.0%, above chance" in verdict.reason
