"""BLIP's experiments at sizes that take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import blip_measured as made
import pytest
import torch

from vlcourse import losses
from vlcourse.engine.interrupts import Interrupted
from vlcourse.evals.rerank import retrieval
from vlcourse.models.blip import BLIP
from vlcourse.recipes.blip import TOY_BLIP, TOY_MED, answerer_of
from vlcourse.teach import claims as ledger
from vlcourse.teach.blip.experiments import arms, cache, rerank, sharing, tasks
from vlcourse.teach.blip.experiments.score import score
from vlcourse.tokenizers import med

TINY = arms.Settings(
    steps=4, batch_size=8, pictures=32, width=16, layers=1, heads=2, queue=16,
    rates=(1e-3, 2e-3), tuning_steps=1, pairs=20, scenes=12,
)  # fmt: skip
WITH_LR = replace(TINY, lr=1e-3)
SMALL = replace(TOY_BLIP, text=replace(TOY_MED, width=16, layers=1, heads=2), queue=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLCOURSE_PROCESSES", raising=False)
    return tmp_path / "cache" / "claims"


def data() -> arms.Pairs:
    return arms.clean(32, 0, (1, 2))


def weights(model: BLIP) -> dict[str, torch.Tensor]:
    return {name: t for name, t in model.state_dict().items() if "image." not in name}


def test_the_tower_has_seen_what_a_model_would_see() -> None:
    pairs, model = data(), arms.build(TINY, arms.Arm(), 0).eval()
    model.image = arms.tower()
    images = torch.stack([each["image"] for each in arms.World("train", 3, objects=(1, 2))])
    with torch.no_grad():
        feature, tokens = model.look(arms.normalise(images))
        arms.only_rows(model)
        seen, seen_tokens = model.look(pairs.rows[:3].float())
    torch.testing.assert_close(seen, feature, atol=2e-2, rtol=2e-3)  # kept in half precision
    torch.testing.assert_close(seen_tokens, tokens, atol=2e-2, rtol=2e-3)


def test_an_arm_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    class Stops(arms.Pairs):
        def __getitem__(self, index: int) -> dict[str, Any]:
            reads.append(index)
            if len(reads) > 16:  # in the third step
                raise KeyboardInterrupt
            return super().__getitem__(index)

    reads: list[int] = []
    whole = arms.train(
        arms.build(TINY, arms.Arm(), 0), data, arms.pretrain_config(WITH_LR, 0), TINY.context
    )
    pairs = data()
    with pytest.raises(Interrupted):
        arms.trained(
            "one", arms.Arm(), lambda: Stops(pairs.rows, pairs.texts, pairs.pictures), 0, WITH_LR
        )
    again = arms.trained("one", arms.Arm(), data, 0, WITH_LR)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(again)[name], tensor, msg=name)

    def none_needed() -> arms.Pairs:
        raise AssertionError("a finished run needs no data")

    # What the training does not depend on may change.
    other = replace(WITH_LR, rates=(5e-4,), tuning_steps=7, pairs=5, scenes=6)
    read = arms.trained("one", arms.Arm(), none_needed, 0, other)
    assert isinstance(read.image, arms.ResNet) and not read.training
    for name, tensor in weights(again).items():
        assert torch.equal(weights(read)[name], tensor)


@pytest.mark.parametrize(
    "change", [{"steps": 5}, {"pictures": 40}, {"width": 32}, {"lr": 2e-3}, {"objects": (1, 1)}]
)
def test_what_a_training_depends_on_is_in_its_key(change: dict[str, Any]) -> None:
    def place(settings: arms.Settings, arm: arms.Arm) -> Path:
        how = arms.pretrain_config(settings, 0)
        return cache.place("one", arms.key(settings, arm, how))

    here, there = arms.Arm(), arms.Arm(random=True)
    assert place(WITH_LR, here) != place(replace(WITH_LR, **change), here)
    assert place(WITH_LR, here) != place(WITH_LR, there)


def test_what_is_kept_is_made_once(own_cache: Path) -> None:
    made_so_far = []

    def make() -> list[float]:
        made_so_far.append(1)
        return [0.5]

    for _ in range(2):
        assert cache.kept("some thing", [TINY, 3], make) == [0.5]
    assert len(made_so_far) == 1
    assert len(list(own_cache.glob("some-thing-*.json"))) == 1
    assert cache.kept("some thing", [TINY, 4], make) == [0.5] and len(made_so_far) == 2


def test_the_rate_with_the_least_loss_is_taken() -> None:
    def loss(lr: float, settings: arms.Settings) -> float:
        return abs(lr - 2e-3)

    assert arms.with_rate(TINY, loss).lr == 2e-3
    assert arms.with_rate(WITH_LR, loss) is WITH_LR


def test_a_rate_that_ends_in_nan_is_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> BLIP:
        raise arms.NonFiniteLoss("step 1: loss nan")

    monkeypatch.setattr(arms, "train", breaks)
    assert sharing.loss_at(1.0, TINY) == float("inf")


def test_random_negatives_do_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = losses.hard_negatives

    def spied(similarity: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
        seen.append(similarity.std().item())
        return original(similarity, same)

    monkeypatch.setattr(losses, "hard_negatives", spied)
    batch = arms.collate([data()[i] for i in range(8)], TINY.context)
    for name, arm in (("hard", arms.Arm()), ("random", arms.Arm(random=True))):
        model = arms.build(TINY, arm, 0)
        arms.only_rows(model)
        found = model.losses(batch)
        assert set(found) == {"itc", "itm", "lm"}, name
    assert min(seen[:2]) > 0 and seen[2:] == [0, 0]


def test_hard_negatives_trains_two_arms_for_each_seed(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(model: BLIP, settings: arms.Settings) -> dict[str, float]:
        value = float(model.itm_head.weight.detach().abs().sum())
        return dict.fromkeys((*sharing.FOILS, "recall", "true"), value)

    monkeypatch.setattr(sharing, "score", scored)
    result = sharing.hard_negatives(settings=TINY)
    assert ledger.judge("blip.hard_negatives", result).verdict is not None
    assert len(list(own_cache.glob("blip-all-but-sa-*.json"))) == 3
    assert len(list(own_cache.glob("blip-random-*.json"))) == 3
    assert result.recipe["settings"]["lr"] in TINY.rates
    by_seed = result.figure["by seed"]
    gains = [
        hard["swapped relation"] - random["swapped relation"]
        for hard, random in zip(by_seed["hard"], by_seed["random"], strict=True)
    ]
    assert result.measured == pytest.approx(sum(gains) / 3) and all(gains)


def test_a_specialist_is_scored_for_what_it_does() -> None:
    reads = sharing.arm("comparing and matching", 0, WITH_LR)
    assert {"recall", "recall itc", "swapped relation", "parameters"} <= set(reads)
    assert "true" not in reads
    writes = sharing.arm("writing", 0, WITH_LR)
    assert {"true", "coverage", "cider"} <= set(writes) and "recall" not in writes
    model = arms.build(WITH_LR, arms.Arm(), 0).eval()
    assert "swapped relation" not in score(model, WITH_LR, foils=False)


@pytest.fixture
def model() -> BLIP:
    torch.manual_seed(0)
    return SMALL.build().eval()


def no_arms(names: Sequence[str], *_: Any) -> dict[str, Any]:
    """In the place of the arms that blip.rerank and blip.tasks train."""
    return {name: made.found(0.9, 0.9) for name in names}


def test_rerank_after_16_is_what_the_course_calls_recall(
    model: BLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "trained", no_arms)
    result = rerank.rerank(settings=WITH_LR, model=model)
    assert result.measured == pytest.approx(0.03)
    assert ledger.judge("blip.rerank", result).verdict is not None
    whole = retrieval(model, med.toy(), WITH_LR.pairs, k=16)
    after = (whole["text_to_image"] + whole["image_to_text"]) / 2
    assert result.others["blip-toy after"] == pytest.approx(after)
    before = (whole["text_to_image itc"] + whole["image_to_text itc"]) / 2
    curve = result.figure["recall by k"]
    assert curve["0"] == curve["1"] == pytest.approx(before)


def test_tasks_measures_four_and_takes_the_least(
    model: BLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "trained", no_arms)
    answerer = answerer_of(SMALL).build().eval()
    result = tasks.tasks(settings=WITH_LR, model=model, answerer=answerer)
    assert ledger.judge("blip.tasks", result).verdict is not None
    four = {name: result.others[name] for name in result.figure["tasks"]}
    assert set(four) == {"recall@1", "relations", "true captions", "answers"}
    assert result.measured == min(four.values())
    assert result.others["blind: recall@1"] == 1 / WITH_LR.pairs
    assert 0.2 < result.others["blind: answers"] < 0.7
    assert result.others["all tasks − writing: true"] == 0
