"""Losses under the papers' names. Pure functions; over several ranks they see the global batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.layers.errors import ModelError


class _GatherRows(torch.autograd.Function):
    """All ranks' rows, with a gradient: what all ranks contribute to my rows' gradient is summed.

    ``torch.distributed.all_gather`` alone returns constants, so that each rank would learn only
    from its own rows' role as queries and never from their role as somebody else's negatives.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()  # (W·n, D)
        own = grad.new_empty(ctx.rows, *grad.shape[1:])
        # Each rank's loss depends on my rows: their sum comes here, and nobody else's rows do.
        dist.reduce_scatter_tensor(own, grad)
        return own


def is_distributed() -> bool:
    """True inside a process group of more than one rank."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather_rows(x: Tensor) -> Tensor:
    """(n, D) on each of W ranks → (W·n, D) on all of them, in rank order, differentiable.

    Every rank must hold the same number of rows. Without a process group it returns ``x``.
    """
    return _GatherRows.apply(x) if is_distributed() else x


def similarity(image: Tensor, text: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Scaled cosine similarities: (n, D) and (m, D) embeddings → (n, m)."""
    return scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def itc(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """Image–text contrastive loss: symmetric cross-entropy over the similarity matrix.

    Row i of each side belongs to row i of the other; everything else in the (global) batch is a
    negative. Each rank computes only its own n rows of the N × N matrix, so memory grows with
    n · N; the mean of the ranks' losses is the loss of the global batch.

    Args:
        image: (n, D) image embeddings, not normalised.
        text: (n, D) text embeddings, not normalised.
        scale: exp(t), the inverse temperature that multiplies the cosine similarities.

    Returns:
        Scalar loss in nats.

    Raises:
        ModelError: when the two sides differ in shape.

    Source: Radford et al. 2021, figure 3.
    """
    if image.shape != text.shape or image.ndim != 2:
        raise ModelError(
            f"itc needs image and text embeddings of one shape (n, D), not "
            f"{tuple(image.shape)} and {tuple(text.shape)}"
        )
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    all_image, all_text = gather_rows(image), gather_rows(text)  # (N, D)
    first = dist.get_rank() * len(image) if is_distributed() else 0
    target = torch.arange(first, first + len(image), device=image.device)
    loss_image = F.cross_entropy(scale * image @ all_text.T, target)  # which text is mine?
    loss_text = F.cross_entropy(scale * text @ all_image.T, target)  # which image is mine?
    return (loss_image + loss_text) / 2


def lm(hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    """Language-modelling loss: mean cross-entropy of the next token, where it is to be learned.

    The head, which is large, is applied only there. Over ranks, which may hold different numbers
    of such tokens, the mean of the ranks' losses is the loss of the global batch.

    Args:
        hidden: (B, L, D) final states.
        head: (n, D) → (n, V) logits.
        targets: (B, L) the token that follows each position; -100 = nothing to learn.

    Returns:
        Scalar loss in nats a token.

    Raises:
        ModelError: when the shapes differ.
    """
    if hidden.shape[:2] != targets.shape:
        raise ModelError(
            f"lm needs a target for each position: states are {tuple(hidden.shape)}, "
            f"targets {tuple(targets.shape)}"
        )
    learned = targets != -100
    logits = head(hidden[learned])  # (n, V)
    count, ranks = learned.sum().float(), 1
    if is_distributed():
        dist.all_reduce(count)
        ranks = dist.get_world_size()
    total = F.cross_entropy(logits.float(), targets[learned], reduction="sum")
    return total * ranks / count.clamp(min=1)
