"""llama.inference_budget: when is a smaller model, trained for longer, the cheaper one in all?"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import NamedTuple

import torch

from vlcourse.engine.config import TrainConfig
from vlcourse.engine.optimizer import adamw
from vlcourse.evals import metrics
from vlcourse.models.llama import LLaMA, LLaMAConfig
from vlcourse.teach.llama.experiments import arms
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.sentence_bpe import toy


class Size(NamedTuple):
    """The shape of a model."""

    width: int
    layers: int
    heads: int


SIZES: dict[str, Size] = {"small": Size(8, 2, 2), "middle": Size(16, 2, 2), "big": Size(32, 2, 4)}
Curve = list[tuple[float, float]]
"""FLOPs of training and the test loss in nats a token, a pair a budget."""


@dataclass(frozen=True)
class Settings:
    """The experiment's numbers, the same for all sizes."""

    budgets: tuple[float, ...] = (10e9, 20e9, 40e9, 70e9, 100e9)
    """FLOPs of training, each a training to its own end."""
    further: float = 150e9
    """One more for the small size, in seeds in which ``budgets`` are too few to get there."""
    goal: float = 40e9
    """The budget of the middle size whose loss the others are to reach."""
    tuning: float = 50e9
    """The budget at which the learning rates are compared."""
    decay: float = 0.2
    """The share of the steps in which the learning rate falls to 0."""
    warmup: int = 20
    rates: tuple[float, ...] = (6e-3, 12e-3, 24e-3)
    context: int = 128
    batch_size: int = 8
    windows: int = 29_880
    """Of text: as many as the small size reads for ``further``."""
    items: int = 192


