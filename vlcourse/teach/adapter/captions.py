"""Training an adapter further on captions, while something else is watched: interference."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.models.adapter_v2 import AdapterV2

Batch = dict[str, Any]


def told_loss(model: AdapterV2, batch: Batch) -> Tensor:
    """The loss of a batch's learned tokens, in nats, every parameter learning from every row.

    ``batch``: "tokens" and "targets"; and maybe "features", an image's for each row.
    """
    logits = model(batch["tokens"], features=batch.get("features"))
    return losses.lm(logits, nn.Identity(), batch["targets"])


def train_on(
    model: AdapterV2,
    names: Collection[str],
    batches: list[Batch],
    watched: Batch,
    lr: float = 1e-2,
    every: int = 10,
) -> list[dict[str, float]]:
    """Train some parameters of a copy of an adapter on captions, a step a batch.

    Args:
        model: it does not change.
        names: of the parameters that learn; all others are frozen.
        batches: of captions.
        watched: instructions, whose loss is measured and not trained.
        lr: of Adam.
        every: steps between measurements.

    Returns:
        Rows of "step", "caption" (the mean since the last row; before the first step, of the first
        batch) and "instruct".
    """
    own = copy.deepcopy(model)
    for name, parameter in own.named_parameters():
        parameter.requires_grad_(name in names)
    optimizer = torch.optim.Adam([p for p in own.parameters() if p.requires_grad], lr)
    rows: list[dict[str, float]] = []
    since: list[float] = []

    def note(step: int, caption: float) -> None:
        with torch.no_grad():
            instruct = told_loss(own, watched).item()
        rows.append({"step": step, "caption": caption, "instruct": instruct})

    with torch.no_grad():
        note(0, told_loss(own, batches[0]).item())
    for step, batch in enumerate(batches, start=1):
        loss = told_loss(own, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        since.append(loss.item())
        if step % every == 0 or step == len(batches):
            note(step, sum(since) / len(since))
            since.clear()
    return rows
