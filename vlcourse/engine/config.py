"""The settings of a training: what the run is, and where and how it is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vlcourse import VlcourseError
from vlcourse.layers.ranges import RangeError, check
from vlcourse.names import no_such

Precision = Literal["auto", "float32", "bf16"]
Mode = Literal["none", "ddp", "fsdp"]


class TrainingError(VlcourseError, ValueError):
    """Settings that cannot be trained with."""


class NonFiniteLoss(VlcourseError, ArithmeticError):
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
    """Forward passes per optimiser step; their batches are read first. A mean over tokens is one
    over the tokens of all of them, as in one large batch. A contrastive loss is the mean over
    batches of their own: accumulation averages its gradients, it does not add negatives."""
    seed: int = 0
    """Seed of the initial weights, the order of the data, augmentation and dropout."""

    def __post_init__(self) -> None:
        check(
            self, steps=(1, 10**8), batch_size=(1, 2**20), lr=(1e-12, 100), warmup=(0, 10**8),
            min_lr=(0, 1), weight_decay=(0, 100), beta1=(0, 1 - 1e-9), beta2=(0, 1 - 1e-9),
            eps=(0, 1), clip_norm=(0, float("inf")), accumulate=(1, 10_000), seed=(0, 2**63 - 1),
        )  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """Where and how a run is carried out. It may change when a run goes on; no two ways give other
    weights, but for rounding."""

    precision: Precision = "auto"
    """auto: bf16 autocast on GPUs that compute in it, else float32. Weights stay float32."""
    checkpointing: bool = False
    """Keep only the input of each block for the backward pass and compute the block again there:
    less memory, a third more time, the same gradients."""
    compile: bool = False
    """Compile the model with torch.compile (each block of its own under FSDP2)."""
    parallel: Mode = "none"
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
    features: str = ""
    """A folder for what a frozen image tower gives: computed once, and kept there for all steps and
    later runs. Empty: computed at each step."""
    workers: int = 0
    """Processes that read data ahead on each rank; any number gives the same batches."""

    def __post_init__(self) -> None:
        many = float("inf")
        check(
            self, eval_every=(0, many), save_every=(0, many), log_every=(0, many), keep=(0, many),
            workers=(0, 256),
        )  # fmt: skip
        for what, value, kind in (
            ("precision", self.precision, Precision),
            ("parallel mode", self.parallel, Mode),
        ):
            if value not in get_args(kind):
                raise RangeError(no_such(what, value, get_args(kind)))
