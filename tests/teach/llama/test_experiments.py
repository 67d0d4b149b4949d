"""LLaMA's experiments at sizes that take seconds, and the rules on numbers made up here."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vlcourse.engine.config import NonFiniteLoss
from vlcourse.models.base import Trainable
from vlcourse.teach import claims as ledger
from vlcourse.teach.claims import Measurement
from vlcourse.teach.llama import claims
from vlcourse.teach.llama.experiments import architecture, arms, budget, norm_place
from vlcourse.teach.llama.experiments.budget import Size
from vlcourse.tokenizers.sentence_bpe import toy

ARCHITECTURE = architecture.Settings(
    width=16, layers=1, heads=2, context=32, steps=2, tuning_steps=1, rates=(1e-3, 1e-2),
    batch_size=4, items=8, repeats=2,
)  # fmt: skip
BUDGET = budget.Settings(
    budgets=(1e7, 2e7, 4e7), further=5e7, goal=2e7, tuning=1e7, rates=(1e-3, 1e-2), context=16,
    batch_size=2, windows=300, items=8,
)  # fmt: skip
NORMS = norm_place.Settings(
    width=16, layers=2, heads=2, context=8, batch_size=2, steps=4, warmup=2, items=8,
)  # fmt: skip


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
    class Sure(Trainable):
        """Says the loss of a batch is the mean of its tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
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
    result = budget.inference_budget(seeds=(0, 1, 2), settings=BUDGET)
    judged("llama.inference_budget", result)
    curves = result.figure["test loss by training FLOPs"]
    assert [len(curve) for curve in curves["big"]] == [3, 3, 3]
    for small, middle in zip(curves["small"], curves["middle"], strict=True):
        assert [flops for flops, _ in small[:3]] == list(BUDGET.budgets)
        there = budget.reached(small[:3], middle[1][1]) is not None
        assert [flops for flops, _ in small[3:]] == ([] if there else [BUDGET.further])
    assert result.figure["training for the goal"][1]["middle"] == BUDGET.goal
    for size, found in result.figure["loss by learning rate"].items():
        assert result.recipe["lr"][size] == min(found, key=lambda pair: pair[1])[0]


def test_each_budget_is_a_training_of_its_own(small: None) -> None:
    """The loss at a budget is the same with and without shorter and longer ones beside it."""
    together = budget.train("middle", 1e-2, 0, BUDGET.budgets, "test", BUDGET)
    assert len({loss for _, loss in together}) == 3
    for flops, loss in together:
        assert budget.train("middle", 1e-2, 0, (flops,), "test", BUDGET) == [(flops, loss)]
    steps = [budget.steps_for("middle", flops, BUDGET) for flops in BUDGET.budgets]
    assert steps[1] == pytest.approx(2 * steps[0], abs=1)
    cost = 6 * budget.multiplied("middle") * BUDGET.batch_size * BUDGET.context
    assert cost * steps[2] == pytest.approx(BUDGET.budgets[2], rel=0.05)


def test_the_rate_falls_to_nothing_at_each_end(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))[1],
    )
    monkeypatch.setattr(budget, "steps_for", lambda size, flops, s: round(flops))
    settings = replace(BUDGET, budgets=(10.0, 20.0), warmup=2)
    budget.train("small", 1.0, 0, settings.budgets, "test", settings)
    fall = [1.0, 0.5]  # the last fifth of 10 steps
    assert rates == pytest.approx([0.5] + [1.0] * 7 + fall + [1.0] * 8 + [1.0, 0.75, 0.5, 0.25])


