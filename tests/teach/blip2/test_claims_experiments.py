"""BLIP-2's experiments at sizes that take seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse.models import qformer_masks
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.recipes import features
from vlcourse.teach import claims as ledger
from vlcourse.teach.blip2 import voice
from vlcourse.teach.blip2.experiments import arms, masks, score, second, zero_shot

TINY = arms.Settings(
    first_steps=2, first_batch=4, second_steps=4, second_batch=4, pictures=16, queries=2, width=16,
    layers=1, heads=2, scenes=2, pairs=12, measured=2, rates=(1e-3,), tuning_steps=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLCOURSE_PROCESSES", raising=False)
    return tmp_path / "cache" / "claims"


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items() if n.startswith("qformer")}


def test_a_run_that_was_finished_is_only_read_and_the_tower_looks_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = []
    compute = features._compute

    def counted(model: Any, size: int, pictures: Any, store: Any) -> None:
        computed.append(len(pictures))
        compute(model, size, pictures, store)

    monkeypatch.setattr(features, "_compute", counted)
    one, _ = arms.first_stage(TINY, arms.Arm(), 0)
    again, result = arms.first_stage(TINY, arms.Arm(), 0)
    assert result.step == 2 and not again.training
    for name, tensor in weights(one).items():
        assert torch.equal(weights(again)[name], tensor)
    arms.second_stage(TINY, arms.Arm(), 0, 1e-3)
    assert computed == [TINY.pictures]  # both stages show the same pictures


def test_a_second_stage_begins_from_the_first_and_is_measured_on_its_way() -> None:
    first, _ = arms.first_stage(TINY, arms.Arm(), 0)
    seen = []

    def measure(model: BLIP2LLM) -> dict[str, float]:
        seen.append(weights(model))
        return {"mean": 0.5}

    still = replace(TINY, second_steps=1, measured=1)
    arms.second_stage(still, arms.Arm(), 0, 1e-12, measure)  # so slow that nothing moves
    for name, tensor in weights(first).items():
        if name in seen[0]:
            torch.testing.assert_close(seen[0][name], tensor)
    _, result = arms.second_stage(TINY, arms.Arm(), 0, 1e-3, measure)
    assert [row["step"] for row in result.history if "mean" in row] == [2, 4]
    _, longer = arms.second_stage(TINY, arms.Arm(first=False, longer=True), 0, 1e-3)
    assert longer.step == TINY.second_steps + TINY.first_steps


def test_arms_of_another_kind_train_other_parts() -> None:
    straight, _ = arms.second_stage(TINY, arms.Arm(first=False, linear=True), 0, 1e-3)
    learning = {n for n, p in straight.named_parameters() if p.requires_grad}
    assert learning and all(n.startswith(("projection", "norm_image")) for n in learning)
    assert straight.prompt(torch.randn(1, 3, 32, 32)).shape[1] == 16  # all image tokens
    tuned, _ = arms.second_stage(TINY, arms.Arm(tune_llm=True), 0, 1e-3)
    fresh = voice.begin(arms.first_stage(TINY, arms.Arm(), 0)[0])[1]
    moved = (tuned.llm.head.weight - fresh.llm.head.weight).abs().max()
    assert moved > 0 and any(p.requires_grad for p in tuned.llm.parameters())


def test_each_kind_takes_the_rate_with_the_least_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(lr: float, settings: arms.Settings, arm: arms.Arm) -> float:
        assert arm.queries == 0 and not arm.longer  # neither is another kind
        return abs(lr - (4e-3 if arm.linear else 1e-3))

    monkeypatch.setattr(arms, "loss_at", loss)
    s = replace(TINY, rates=(1e-3, 2e-3, 4e-3))
    assert arms.rate(s, arms.Arm(queries=4)) == 1e-3
    assert arms.rate(s, arms.Arm(linear=True, longer=True)) == 4e-3


def test_a_short_training_gives_a_loss_and_a_nan_is_never_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 0 < arms.loss_at(1e-3, TINY, arms.Arm(first=False)) < 20

    def breaks(*_: Any, **__: Any) -> Any:
        raise arms.NonFiniteLoss("step 1: loss nan")

    monkeypatch.setattr(arms, "second_stage", breaks)
    assert arms.loss_at(1e-2, TINY, arms.Arm(first=False)) == float("inf")


def test_the_second_stages_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    result = second.stage1(settings=TINY)
    assert ledger.judge("blip2.stage1", result).verdict is not None
    rows = result.figure["by seed"]["Q-Former"]
    assert len(rows) == 3 and {"step 2", "step 4"} <= set(rows[0])
    monkeypatch.setattr(second, "COUNTS", (1, 2))
    monkeypatch.setattr("vlcourse.teach.blip2.claims.FEWER", (1,))
    result = second.queries(settings=TINY)
    assert ledger.judge("blip2.queries", result).verdict is not None
    same = result.figure["by seed"]["2 queries"]
    assert same == rows  # two is what all others have: kept once
    result = second.bottleneck(settings=TINY)
    assert ledger.judge("blip2.bottleneck", result).verdict is not None
    o = result.others
    assert o["Q-Former: trained"] < o["language model too: trained"]
    assert o["language model too: all"] == o["Q-Former: all"]


def test_right_masks_give_the_librarys_losses_and_a_leak_does_not() -> None:
    recipe = arms.first_recipe(TINY, arms.Arm(), 0)
    plain = replace(recipe.model, tasks=("itc", "itg"))
    batch = recipe.collate(train=True)(recipe.build_data("train").__getitems__(range(4)))
    found = {}
    for name, leaks in masks.LEAKS.items():
        rest = {n: getattr(plain, n) for n in type(plain).__dataclass_fields__}
        model = masks.MaskedConfig(**rest, leaks=leaks).build().eval()
        library = plain.build().eval()
        library.load_state_dict(model.state_dict())
        mine, theirs = model.losses(batch), library.losses(batch)
        found[name] = {k: (mine[k] - theirs[k]).abs().item() for k in mine}
    assert all(value < 1e-4 for value in found["right masks"].values())
    assert found["ITC leaks"]["itc"] > 1e-4 > found["ITC leaks"]["itg"]
    assert found["ITG leaks"]["itg"] > 1e-4 > found["ITG leaks"]["itc"]


def test_a_leak_is_a_bidirectional_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = qformer_masks.bidirectional
    monkeypatch.setattr(
        qformer_masks, "bidirectional", lambda *a: (asked.append(1), original(*a))[1]
    )
    found = masks.arm("ITC leaks", 0, TINY)
    assert asked and {"recall", "true", "itc", "itg"} == set(found)


def test_masks_trains_three_arms_for_each_seed(own_cache: Path) -> None:
    result = masks.masks(settings=TINY)
    assert ledger.judge("blip2.masks", result).verdict is not None
    assert len(list(own_cache.glob("blip2-masks-*.json"))) == 9
    right, leaking = (result.figure["by seed"][name] for name in ("right masks", "ITC leaks"))
    assert all(a["itc"] != b["itc"] for a, b in zip(right, leaking, strict=True))


def test_zero_shot_asks_both_models_with_the_picture_and_without() -> None:
    own = arms.begun(arms.first_recipe(TINY, arms.Arm(), 0), 0)
    models = {kind: voice.begin(own, name)[1].eval() for kind, name in zero_shot.MODELS.items()}
    result = zero_shot.zero_shot_vqa(TINY, models)
    assert ledger.judge("blip2.zero_shot_vqa", result).verdict is not None
    both = {kind: result.others[kind] for kind in models}
    assert result.measured == min(both.values())
    assert {"decoder: blind", "encoder–decoder: blind", "most frequent"} <= set(result.others)
    assert set(result.figure["by kind"]["decoder"]) == set(result.figure["kinds"])


def test_each_kind_of_question_counts_alike() -> None:
    details = {"colour": torch.ones(30), "relation": torch.zeros(2)}
    assert score.mean_of(details) == 0.5
    assert score.kinds_mean(details, 100) == (0.5, 0.5)
