"""llama.architecture: GPT-2's block against each of LLaMA's three changes, and all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import metrics
from vlcourse.layers.block import RMSNorm
from vlcourse.teach.llama.experiments import arms
from vlcourse.teach.llama.gpt2 import CHANGES, GPT2Config
from vlcourse.teach.measurement import Measurement
from vlcourse.tokenizers.sentence_bpe import toy

ARMS: dict[str, tuple[str, ...]] = {
    "GPT-2": (),
    "RMSNorm": ("rmsnorm",),
    "SwiGLU": ("swiglu",),
    "rotary": ("rotary",),
    "all three": CHANGES,
}


@dataclass(frozen=True)
class Settings:
    """The experiment's numbers, the same for all arms."""

    width: int = 64
    layers: int = 3
    heads: int = 4
    context: int = 128
    steps: int = 200
    tuning_steps: int = 100
    rates: tuple[float, ...] = (6e-3, 12e-3, 24e-3)
    batch_size: int = 16
    items: int = 192
    repeats: int = 40


def arm_config(arm: str, settings: Settings) -> GPT2Config:
    """The shape of an arm: its MLP as wide as makes its parameters as many as GPT-2's.

    Learned positions are parameters, which the rotary arms have in their MLPs instead.
    """
    s = settings
    plain = GPT2Config(toy().vocab_size, s.width, s.layers, s.heads, context=s.context)
    changed = replace(plain, changes=ARMS[arm])
    wanted, one, two = (
        _count(config) for config in (plain, replace(changed, hidden=1), replace(changed, hidden=2))
    )  # parameters grow linearly with the hidden size
    return replace(changed, hidden=1 + round((wanted - one) / (two - one)))


def _count(config: GPT2Config) -> int:
    with torch.device("meta"):
        return arms.parameters(config.build())


def train(arm: str, lr: float, seed: int, steps: int, settings: Settings) -> dict[str, float]:
    """Train an arm on text that no step sees twice; its losses by step, and on "val" and "test"."""
    s = settings
    data = arms.windows("train", steps * s.batch_size, s.context, seed)
    config = TrainConfig(
        steps=steps, batch_size=s.batch_size, lr=lr, warmup=steps // 10, min_lr=0.1, beta2=0.95,
        seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    result = arms.train(
        arm_config(arm, s).build(), data, config, RunConfig(log_every=max(1, steps // 50))
    )
    losses = {f"step {row['step']}": row["lm"] for row in result.history}
    for split in ("val", "test"):
        windows = arms.windows(split, s.items, s.context, 0)
        losses[split] = arms.test_loss(result.model, windows)
    return losses


def architecture(
    seeds: Sequence[int] = (0, 1, 2, 3), settings: Settings | None = None
) -> Measurement:
    """Tune each arm's learning rate on another seed, then compare the arms on the same texts.

    All arms share the number of parameters (within half a hundredth), the scale of their initial
    weights, text, steps, batch, schedule, and the rates to choose from (see `llama_arms.tune`);
    the one with the lowest validation loss of a short run is taken.

    Args:
        seeds: of weights and texts; three or more.
        settings: the numbers of the experiment.

    Returns:
        Test loss in nats a token, GPT-2's block minus all three changes, paired by seed, with
        Student's interval; the same for each change alone in ``others``, where there are also
        all the losses, and what RMSNorm costs in time, as a share of LayerNorm.
    """
    s = settings or Settings()
    trials: dict[str, dict[float, float]] = {}
    for arm in ARMS:

        def loss(lr: float, arm: str = arm) -> float:
            return train(arm, lr, 1000, s.tuning_steps, s)["val"]

        trials[arm] = arms.tune(s.rates, loss)
    tuned = {arm: arms.best_rate(found) for arm, found in trials.items()}
    runs = {arm: [train(arm, tuned[arm], seed, s.steps, s) for seed in seeds] for arm in ARMS}
    test = {arm: [run["test"] for run in each] for arm, each in runs.items()}
    others: dict[str, float] = {f"{arm} loss": sum(v) / len(v) for arm, v in test.items()}
    gains = {}
    for arm in list(ARMS)[1:]:
        gains[arm] = [a - b for a, b in zip(test["GPT-2"], test[arm], strict=True)]
        others[arm] = sum(gains[arm]) / len(seeds)
        others[f"{arm} low"], others[f"{arm} high"] = metrics.seed_interval(gains[arm])
    others["time of RMSNorm ÷ LayerNorm"] = norm_cost(s.repeats)
    return Measurement(
        measured=others.pop("all three"),
        low=others.pop("all three low"),
        high=others.pop("all three high"),
        seeds=tuple(seeds),
        recipe={"settings": asdict(s), "mixture": arms.MIXTURE, "lr": tuned},
        others=others,
        figure={
            "loss by step": {arm: [_curve(run) for run in each] for arm, each in runs.items()},
            "test loss": test,
            "gain": gains,
            "loss by learning rate": {arm: list(found.items()) for arm, found in trials.items()},
            "parameters": {arm: _count(arm_config(arm, s)) for arm in ARMS},
            "hidden": {arm: arm_config(arm, s).ffn for arm in ARMS},
        },
    )


def _curve(run: dict[str, float]) -> list[tuple[int, float]]:
    """The training losses of a run by step."""
    return [(int(key[5:]), loss) for key, loss in run.items() if key.startswith("step ")]


def norm_cost(repeats: int, rows: int = 2048, width: int = 512) -> float:
    """Time of RMSNorm forward and backward as a share of LayerNorm's: ratio of the medians."""
    x = torch.randn(rows, width, requires_grad=True)
    norms: dict[str, nn.Module] = {"rms": RMSNorm(width), "layer": nn.LayerNorm(width)}
    seconds: dict[str, list[float]] = {name: [] for name in norms}
    for turn in range(repeats + 3):
        for name, norm in norms.items():
            began = time.perf_counter()
            norm(x).sum().backward()
            if turn >= 3:  # the first ones warm up
                seconds[name].append(time.perf_counter() - began)
    return statistics.median(seconds["rms"]) / statistics.median(seconds["layer"])