def test_summary_of_budgets() -> None:
    """The small size needs twice the compute in two seeds; in the third it never gets there, and
    four times as much stands for what it would need."""
    s = replace(budget.Settings(), budgets=(1e9, 2e9, 4e9), further=8e9, goal=2e9)

    def curve(*losses: float) -> budget.Curve:
        return list(zip((*s.budgets, s.further), losses, strict=False))

    curves = {
        "small": [curve(3, 2.5, 2, 1.95)] * 3,
        "middle": [curve(4, 2, 1), curve(4, 2, 1), curve(4, 1.9, 1)],
        "big": [curve(5, 3, 1)] * 3,
    }
    trials = {size: {1e-3: 1.0, 2e-3: 0.5} for size in curves}
    result = budget.summary(curves, trials, (0, 1, 2), s)
    n = budget.multiplied("middle") - budget.multiplied("small")
    assert result.measured == pytest.approx((2e9 + 2e9 + 6e9) / 3 / (2 * n) / 1e6)
    assert result.others["small never there"] == 1 and result.others["big never there"] == 0
    assert result.others["small compute"] == pytest.approx(16 ** (1 / 3))
    assert result.others["big compute"] == pytest.approx(2**0.5, rel=0.05)
    assert result.others["gap"] == pytest.approx((0.5 + 0.5 + 0.6) / 3)
    assert result.others["last gap"] == pytest.approx(1)
    reads = [more / (2 * n) * 6 * budget.multiplied("small") for more in (2 / 4, 2 / 4, 6 / 8)]
    assert result.others["reads"] == pytest.approx(sum(reads) / 3)
    assert result.recipe["lr"]["small"] == 2e-3
    assert judged("llama.inference_budget", result) == "does not show here"


def test_break_even_is_where_both_have_cost_the_same() -> None:
    training = {"small": 9e9, "middle": 5e9}
    n = budget.break_even(training, "small", "middle")
    small, middle = (training[z] + 2 * budget.multiplied(z) * n for z in ("small", "middle"))
    assert n > 0 and small == pytest.approx(middle)


def test_parameters_that_multiply() -> None:
    config = budget.model_config("small")
    blocks = sum(
        p.numel() for name, p in config.build().named_parameters() if name.startswith("blocks")
    )
    head = config.vocab_size * config.width
    assert budget.multiplied("small") == blocks + head + config.width  # the last norm


def test_where_a_curve_reaches_a_loss() -> None:
    curve = [(10.0, 3.0), (40.0, 2.0), (80.0, 1.5)]
    assert budget.reached(curve, 2.5) == pytest.approx(20)  # half way in the logarithm
    assert budget.reached(curve, 1.5) == pytest.approx(80)
    assert budget.reached(curve, 4.0) == 10
    assert budget.reached(curve, 1.0) is None


def test_pre_norm() -> None:
    result = norm_place.pre_norm(settings=NORMS)
    judged("llama.pre_norm", result)
    test = result.figure["test loss"]
    assert list(test) == list(norm_place.WAYS) and len(test[norm_place.RMS]) == 2
    gains = [a - b for a, b in zip(test[norm_place.AFTER][1], test[norm_place.RMS][1], strict=True)]
    assert result.measured == pytest.approx(sum(gains) / 3)
    assert result.others["after"] == pytest.approx(sum(test[norm_place.AFTER][1]) / 3)
    curve = result.figure["loss by step at the high rate"][norm_place.RMS][0]
    assert [step for step, _ in curve] == [1, 2, 3, 4]
    assert 4 < result.others["frequencies"] < math.log(toy().vocab_size)


def test_norms_stand_where_they_are_said_to() -> None:
    """Behind a norm everything is of size 1; in front of a branch it leaves a large stream so."""
    torch.manual_seed(0)
    x = torch.randn(1, 4, 16)
    for name, way in norm_place.WAYS.items():
        layer = norm_place.Layer(way, 16, 2)
        size = layer(100 * x).std()
        assert (size < 2) == way.after, name


def test_a_training_that_ends_in_nan_counts_as_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise NonFiniteLoss("too fast")

    monkeypatch.setattr(arms, "train", never)
    run = norm_place.train(norm_place.AFTER, 1.0, 0, NORMS)
    assert run == [math.log(toy().vocab_size)] * 5


def test_warm_up_is_that_of_one_way_only(monkeypatch: pytest.MonkeyPatch) -> None:
    warm: list[int] = []
    train = arms.train
    monkeypatch.setattr(
        arms,
        "train",
        lambda m, d, config, run: (warm.append(config.warmup), train(m, d, config, run))[1],
    )
    for name in norm_place.WAYS:
        norm_place.train(name, 1e-3, 0, NORMS)
    assert warm == [0, 2, 0, 0]


def test_each_claim_names_a_function_that_is_there() -> None:
    for claim in claims.CLAIMS:
        module, _, function = claim.experiment.partition(":")
        assert callable(vars(importlib.import_module(module))[function])


