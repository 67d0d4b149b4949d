"""What the settings of a run mean for the optimiser."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from vlcourse.engine.config import TrainConfig, TrainingError
from vlcourse.models.base import Trainable
from vlcourse.names import no_such


def lr_at(step: int, config: TrainConfig) -> float:
    """Learning rate of step 0, 1, …: linear warm-up, then half a cosine down to ``min_lr``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return config.lr * (config.min_lr + (1 - config.min_lr) * cosine)


def adamw(model: Trainable, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW on what has a gradient; vectors and scalars are not decayed.

    Each group has a "factor", by which its learning rate is multiplied: of the model's
    ``lr_factors`` the one with the longest name that fits.

    Raises:
        TrainingError: when nothing has a gradient, or a factor is for no part of the model.
    """
    factors, named = model.lr_factors(), dict(model.named_parameters())
    for part in factors:
        if not any(_within(name, part) for name in named):
            parts = dict.fromkeys(name.partition(".")[0] for name in named)
            raise TrainingError(no_such("part with a learning rate", part, parts))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            part = max((part for part in factors if _within(name, part)), key=len, default="")
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((factors.get(part, 1.0), decay), []).append(parameter)
    if not groups:
        raise TrainingError(f"{type(model).__name__} has no parameter with a gradient")
    return torch.optim.AdamW(
        [
            {"params": some, "weight_decay": decay, "factor": factor}
            for (factor, decay), some in groups.items()
        ],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=next(iter(named.values())).device.type != "mps",
    )


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