def model_config(size: str) -> LLaMAConfig:
    """The LLaMA of a size."""
    width, layers, heads = SIZES[size]
    return LLaMAConfig(toy().vocab_size, width, layers, heads, hidden=8 * width // 3)


def multiplied(size: str) -> int:
    """N: the parameters that every token is multiplied by, that is all but the token embedding.

    A token costs 2N FLOPs to read or to write and 6N to train on (Kaplan et al. 2020, section 2.1;
    attention's share, which grows with the context, is left out there and here).
    """
    config = model_config(size)
    with torch.device("meta"):
        return arms.parameters(config.build()) - config.vocab_size * config.width


def steps_for(size: str, flops: float, settings: Settings) -> int:
    """Optimiser steps that cost so many FLOPs."""
    return max(2, round(flops / (6 * multiplied(size) * settings.batch_size * settings.context)))


def train(
    size: str, lr: float, seed: int, budgets: Sequence[float], split: str, settings: Settings
) -> Curve:
    """Train a size for each of the budgets; its loss on ``split`` at the end of each.

    The learning rate is constant to the last fifth of a budget's steps and falls to 0 in these. So
    all budgets share one long training: at four fifths of each, a copy of model and optimiser goes
    to its end, and the training itself goes on (Hu et al. 2024, "MiniCPM", section 4; Hägele et
    al. 2024 find such losses as good as those of a cosine to each end). No text is read twice. The
    seed is that of the weights and of the order in which one text is read, by all sizes alike.
    """
    s = settings
    ends = [steps_for(size, flops, s) for flops in sorted(budgets)]
    data = arms.windows("train", s.windows, s.context, 0)
    test = arms.windows(split, s.items, s.context, 0)
    torch.manual_seed(seed)
    order = torch.randperm(len(data))[: ends[-1] * s.batch_size].view(-1, s.batch_size)
    config = TrainConfig(steps=ends[-1], batch_size=s.batch_size, lr=lr, beta2=0.95, seed=seed)
    model = model_config(size).build()
    optimizer = adamw(model, config)

    def go(model: LLaMA, optimizer: torch.optim.Optimizer, first: int, end: int, last: int) -> None:
        """Steps ``first`` to ``end`` of a training whose rate is 0 after ``last``."""
        for step in range(first, end):
            falling = (last - step) / max(1, last - _stable(last, s))
            factor = min(1.0, (step + 1) / s.warmup, falling)
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            batch = {"tokens": data.inputs[order[step]], "targets": data.targets[order[step]]}
            model.losses(batch)["lm"].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            optimizer.zero_grad()

    curve, done = [], 0
    for flops, end in zip(sorted(budgets), ends, strict=True):
        stable = _stable(end, s)
        go(model, optimizer, done, stable, 10**9)
        ended, its_optimizer = copy.deepcopy((model, optimizer))  # in one go: they belong together
        go(ended, its_optimizer, stable, end, end)
        curve.append((flops, arms.test_loss(ended, test)))
        done = stable
    return curve


def _stable(steps: int, settings: Settings) -> int:
    """The steps before the learning rate falls."""
    return round(steps * (1 - settings.decay))


def reached(curve: Curve, loss: float) -> float | None:
    """FLOPs at which a curve first gets down to a loss, linear between log FLOPs; None if never."""
    before: tuple[float, float] | None = None
    for point in curve:
        if point[1] <= loss:
            if before is None or before[1] == point[1]:
                return point[0]
            share = (before[1] - loss) / (before[1] - point[1])
            return before[0] * (point[0] / before[0]) ** share
        before = point
    return None


def break_even(training: Mapping[str, float], small: str, large: str) -> float:
    """Served tokens n after which the smaller size has cost less in all.

    Training(small) + 2 N(small) n = training(large) + 2 N(large) n. Negative where the smaller one
    is cheaper from the start.
    """
    return (training[small] - training[large]) / (2 * (multiplied(large) - multiplied(small)))


def inference_budget(
    seeds: Sequence[int] = (0, 1, 2), settings: Settings | None = None
) -> Measurement:
    """Train three sizes for each budget; what the middle one's loss at ``goal`` costs each size.

    Each size's learning rate is the one, out of the same rates (see `arms.tune`), with the lowest
    validation loss at the budget ``tuning`` on another seed.

    Args:
        seeds: of weights and the order of the text; three or more.
        settings: the numbers of the experiment.

    Returns:
        See :func:`summary`.
    """
    s = settings or Settings()
    trials: dict[str, dict[float, float]] = {}
    for size in SIZES:

        def loss(lr: float, size: str = size) -> float:
            return train(size, lr, 1000, (s.tuning,), "val", s)[-1][1]

        trials[size] = arms.tune(s.rates, loss)
    tuned = {size: arms.best_rate(found) for size, found in trials.items()}
    curves = {
        size: [train(size, tuned[size], seed, s.budgets, "test", s) for seed in seeds]
        for size in SIZES
    }
    for seed, small, middle in zip(seeds, curves["small"], curves["middle"], strict=True):
        if reached(small, middle[s.budgets.index(s.goal)][1]) is None:
            small += train("small", tuned["small"], seed, (s.further,), "test", s)
    return summary(curves, trials, tuple(seeds), s)


def summary(
    curves: Mapping[str, Sequence[Curve]],
    trials: Mapping[str, Mapping[float, float]],
    seeds: tuple[int, ...],
    settings: Settings,
) -> Measurement:
    """From the curves by size and seed, and the losses by size and learning rate in tuning.

    Returns:
        The break-even of the small size against the middle one, in millions of served tokens: mean
        and Student's interval over seeds. In ``others``: "gap", the small one's loss minus the
        middle one's for the same training compute, at the goal and at the last budget; "compute",
        the training compute that the small and the big one need for the middle one's loss, divided
        by the middle one's; "never there", the seeds in which a size did not reach that loss and
        its largest budget stands for what it would need, so that the break-even is the least it
        can be; "reads", the break-even divided by the tokens that the small one was trained on.
    """
    at, end = settings.budgets.index(settings.goal), len(settings.budgets) - 1
    most = {"small": settings.further, "big": settings.budgets[-1]}
    losses = {size: [[loss for _, loss in c] for c in each] for size, each in curves.items()}
    training: list[dict[str, float]] = []  # a dict a seed
    others: dict[str, float] = {f"{size} never there": 0.0 for size in SIZES}
    for i in range(len(seeds)):
        goal, needed = losses["middle"][i][at], {"middle": settings.goal}
        for size in ("small", "big"):
            flops = reached(list(curves[size][i]), goal)
            others[f"{size} never there"] += flops is None
            needed[size] = flops or most[size]
        training.append(needed)
    for name, place in (("gap", at), ("last gap", end)):
        gaps = [s[place] - m[place] for s, m in zip(losses["small"], losses["middle"], strict=True)]
        others[name], (others[f"{name} low"], others[f"{name} high"]) = _interval(gaps)
    for size in ("small", "big"):
        ratios = [math.log(needed[size] / settings.goal) for needed in training]
        middle, ends = _interval(ratios)
        others[f"{size} compute"] = math.exp(middle)
        others[f"{size} compute low"], others[f"{size} compute high"] = map(math.exp, ends)
    found = [break_even(needed, "small", "middle") for needed in training]
    reads = [n * 6 * multiplied("small") / t["small"] for n, t in zip(found, training, strict=True)]
    others["reads"], (others["reads low"], others["reads high"]) = _interval(reads)
    measured, (low, high) = _interval([n / 1e6 for n in found])
    return Measurement(
        measured=measured,
        low=low,
        high=high,
        seeds=seeds,
        recipe={
            "settings": asdict(settings),
            "mixture": arms.MIXTURE,
            "sizes": {name: size._asdict() for name, size in SIZES.items()},
            "lr": {size: arms.best_rate(dict(each)) for size, each in trials.items()},
        },
        others=others,
        figure={
            "test loss by training FLOPs": {size: list(each) for size, each in curves.items()},
            "multiplied": {size: multiplied(size) for size in SIZES},
            "goal": settings.goal,
            "training for the goal": training,
            "loss by learning rate": {size: list(found.items()) for size, found in trials.items()},
        },
    )


def _interval(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The mean over seeds and the ends of Student's interval."""
    return mean(values), metrics.seed_interval(values)