def made(low: float, high: float, **others: float) -> Measurement:
    return Measurement((low + high) / 2, low, high, seeds=(0, 1, 2), others=others)


def ablation(low: float, high: float, **alone: tuple[float, float]) -> Measurement:
    others = {}
    ends = {"RMSNorm": (-0.1, 0.1), "SwiGLU": (0.1, 0.2), "rotary": (0.1, 0.3), **alone}
    for name, (a, b) in ends.items():
        others |= {name: (a + b) / 2, f"{name} low": a, f"{name} high": b}
    return made(low, high, **others)


@pytest.mark.parametrize(
    ("result", "word", "reason"),
    [
        (ablation(0.1, 0.2), "holds", "for the three together; each alone: RMSNorm no clear diff"),
        (ablation(0.1, 0.2), "holds", "SwiGLU better (0.150, 0.100 to 0.200); rotary better"),
        (ablation(0.1, 0.2, SwiGLU=(-0.2, -0.1)), "holds", "SwiGLU worse (-0.150"),
        (ablation(-0.2, -0.1), "fails", "GPT-2's block is better; each alone"),
        (ablation(-0.1, 0.1), "does not show here", "no clear difference together; each alone"),
    ],
)
def test_rule_of_architecture(result: Measurement, word: str, reason: str) -> None:
    verdict = claims.architecture(result)
    assert verdict.word == word and reason in verdict.reason


@pytest.mark.parametrize(
    ("low", "high", "gap", "never", "word", "reason"),
    [
        (1.0, 2.0, (0.1, 0.2), 0, "holds", "1.5 to 2.0 times the training compute"),
        (1.0, 2.0, (0.1, 0.2), 0, "holds", "served 0.50 to 0.90 times its training tokens"),
        (1.0, 2.0, (0.1, 0.2), 1, "does not show here", "in 1 of 3 seeds"),
        (1.0, 2.0, (0.1, 0.2), 3, "fails", "in 3 of 3 seeds"),
        (-2.0, -1.0, (-0.2, -0.1), 0, "fails", "better for the same training compute"),
        (1.0, 2.0, (-0.1, 0.2), 0, "does not show here", "no clear difference"),
        (-1.0, 2.0, (0.1, 0.2), 0, "does not show here", "no clear difference"),
    ],
)
def test_rule_of_inference_budget(
    low: float, high: float, gap: tuple[float, float], never: int, word: str, reason: str
) -> None:
    others = {"small never there": float(never), "gap low": gap[0], "gap high": gap[1]}
    others |= {"small compute low": 1.5, "small compute high": 2.0}
    others |= {"reads low": 0.5, "reads high": 0.9}
    verdict = claims.inference_budget(made(low, high, **others))
    assert verdict.word == word and reason in verdict.reason


@pytest.mark.parametrize(
    ("low", "high", "word", "reason"),
    [
        (1.0, 2.0, "holds", "with a warm-up 0.500 to 0.600; without one"),
        (-2.0, -1.0, "fails", "the norm after the sum is better; with"),
        (-1.0, 1.0, "does not show here", "no clear difference; with"),
    ],
)
def test_rule_of_pre_norm(low: float, high: float, word: str, reason: str) -> None:
    others = {f"{key} low": 0.5 for key in ("warm", "low rate", "kind")}
    others |= {f"{key} high": 0.6 for key in ("warm", "low rate", "kind")}
    verdict = claims.pre_norm(made(low, high, **others))
    assert verdict.word == word and reason in verdict.reason


@pytest.mark.parametrize(
    ("low", "high", "without", "word"),
    [
        (0.9, 1.1, (1.7, 1.8), "holds"),
        (1.3, 1.5, (1.7, 1.8), "fails"),
        (0.9, 1.1, (1.0, 1.2), "fails"),
        (0.9, 1.1, (1.2, 1.8), "does not show here"),
    ],
)
def test_rule_of_cache(low: float, high: float, without: tuple[float, float], word: str) -> None:
    others = {"without low": without[0], "without high": without[1]}
    verdict = claims.cache(made(low, high, **others))
    assert verdict.word == word and "over 3 rounds of timing" in verdict.reason
