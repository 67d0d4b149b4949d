"""How a model is trained: the settings, and what they mean for the optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn


class TrainingError(ValueError):
    """Settings that cannot be trained with."""


class NonFiniteLoss(ArithmeticError):
    """The loss or its gradient is NaN or infinite; the weights are those before the step."""


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained."""

    steps: int = 1000
    """Optimiser steps of the whole run."""
    batch_size: int = 128
    """Samples of one forward pass over all ranks: the size of a contrastive batch."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    warmup: int = 100
    """Steps in which the learning rate rises linearly to its peak."""
    min_lr: float = 0.0
    """Learning rate at the end of the cosine, as a fraction of the peak."""
    weight_decay: float = 0.1
    """Decoupled weight decay of the matrices; biases, gains and scalars have none."""
    beta1: float = 0.9
    """Decay of AdamW's mean of the gradient."""
    beta2: float = 0.98
    """Decay of AdamW's mean of the squared gradient."""
    eps: float = 1e-8
    """Added to AdamW's denominator."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""
    accumulate: int = 1
    """Forward passes per optimiser step. Each is a contrastive batch of its own: accumulation
    averages gradients, it does not add negatives."""
    start: str = ""
    """Recipe whose run (runs/NAME) gives the initial weights; "" starts from random ones."""
    seed: int = 0
    """Seed of the initial weights, the order of the data, augmentation and dropout."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto: bf16 autocast on GPUs that compute in it, else float32. Weights stay float32."""
    checkpointing: bool = False
    """Keep only the input of each block for the backward pass and compute the block again there:
    less memory, a third more time, the same gradients."""
    compile: bool = False
    """Compile the model with torch.compile (each block of its own under FSDP2)."""
    parallel: Literal["none", "ddp", "fsdp"] = "none"
    """Under torchrun: ddp copies the model to each rank, fsdp shards it (FSDP2)."""
    eval_every: int = 0
    """Steps between evaluations; 0 evaluates at the end only."""
    save_every: int = 0
    """Steps between checkpoints; 0 saves at the end only."""
    log_every: int = 10
    """Steps between rows of the log."""
    keep: int = 2
    """Checkpoints to keep, the newest ones; 0 keeps all."""
    best: str = ""
    """Metric whose best value is kept under best/; the least is best if it is called a loss."""
    workers: int = 0
    """Processes that read data ahead on each rank; any number gives the same batches."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "lr"):
            if getattr(self, name) <= 0:
                raise TrainingError(f"{name} must be positive, not {getattr(self, name)}")


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
        raise TrainingError(
            f"train.best={name} is none of this run's metrics: {', '.join(metrics)}"
        )
    sign = -1 if "loss" in name else 1
    if best is not None and sign * metrics[name] <= sign * best["value"]:
        return None
    return {"metric": name, "value": metrics[name]}
