"""What the settings of a run mean for the optimiser."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from vlcourse.engine.config import TrainConfig, TrainingError
from vlcourse.models.base import Trainable
from vlcourse.names import no_such


def lr_at(step: int, config: TrainConfig, end: float = 1.0) -> float:
    """Learning rate of step 0, 1, …: linear warm-up, then half a cosine down to ``min_lr``.

    What rests after a share ``end`` of the run has come down by then, and has 0 afterwards.
    """
    steps = round(end * config.steps)
    if end < 1 and step >= steps:
        return 0.0
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return config.lr * (config.min_lr + (1 - config.min_lr) * cosine)


def adamw(model: Trainable, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW on what has a gradient; vectors and scalars are not decayed.

    Each group has a "factor", by which its learning rate is multiplied, and an "end", the share of
    the run after which it is 0: of the model's ``lr_factors`` and ``lr_ends`` those with the
    longest name that fits.

    Raises:
        TrainingError: when nothing has a gradient, or a factor or end is for no part of the model.
    """
    factors, ends, named = model.lr_factors(), model.lr_ends(), dict(model.named_parameters())
    for part in (*factors, *ends):
        if not any(_within(name, part) for name in named):
            parts = dict.fromkeys(name.partition(".")[0] for name in named)
            raise TrainingError(no_such("part with a learning rate", part, parts))
    groups: dict[tuple[float, float, float], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            kind = (_of_part(factors, name), _of_part(ends, name), decay)
            groups.setdefault(kind, []).append(parameter)
    if not groups:
        raise TrainingError(f"{type(model).__name__} has no parameter with a gradient")
    return torch.optim.AdamW(
        [
            {"params": some, "weight_decay": decay, "factor": factor, "end": end}
            for (factor, end, decay), some in groups.items()
        ],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=next(iter(named.values())).device.type != "mps",
    )


def _of_part(numbers: dict[str, float], name: str) -> float:
    """What the smallest part is given that a parameter belongs to; 1 where there is none."""
    part = max((part for part in numbers if _within(name, part)), key=len, default="")
    return numbers.get(part, 1.0)


def _within(name: str, part: str) -> bool:
    """Whether a parameter is this part of the model, or below it."""
    return f"{name}.".startswith(f"{part}.")


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether forward passes run under bf16 autocast on this device."""
    if precision == "auto":
        on_gpu = device.type == "cuda"
        return on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


def improved(
    name: str, metrics: dict[str, float], best: dict[str, Any] | None
) -> dict[str, Any] | None:
    """``{"metric": name, "value": …}`` if this evaluation beats the best so far, else None."""
    if not name:
        return None
    if name not in metrics:
        raise TrainingError(f"run.best={name} is none of this run's metrics: {', '.join(metrics)}")
    sign = -1 if "loss" in name else 1
    if best is not None and sign * metrics[name] <= sign * best["value"]:
        return None
    return {"metric": name, "value": metrics[name]}
