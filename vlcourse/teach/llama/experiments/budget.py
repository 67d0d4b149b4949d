"""llama.inference_budget: three sizes of LLaMA for the same training compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import nn

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import metrics
from vlcourse.models.llama import LLaMAConfig
from vlcourse.teach.llama.experiments import arms
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.sentence_bpe import toy


class Size(NamedTuple):
    """The shape of a model."""

    width: int
    layers: int
    heads: int


SIZES: dict[str, Size] = {
    "small": Size(24, 2, 2),
    "middle": Size(40, 3, 4),
    "big": Size(64, 4, 4),
}


@dataclass(frozen=True)
class Settings:
    """The experiment's numbers, the same for all sizes."""

    tokens: int = 400_000
    """That the biggest reads: 1.7 a parameter, as GPT-3 did. The others read as many as cost the
    same training compute, which makes 14 and 113 a parameter (LLaMA-13B: 77, 7B: 148)."""
    tuning_share: float = 0.25
    rates: tuple[float, ...] = (6e-3, 12e-3, 24e-3)
    context: int = 128
    batch_size: int = 16
    items: int = 192
    points: int = 12
    """Points of each curve."""


class Point(NamedTuple):
    """A point of a curve: FLOPs of training so far, and the test loss in nats a token."""

    flops: float
    loss: float


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


def steps_for(size: str, settings: Settings) -> int:
    """Steps that cost as much training compute as the biggest model's tokens."""
    compute = settings.tokens * multiplied("big")
    return max(1, round(compute / multiplied(size) / (settings.batch_size * settings.context)))


