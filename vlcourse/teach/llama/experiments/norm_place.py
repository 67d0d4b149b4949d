"""llama.pre_norm: the norm after the sum or in the branch, at two learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.engine.config import NonFiniteLoss, RunConfig, TrainConfig
from vlcourse.evals import metrics
from vlcourse.layers.attention import Attention
from vlcourse.layers.block import MLP, RMSNorm
from vlcourse.models.base import Trainable
from vlcourse.teach.llama.experiments import arms
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.sentence_bpe import toy


class Way(NamedTuple):
    """Which norm, whether it stands after the sum, and whether the learning rate warms up."""

    norm: type[nn.LayerNorm] | type[RMSNorm]
    after: bool
    warm: bool = False


WAYS: dict[str, Way] = {
    "LayerNorm after the sum (2017)": Way(nn.LayerNorm, after=True),
    "the same, with warm-up": Way(nn.LayerNorm, after=True, warm=True),
    "LayerNorm in the branch (GPT-2)": Way(nn.LayerNorm, after=False),
    "RMSNorm in the branch (LLaMA)": Way(RMSNorm, after=False),
}
AFTER, WARM, BRANCH, RMS = WAYS


@dataclass(frozen=True)
class Settings:
    """The experiment's numbers, the same for all ways."""

    width: int = 64
    layers: int = 8
    heads: int = 4
    context: int = 32
    batch_size: int = 8
    steps: int = 300
    warmup: int = 100
    """Steps, for the way that has them."""
    low: float = 1e-3
    """The rate at which every way is expected to learn."""
    high: float = 1e-2
    """The rate that decides."""
    items: int = 256


class Layer(nn.Module):
    """Attention and MLP, with a norm after each sum, or at the beginning of each branch."""

    def __init__(self, way: Way, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(width, heads), MLP(width, 4 * width)
        self.norm1, self.norm2, self.after = way.norm(width), way.norm(width), way.after

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) → (B, L, D)."""
        if self.after:
            x = self.norm1(x + self.attention(x, causal=True))
            return self.norm2(x + self.mlp(x))
        x = x + self.attention(self.norm1(x), causal=True)
        return x + self.mlp(self.norm2(x))


class Stack(Trainable):
    """A decoder without positions: a causal mask is enough to tell them apart, a little."""

    def __init__(self, way: Way, s: Settings) -> None:
        super().__init__()
        vocabulary = toy().vocab_size
        self.token = nn.Embedding(vocabulary, s.width)
        self.blocks = nn.Sequential(*(Layer(way, s.width, s.heads) for _ in range(s.layers)))
        self.norm_final = nn.Identity() if way.after else way.norm(s.width)
        self.head = nn.Linear(s.width, vocabulary)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``tokens`` and ``targets`` (B, L) → nats a token."""
        hidden = self.norm_final(self.blocks(self.token(batch["tokens"])))  # (B, L, D)
        return {"lm": losses.lm(hidden, self.head, batch["targets"])}


def train(name: str, lr: float, seed: int, settings: Settings) -> list[float]:
    """The training loss of each step, and last the test loss.

    A training that ends in NaN counts as guessing among all tokens.
    The learning rate is constant but for the warm-up, and gradients are not clipped, so that
    nothing but the norms keeps the training stable.
    """
    s, way = settings, WAYS[name]
    data = arms.windows("train", s.steps * s.batch_size, s.context, seed)
    config = TrainConfig(
        steps=s.steps, batch_size=s.batch_size, lr=lr, warmup=s.warmup if way.warm else 0,
        min_lr=1.0, weight_decay=0.01, beta2=0.999, clip_norm=0.0, seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    try:
        result = arms.train(Stack(way, s), data, config, RunConfig(log_every=1))
    except NonFiniteLoss:
        return [math.log(toy().vocab_size)] * (s.steps + 1)
    test = arms.windows("test", s.items, s.context, 0)
    return [*(row["lm"] for row in result.history), arms.test_loss(result.model, test)]


def frequencies_alone(settings: Settings) -> float:
    """Test loss of knowing each token's frequency in the training text, and no more."""
    s = settings
    counts = arms.text("train", s.steps * s.batch_size * s.context + 1, 0).bincount(
        minlength=toy().vocab_size
    )
    known = ((counts + 1) / (counts + 1).sum()).log()
    return -float(known[arms.windows("test", s.items, s.context, 0).targets].mean())


def pre_norm(seeds: Sequence[int] = (0, 1, 2), settings: Settings | None = None) -> Measurement:
    """Train each way at both rates on each seed.

    Args:
        seeds: of weights and texts; three or more.
        settings: the numbers of the experiment.

    Returns:
        See :func:`summary`.
    """
    s = settings or Settings()
    rates = (s.low, s.high)
    runs = {
        name: {lr: [train(name, lr, seed, s) for seed in seeds] for lr in rates} for name in WAYS
    }
    return summary(runs, tuple(seeds), s)


def summary(
    runs: Mapping[str, Mapping[float, Sequence[Sequence[float]]]],
    seeds: tuple[int, ...],
    settings: Settings,
) -> Measurement:
    """From what :func:`train` returned, by way, rate and seed.

    Returns:
        The test loss at the high rate of the norm after the sum minus that of RMSNorm in the
        branch, paired by seed, with Student's interval. In ``others``, likewise: "low rate", the
        same at the low rate; "warm", the same with warm-up; "kind", at the low rate LayerNorm minus
        RMSNorm, both in the branch; and "after", the loss itself of the norm after the sum at the
        high rate, beside "frequencies", that of :func:`frequencies_alone`.
    """
    s = settings
    last = {
        name: {lr: [r[-1] for r in each] for lr, each in found.items()}
        for name, found in runs.items()
    }

    def minus(one: str, other: str, lr: float) -> list[float]:
        return [a - b for a, b in zip(last[one][lr], last[other][lr], strict=True)]

    others = {"frequencies": frequencies_alone(s)}
    for name, values in (
        ("low rate", minus(AFTER, RMS, s.low)),
        ("warm", minus(WARM, RMS, s.high)),
        ("kind", minus(BRANCH, RMS, s.low)),
        ("after", last[AFTER][s.high]),
    ):
        others[name] = mean(values)
        others[f"{name} low"], others[f"{name} high"] = metrics.seed_interval(values)
    gain = minus(AFTER, RMS, s.high)
    low, high = metrics.seed_interval(gain)
    every = max(1, s.steps // 60)
    return Measurement(
        measured=mean(gain),
        low=low,
        high=high,
        seeds=seeds,
        recipe={"settings": asdict(s), "mixture": arms.MIXTURE},
        others=others,
        figure={
            "rates": [s.low, s.high],
            "test loss": {name: list(found.values()) for name, found in last.items()},
            "loss by step at the high rate": {
                name: [_smooth(run[:-1], every) for run in found[s.high]]
                for name, found in runs.items()
            },
        },
    )


def _smooth(losses: Sequence[float], every: int) -> list[tuple[int, float]]:
    """(step, mean of the last ``every`` losses), a pair each ``every`` steps."""
    return [(end, mean(losses[end - every : end])) for end in range(every, len(losses) + 1, every)]
