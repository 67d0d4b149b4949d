"""What the settings of a run mean for the optimiser."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from vlcourse.engine.config import TrainConfig, TrainingError


def lr_at(step: int, config: TrainConfig) -> float:
    """Learning rate of step 0, 1, …: linear warm-up, then half a cosine down to ``min_lr``."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return config.lr * (config.min_lr + (1 - config.min_lr) * cosine)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW on what has a gradient; vectors and scalars are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise TrainingError(f"{type(model).__name__} has no parameter with a gradient")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=parameters[0].device.type != "mps",
    )


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