def train(
    size: str, lr: float, seed: int, steps: int, settings: Settings, points: int, split: str
) -> list[Point]:
    """Train a size on text that no step sees twice; its loss on ``split`` at ``points`` steps.

    The learning rate falls along half a cosine to a tenth at the last step, as in the paper: only
    the last point is the best that its compute can give, the earlier ones are a little too high.
    """
    s = settings
    longest = max(steps_for(name, s) for name in SIZES) * s.batch_size * s.context + 1
    text = arms.text("train", longest, seed)
    data = arms.Windows(text[: steps * s.batch_size * s.context + 1], s.context)
    test = arms.windows(split, s.items, s.context, 0)
    cost = 6 * multiplied(size) * s.batch_size * s.context
    every = max(1, steps // points)
    curve: list[Point] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        step = min(steps, (len(curve) + 1) * every)
        curve.append(Point(cost * step, arms.test_loss(model, test)))
        return {split: curve[-1].loss}

    config = TrainConfig(
        steps=steps, batch_size=s.batch_size, lr=lr, warmup=max(1, steps // 20), min_lr=0.1,
        beta2=0.95, seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    run = RunConfig(eval_every=every, log_every=every)
    arms.train(model_config(size).build(), data, config, run, evaluate)
    return curve


def reached(curve: Sequence[Point], loss: float) -> float | None:
    """FLOPs at which a curve first gets down to a loss, interpolated; None if it never does."""
    before: Point | None = None
    for point in curve:
        if point.loss <= loss:
            if before is None or point.loss == before.loss:
                return point.flops
            share = (before.loss - loss) / (before.loss - point.loss)
            return before.flops + share * (point.flops - before.flops)
        before = point
    return None


def smallest_as_good(losses: dict[str, float], sizes: dict[str, int]) -> float:
    """N of the smallest model whose loss is not above the biggest one's.

    Between two sizes the loss is taken to be linear in log N. ``losses`` and ``sizes`` (N) go from
    small to big.
    """
    goal = losses["big"]
    names = list(SIZES)
    for i, name in enumerate(names):
        if losses[name] <= goal:
            if i == 0 or losses[name] == goal:
                return sizes[name]
            worse = names[i - 1]
            share = (losses[worse] - goal) / (losses[worse] - losses[name])
            return sizes[worse] * (sizes[name] / sizes[worse]) ** share
    raise AssertionError("the biggest model is as good as itself")


def inference_budget(
    seeds: Sequence[int] = (0, 1, 2), settings: Settings | None = None
) -> Measurement:
    """Train three sizes, the smaller ones on more text, for the same training FLOPs.

    Each size's learning rate is the one, out of the same rates (see `llama_arms.tune`), with the
    lowest validation loss of a run of ``tuning_share`` of its steps on another seed.

    Args:
        seeds: of weights and texts; three or more.
        settings: the numbers of the experiment.

    Returns:
        How many times fewer FLOPs a token of the smallest model costs that is not worse than the
        biggest one: 1 when none is; geometric mean with Student's interval on the logarithms. "at
        the bound" in ``others`` counts the seeds in which it is the smallest model of all, so that
        the number is the least it can be. There too: the training compute at which each smaller
        model reached the biggest one's last loss, as a share of the biggest one's, where a run that
        is "never there" counts as 1.
    """
    s = settings or Settings()
    trials: dict[str, dict[float, float]] = {}
    for size in SIZES:

        def loss(lr: float, size: str = size) -> float:
            short = max(1, round(s.tuning_share * steps_for(size, s)))
            return train(size, lr, 1000, short, s, 1, "val")[-1].loss

        trials[size] = arms.tune(s.rates, loss)
    tuned = {size: arms.best_rate(found) for size, found in trials.items()}
    curves: dict[str, list[list[Point]]] = {size: [] for size in SIZES}
    for seed in seeds:
        for size in SIZES:
            steps = steps_for(size, s)
            curves[size].append(train(size, tuned[size], seed, steps, s, s.points, "test"))
    return summary(curves, trials, tuned, tuple(seeds), s)


def summary(
    curves: Mapping[str, Sequence[Sequence[Point]]],
    trials: Mapping[str, Mapping[float, float]],
    tuned: Mapping[str, float],
    seeds: tuple[int, ...],
    settings: Settings,
) -> Measurement:
    """What :func:`inference_budget` returns, from the curves by size and seed, the losses by size
    and learning rate in tuning, and the rates taken."""
    sizes = {size: multiplied(size) for size in SIZES}
    tokens = {size: _tokens(size, settings) for size in SIZES}
    last = {size: [curve[-1].loss for curve in each] for size, each in curves.items()}
    found = [
        smallest_as_good({size: losses[i] for size, losses in last.items()}, sizes)
        for i in range(len(seeds))
    ]
    low, high = metrics.seed_interval([math.log(sizes["big"] / n) for n in found])
    others: dict[str, float] = {"at the bound": float(found.count(sizes["small"]))}
    for size in ("small", "middle"):
        shares = []
        for curve, big in zip(curves[size], curves["big"], strict=True):
            flops = reached(curve, big[-1].loss)
            shares.append(math.log(flops / big[-1].flops) if flops else 0.0)
        ends = metrics.seed_interval(shares)
        others[f"{size} compute"] = math.exp(sum(ends) / 2)
        others[f"{size} compute low"], others[f"{size} compute high"] = map(math.exp, ends)
        others[f"{size} never there"] = float(
            sum(c[-1].loss > b[-1].loss for c, b in zip(curves[size], curves["big"], strict=True))
        )
    for size, losses in last.items():
        others[f"{size} loss"] = sum(losses) / len(losses)
        others[f"{size} tokens a parameter"] = tokens[size] / sizes[size]
    return Measurement(
        measured=math.exp((low + high) / 2),
        low=math.exp(low),
        high=math.exp(high),
        seeds=seeds,
        recipe={
            "settings": asdict(settings),
            "mixture": arms.MIXTURE,
            "sizes": {name: size._asdict() for name, size in SIZES.items()},
            "lr": dict(tuned),
        },
        others=others,
        figure={
            "test loss by training FLOPs": curves,
            "FLOPs a token": {size: 2 * n for size, n in sizes.items()},
            "tokens": tokens,
            "last loss": last,
            "loss by learning rate": {size: list(found.items()) for size, found in trials.items()},
        },
    )


def _tokens(size: str, settings: Settings) -> int:
    return steps_for(size, settings) * settings.batch_size * settings.context
