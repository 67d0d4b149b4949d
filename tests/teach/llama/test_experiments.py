"""LLaMA's experiments at sizes that take seconds, and the rules on numbers made up here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vlcourse.engine.config import NonFiniteLoss
from vlcourse.teach import claims as ledger
from vlcourse.teach.claims import Measurement
from vlcourse.teach.llama import claims
from vlcourse.teach.llama.experiments import architecture, arms, budget
from vlcourse.teach.llama.experiments.budget import Point, Size
from vlcourse.tokenizers.sentence_bpe import toy

ARCHITECTURE = architecture.Settings(
    width=16, layers=1, heads=2, context=32, steps=2, tuning_steps=1, rates=(1e-3, 1e-2),
    batch_size=4, items=8, repeats=2,
)  # fmt: skip
BUDGET = budget.Settings(
    tokens=400, tuning_share=0.5, rates=(1e-3, 1e-2), context=16, batch_size=2, items=8, points=3
)


def judged(id: str, result: Measurement) -> str:
    """The measurement can be judged and stored; its verdict."""
    assert result.judged_by() is None and result.recipe and result.figure
    verdict = ledger.judge(id, result).verdict
    assert verdict is not None
    return verdict.word


def test_windows_are_one_text_cut() -> None:
    text = torch.arange(26)
    windows = arms.Windows(text, 8)
    assert len(windows) == 3
    batch = arms.collate([windows[0], windows[2]])
    assert batch["tokens"].tolist() == [list(range(8)), list(range(16, 24))]
    assert torch.equal(batch["targets"], batch["tokens"] + 1)
    assert len(set(batch["ids"])) == 2


def test_text_is_documents_that_are_learned_whole() -> None:
    text = arms.text("train", 3000, 5)
    assert text.shape == (3000,)
    documents = toy().decode(text.tolist()).count("in other words:")
    assert documents > 5 and (text == arms.EOS).sum() > 20
    assert torch.equal(text[:1000], arms.text("train", 1000, 5))
    assert not torch.equal(text[:1000], arms.text("train", 1000, 6))
    assert not torch.equal(text[:1000], arms.text("test", 1000, 5))


def test_loss_is_that_of_the_windows() -> None:
    class Sure(nn.Module):
        """Says the loss of a batch is the mean of its tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"lm": batch["tokens"].float().mean() + self.weight.sum()}

    loss = arms.test_loss(Sure(), arms.Windows(torch.arange(65), 8), batch=4)
    assert loss == pytest.approx(31.5)


def test_tuning_goes_on_beyond_the_ends() -> None:
    def valley(lr: float) -> float:
        if lr > 30:
            raise NonFiniteLoss("too fast")
        return abs(math.log2(lr / 16))

    assert arms.best_rate(arms.tune((1, 2, 4), valley)) == 16
    assert list(arms.tune((1, 2, 4), valley)) == [1, 2, 4, 8, 16, 32]
    assert list(arms.tune((8, 16, 32), valley)) == [8, 16, 32]
    assert list(arms.tune((18, 20), valley)) == [9, 18, 20]
    assert len(arms.tune((1, 2), lambda lr: -lr)) == 6


def test_arms_have_the_same_size() -> None:
    settings = architecture.Settings()
    counts = {}
    for arm, changes in architecture.ARMS.items():
        config = architecture.arm_config(arm, settings)
        assert config.changes == changes and config.width == settings.width
        counts[arm] = arms.parameters(config.build())
    assert all(abs(n / counts["GPT-2"] - 1) < 0.005 for n in counts.values()), counts
    assert architecture.arm_config("GPT-2", settings).ffn == 4 * settings.width


def test_architecture() -> None:
    result = architecture.architecture(seeds=(0, 1, 2), settings=ARCHITECTURE)
    judged("llama.architecture", result)
    test = result.figure["test loss"]
    assert list(test) == list(architecture.ARMS) and len(test["GPT-2"]) == 3
    gains = [a - b for a, b in zip(test["GPT-2"], test["all three"], strict=True)]
    assert result.measured == pytest.approx(sum(gains) / 3)
    for name in claims.ALONE:
        assert result.others[f"{name} low"] <= result.others[name] <= result.others[f"{name} high"]
    for arm, found in result.figure["loss by learning rate"].items():
        assert result.recipe["lr"][arm] == min(found, key=lambda pair: pair[1])[0]
    curve = result.figure["loss by step"]["rotary"][0]
    assert [step for step, _ in curve] == [1, 2] and curve[0][1] == pytest.approx(6.4, abs=0.4)
    assert result.others["time of RMSNorm ÷ LayerNorm"] > 0


def test_every_arm_reads_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[torch.Tensor] = []
    train = arms.train
    monkeypatch.setattr(
        arms, "train", lambda m, data, *c: (read.append(data.inputs), train(m, data, *c))[1]
    )
    for arm in ("GPT-2", "all three"):
        architecture.train(arm, 1e-3, 7, 2, ARCHITECTURE)
    architecture.train("GPT-2", 1e-3, 8, 2, ARCHITECTURE)
    assert torch.equal(read[0], read[1]) and not torch.equal(read[0], read[2])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"small": Size(8, 1, 1), "middle": Size(12, 1, 1), "big": Size(16, 2, 2)}
    monkeypatch.setattr(budget, "SIZES", sizes)


