"""The adapters' experiments at sizes that take seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse import zoo
from vlcourse.teach import claims as ledger
from vlcourse.teach import over_seeds
from vlcourse.teach.adapter.experiments import arms, expert, seen, told
from vlcourse.teach.adapter.experiments.arms import Arm, Settings

TINY = Settings(
    steps=2, batch_size=4, scenes=12, pictures=3, measured=2, rates=(1.0,), tuning_steps=2
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLCOURSE_PROCESSES", raising=False)
    return tmp_path / "cache" / "claims"


def judged(id: str, result: Any) -> None:
    assert ledger.judge(id, result).verdict is not None


def learns(name: str, table: dict[str, Arm]) -> set[str]:
    """The parts of an arm that are trained."""
    model = arms.begun(arms.recipe_of(table[name], TINY, 0), table[name].told)
    return {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}


def test_gates_begin_closed_or_at_random_around_the_same_prompts() -> None:
    closed, opened = (
        arms.begun(arms.recipe_of(told.ARMS[n], TINY, 3), True) for n in (told.V1, told.RANDOM)
    )
    assert not closed.gates().any() and (opened.gates().abs() > 0.01).all()
    assert closed.layers[0].prompts.shape == opened.layers[0].prompts.shape


def test_where_all_is_told_version_2_trains_nothing_that_sees() -> None:
    assert learns(told.V2, told.ARMS) == {"layers", "tuned", "norm_final"}
    assert learns(told.BARE, told.ARMS) == {"layers"}
    assert learns(told.LORA, told.ARMS) == {"layers"}
    assert {"visual", "early"} <= learns(seen.DISJOINT, seen.ARMS)


def test_version_1_of_26_prompts_is_as_large_as_version_2() -> None:
    counts = []
    for name in (told.V2, told.ALIKE):
        counts.append(told.size(arms.begun(arms.recipe_of(told.ARMS[name], TINY, 0), True)))
    assert abs(counts[0]["trained"] - counts[1]["trained"]) < 0.01 * counts[0]["trained"]
    assert counts[0]["share"] == pytest.approx(5000 / 230_592)


def test_a_file_is_as_large_as_what_ships() -> None:
    full = told.size(zoo.load("llm-toy"))
    assert full["share"] == 1 and full["bytes"] == zoo.card("llm-toy")["bytes"]


def test_zero_init_and_the_cost_share_an_arm(own_cache: Path) -> None:
    result = told.zero_init(settings=TINY)
    judged("adapter.zero_init", result)
    rows = result.figure["by seed"][told.V1]
    assert {"step 1", "step 2", "loss 1", "gate 2 3", "score"} <= set(rows[0])
    made = len(list(own_cache.glob("adapter-told-*.json")))
    assert made == 6
    told.zero_init(settings=TINY)
    assert len(list(own_cache.glob("adapter-told-*.json"))) == made


def test_the_cost_is_of_all_its_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "CURVE", told.COMPARED)
    monkeypatch.setattr(told, "TIMED", 3)
    result = told.cost(settings=replace(TINY, steps=1, measured=1))
    judged("adapter.cost", result)
    o = result.others
    assert o["LoRA: trained"] < o["V1: trained"] < o["all parameters: trained"] == 230_592
    assert all(o[f"{name}: seconds"] > 0 for name in told.COMPARED)
    assert o["all parameters: ratio"] == pytest.approx(1, abs=1e-6)


def test_version_2_is_compared_with_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    judged("adapter.v2_bias", told.v2_bias(settings=replace(TINY, steps=1, measured=1)))


def test_joint_training_is_kept_and_the_expert_asks_its_models(own_cache: Path) -> None:
    tiny = replace(TINY, steps=1)
    result = seen.v2_disjoint(settings=tiny)
    judged("adapter.v2_disjoint", result)
    assert set(result.figure["by seed"]) == {"disjoint", "shared", "alone"}
    runs = len([path for path in own_cache.glob("adapter-run-*") if path.is_dir()])
    asked = expert.v2_expert(settings=tiny)
    judged("adapter.v2_expert", asked)
    assert len([path for path in own_cache.glob("adapter-run-*") if path.is_dir()]) == runs
    assert asked.others["expert: true"] > 0.5  # blip-toy's captions of unseen compositions


def test_a_batch_of_one_kind_is_half_a_joint_one() -> None:
    both, one = (arms.recipe_of(seen.ARMS[n], TINY, 0) for n in (seen.DISJOINT, "captions alone"))
    assert both.train.batch_size == 2 * one.train.batch_size
    assert len(both.build_data("train")) == 2 * len(one.build_data("train"))
    kinds = {one.build_data("train")[i]["kind"] for i in range(4)}
    assert kinds == {"caption"}


def test_the_experts_words_stand_before_the_instruction() -> None:
    sample = {"said": "a red circle.", "parts": (("instruction: …", False),), "image": 1}
    assert expert.put(sample, "picture")["parts"] == sample["parts"]
    both, words = expert.put(sample, "both"), expert.put(sample, "caption")
    assert both["parts"] == words["parts"] == (("a red circle.", False), ("instruction: …", False))
    assert "image" in both and "image" not in words


def test_early_and_late_fusion_are_compared() -> None:
    result = seen.v2_early(settings=replace(TINY, steps=1))
    judged("adapter.v2_early", result)
    assert "blind: score" in result.others


def test_each_kind_takes_the_rate_with_the_least_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(factor: float, arm: Arm, settings: Settings) -> float:
        assert not arm.tuned
        return abs(factor - (2.0 if arm.recipe == "adapter-toy" else 0.5))

    monkeypatch.setattr(arms, "loss_at", loss)
    s = replace(TINY, rates=(0.5, 1.0, 2.0))
    assert arms.rate(told.ARMS[told.ALIKE], s, told.ARMS) == 2.0  # as version 1
    assert arms.rate(told.ARMS[told.V2], s, told.ARMS) == 0.5


def test_a_rate_that_breaks_is_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < arms.loss_at(1.0, told.ARMS[told.V1], TINY) < 20

    def breaks(*_: Any, **__: Any) -> Any:
        raise arms.NonFiniteLoss("step 1: loss nan")

    monkeypatch.setattr(arms, "fit", breaks)
    assert arms.loss_at(2.0, told.ARMS[told.V1], TINY) == float("inf")


def test_the_loss_at_the_end_is_a_mean() -> None:
    assert told.late({f"loss {n}": float(n) for n in range(1, 9)} | {"score": 0.0}) == 7.5
    assert over_seeds.steps_of({"loss 10": 0.0, "loss 9": 0.0, "step 1": 0.0}, "loss") == [9, 10]


def test_what_is_asked_is_never_a_trained_composition() -> None:
    asked = expert.samples(TINY)
    assert len(asked) == TINY.scenes and all(s["scene"].split == "heldout" for s in asked)
    assert all(isinstance(s["image"], torch.Tensor) and s["said"].endswith(".") for s in asked)