def test_inference_budget(small: None) -> None:
    result = budget.inference_budget(settings=BUDGET)
    judged("llama.inference_budget", result)
    assert result.measured >= 1
    curves = result.figure["test loss by training FLOPs"]
    ends = {size: [curve[-1].flops for curve in each] for size, each in curves.items()}
    assert ends["small"] == pytest.approx(ends["big"], rel=0.1)  # steps are whole numbers
    assert len(curves["middle"]) == 3 and len(curves["big"][0]) >= 3
    tokens = result.figure["tokens"]
    assert tokens["small"] > tokens["middle"] > tokens["big"]
    assert result.figure["last loss"]["small"] == [c[-1].loss for c in curves["small"]]


def test_summary_of_budgets() -> None:
    """A small model that is as good in two seeds of three, a middle one that is in all."""

    def curve(first: float, last: float) -> list[Point]:
        return [Point(50, first), Point(100, last)]

    curves = {
        "small": [curve(3, 2), curve(3, 2), curve(4, 3)],
        "middle": [curve(2, 1)] * 3,
        "big": [curve(4, 2)] * 3,
    }
    trials = {size: {1e-3: 1.0} for size in curves}
    rates = dict.fromkeys(curves, 1e-3)
    result = budget.summary(curves, trials, rates, (0, 1, 2), budget.Settings())
    n = {size: budget.multiplied(size) for size in curves}
    between = n["small"] * (n["middle"] / n["small"]) ** 0.5
    ratios = [n["big"] / n["small"], n["big"] / n["small"], n["big"] / between]
    assert result.measured == pytest.approx(math.prod(ratios) ** (1 / 3))
    assert result.others["at the bound"] == 2 and result.others["small never there"] == 1
    assert result.others["middle compute"] == pytest.approx(0.5)
    assert result.others["small compute"] == pytest.approx(1)
    assert result.others["small loss"] == pytest.approx(7 / 3)
    assert judged("llama.inference_budget", result) == "holds"


def test_parameters_that_multiply() -> None:
    config = budget.model_config("small")
    blocks = sum(
        p.numel() for name, p in config.build().named_parameters() if name.startswith("blocks")
    )
    head = config.vocab_size * config.width
    assert budget.multiplied("small") == blocks + head + config.width  # the last norm


def test_where_a_curve_reaches_a_loss() -> None:
    curve = [Point(10, 3.0), Point(20, 2.0), Point(30, 1.5)]
    assert budget.reached(curve, 2.5) == pytest.approx(15)
    assert budget.reached(curve, 1.5) == pytest.approx(30)
    assert budget.reached(curve, 4.0) == 10
    assert budget.reached(curve, 1.0) is None


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ((1.9, 1.8, 2.0), 10),  # already the small one is better: a bound
        ((2.5, 1.5, 2.0), 10 * math.sqrt(10)),
        ((3.0, 2.0, 2.0), 100),
        ((3.0, 2.1, 2.0), 1000),  # none
    ],
)
def test_smallest_model_that_is_as_good(losses: tuple[float, ...], found: float) -> None:
    names = list(budget.SIZES)
    sizes = dict(zip(names, (10, 100, 1000), strict=True))
    n = budget.smallest_as_good(dict(zip(names, losses, strict=True)), sizes)
    assert n == pytest.approx(found)


def made(low: float, high: float, **others: float) -> Measurement:
    return Measurement((low + high) / 2, low, high, seeds=(0, 1, 2), others=others)


def ablation(low: float, high: float, **alone: tuple[float, float]) -> Measurement:
    ends = {"RMSNorm": (-0.1, 0.1), "SwiGLU": (0.1, 0.2), "rotary": (0.1, 0.3), **alone}
    others = {f"{name} low": each[0] for name, each in ends.items()}
    return made(low, high, **others, **{f"{name} high": each[1] for name, each in ends.items()})


@pytest.mark.parametrize(
    ("result", "word", "reason"),
    [
        (ablation(0.1, 0.2), "holds", "alone, better: SwiGLU, rotary; no clear difference: RMSN"),
        (ablation(0.1, 0.2, SwiGLU=(-0.2, -0.1)), "holds", "better: rotary; worse: SwiGLU"),
        (ablation(-0.2, -0.1), "fails", "GPT-2's block is better; alone"),
        (ablation(-0.1, 0.1), "does not show here", "no clear difference; alone"),
    ],
)
def test_rule_of_architecture(result: Measurement, word: str, reason: str) -> None:
    verdict = claims.architecture(result)
    assert verdict.word == word and reason in verdict.reason


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (3.0, 6.0, "holds"),
        (1.0, 1.0, "fails"),
        (0.8, 6.0, "does not show here"),
    ],
)
def test_rule_of_inference_budget(low: float, high: float, word: str) -> None:
    others = {"middle compute low": 0.25, "middle compute high": 0.5, "at the bound": 0.0}
    verdict = claims.inference_budget(made(low, high, **others))
    assert verdict.word == word
    assert ("25% to 50%" in verdict.reason) == (word == "holds")
    others["at the bound"] = 1.0
    bound = claims.inference_budget(made(low, high, **others))
    assert bound.word == word and ("at least" in bound.reason) == (word == "holds")
