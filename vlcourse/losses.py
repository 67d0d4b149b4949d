"""Losses under the papers' names. Pure functions; over several ranks they see the global batch."""

from __future__ import annotations

import math
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


def rank() -> int:
    """This process's number in its group; 0 without one."""
    return dist.get_rank() if is_distributed() else 0


def gather_rows(x: Tensor) -> Tensor:
    """(n, D) on each of W ranks → (W·n, D) on all of them, in rank order, differentiable.

    Every rank must hold the same number of rows. Without a process group it returns ``x``.
    """
    return _GatherRows.apply(x) if is_distributed() else x


def same_rows(n: int, device: torch.device | str = "cpu") -> None:
    """Refuse ranks with different numbers of rows, which would wait for each other for ever.

    Raises:
        ModelError: on all ranks, with the numbers.
    """
    if not is_distributed():
        return
    ends = torch.tensor([n, -n], device=device)
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    most, least = int(ends[0]), -int(ends[1])
    if most != least:
        raise ModelError(f"ranks have {least} to {most} rows: each needs as many as the others")


def gather_texts(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """All ranks' (n, L) ids and masks, in rank order, whatever their lengths: (W·n, longest L)."""
    if not is_distributed():
        return tokens, mask
    longest = torch.tensor(tokens.shape[1], device=tokens.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    room = (0, int(longest) - tokens.shape[1])
    return gather_rows(F.pad(tokens, room)), gather_rows(F.pad(mask, room).byte()).bool()


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


def soft_targets(similarity: Tensor, positives: Tensor, alpha: float) -> Tensor:
    """α · softmax(similarity) + (1 - α) · positives: what a teacher sees beside the labels.

    A web caption may fit other images of the batch, too; the momentum encoders, which change
    slowly, say how well.

    Args:
        similarity: (n, m) the momentum encoders' similarities, divided by the temperature.
        positives: (n, m) bool, at least one in each row; several share the label equally.
        alpha: how much the teacher counts, 0 to 1.

    Returns:
        (n, m), without a gradient; each row sums to 1.

    Source: Li et al. 2021 (ALBEF), equation 6; Li et al. 2022 (BLIP), section 3.2.
    """
    labels = positives.to(similarity.dtype) / positives.sum(dim=1, keepdim=True)
    return (alpha * similarity.softmax(dim=1) + (1 - alpha) * labels).detach()


def itc_momentum(
    image: Tensor,
    text: Tensor,
    image_momentum: Tensor,
    text_momentum: Tensor,
    image_queue: Tensor,
    text_queue: Tensor,
    temperature: Tensor,
    alpha: float,
    positives: Tensor | None = None,
) -> Tensor:
    """ITC against momentum features of this batch and of a queue of earlier ones, soft targets.

    Each rank has its n rows of the matrix, against all N rows of all ranks and the Q of the queue;
    the mean of the ranks' losses is the loss of the global batch.

    Args:
        image, text: (n, D) embeddings of this rank's pairs, not normalised.
        image_momentum, text_momentum: (N, D) unit vectors of all ranks, in rank order; constants.
        image_queue, text_queue: (Q, D) unit vectors.
        temperature: what cosines are divided by, the teacher's as well.
        alpha: as in :func:`soft_targets`.
        positives: (n, N + Q) bool; None: each row's own pair only, as in the paper, even if an
            equal caption stands elsewhere.

    Returns:
        Scalar loss in nats.

    Source: Li et al. 2022, section 3.2; the objective is ALBEF's (Li et al. 2021, equation 7).
    """
    n = len(image)
    first = dist.get_rank() * n if is_distributed() else 0
    own = slice(first, first + n)
    images, texts = torch.cat([image_momentum, image_queue]), torch.cat([text_momentum, text_queue])
    if positives is None:
        columns = torch.arange(len(images), device=image.device)
        positives = columns == columns[own, None]  # (n, N + Q)
    total = image.new_zeros(())
    sides = ((image, image_momentum[own], texts), (text, text_momentum[own], images))
    for student, teacher, others in sides:
        targets = soft_targets(teacher @ others.T / temperature, positives, alpha)
        logits = F.normalize(student, dim=-1) @ others.T / temperature  # (n, N + Q)
        total = total + F.cross_entropy(logits, targets)
    return total / 2


def query_similarity(image: Tensor, text: Tensor) -> Tensor:
    """The best of each image's queries: (n, Q, D) and (m, D) embeddings → (n, m) cosines.

    Source: Li et al. 2023 (BLIP-2), section 3.1.
    """
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    return torch.einsum("nqd,md->nmq", image, text).max(dim=-1).values


def own_pairs(n: int, device: torch.device | str = "cpu") -> Tensor:
    """(n, N) bool: which of all ranks' N rows is each of this rank's n."""
    ranks, first = (dist.get_world_size(), dist.get_rank() * n) if is_distributed() else (1, 0)
    return torch.eye(n * ranks, dtype=torch.bool, device=device)[first : first + n]


def itc_smoothed(
    to_text: Tensor, to_image: Tensor, positives: Tensor, smoothing: float = 0.0
) -> Tensor:
    """ITC from the logits themselves, several right answers and smoothed labels allowed.

    Args:
        to_text, to_image: (n, N) logits of this rank's images to all texts, and of its texts.
        positives: (n, N) bool, at least one in each row; several share the label equally.
        smoothing: share of the label that is spread over all N.

    Returns:
        Scalar loss in nats; the mean of the ranks' is the loss of the global batch.

    Source: Li et al. 2023 (BLIP-2), section 3.1, and its code for the smoothing.
    """
    to_text, to_image = to_text.float(), to_image.float()
    targets = soft_targets(torch.zeros_like(to_text), positives, smoothing)
    return (F.cross_entropy(to_text, targets) + F.cross_entropy(to_image, targets)) / 2


def equal_rows(tokens: Tensor, others: Tensor) -> Tensor:
    """(n, L) and (N, L) rows of ids → (n, N) bool: which are the same. Mask the padding before."""
    return (tokens[:, None] == others[None]).all(dim=-1)


def hard_negatives(
    similarity: Tensor, same: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """For each row one column that does not match, likelier the more it looks as if it did.

    Args:
        similarity: (n, N) logits; the softmax of a row says how likely each column is. Computed in
            float32, plus 1e-4, so that a draw is always possible.
        same: (n, N) bool, True where a column matches the row: its own, and equal ones.
        generator: where chance comes from.

    Returns:
        (n,) columns.

    Raises:
        ModelError: when a row has no column that does not match.

    Source: Li et al. 2021 (ALBEF), section 3.2.
    """
    if bool(same.all(dim=1).any()):
        raise ModelError(
            "a pair has no negative: all others in the batch are equal to it, or there are none; "
            "make the batch larger, or its captions more varied"
        )
    weights = similarity.detach().float().softmax(dim=1).nan_to_num()  # a NaN shows in the loss
    return torch.multinomial((weights + 1e-4).masked_fill(same, 0.0), 1, generator=generator)[:, 0]


ITM_PRIOR = math.log(3) - math.log(2) * 2 / 3
"""0.6365 nats: the ITM loss of a head that knows nothing but 1 match : 2 negatives."""


def itm(logits: Tensor, matches: Tensor) -> Tensor:
    """Image–text matching: mean cross-entropy of (n, 2) logits, [no, yes]; ``matches``: (n,) bool.

    Of 1 : 2 pairs a head that looks at nothing reaches :data:`ITM_PRIOR`: compare with that, not
    with 0. Source: Li et al. 2022, section 3.2.
    """
    return F.cross_entropy(logits.float(), matches.long())


def lm_targets(tokens: Tensor, mask: Tensor, prompt: int = 1) -> Tensor:
    """What a decoder learns at each position: the token that follows, where that is text.

    Args:
        tokens: (B, L) ids: [CLS] w … [SEP], then padding of any id.
        mask: (B, L) bool, True for text.
        prompt: tokens at the beginning that are given, [CLS] included, and so not learned.

    Returns:
        (B, L) ids, -100 where there is nothing to learn (at the last position always).
    """
    learned = mask & (torch.arange(tokens.shape[1], device=tokens.device) >= prompt)
    targets = tokens.masked_fill(~learned, -100)
    return F.pad(targets[:, 1:], (0, 1), value=-100)


def lm_sums(hidden: Tensor, head: nn.Module, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Each text's cross-entropy, summed over its tokens: -log p(text) when nothing is smoothed.

    The arguments are :func:`lm`'s.

    Returns:
        (B,) nats.
    """
    learned = targets != -100
    each = F.cross_entropy(
        head(hidden[learned]).float(), targets[learned], reduction="none", label_smoothing=smoothing
    )
    rows = learned.nonzero()[:, 0]
    return each.new_zeros(len(targets)).index_add(0, rows, each)


def lm(hidden: Tensor, head: nn.Module, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Language-modelling loss: mean cross-entropy of the next token, where it is to be learned.

    The head, which is large, is applied only there. Over ranks, which may hold different numbers
    of such tokens, the mean of the ranks' losses is the loss of the global batch.

    Args:
        hidden: (B, L, D) final states.
        head: (n, D) → (n, V) logits.
        targets: (B, L) the token that follows each position; -100 = nothing to learn.
        smoothing: share of the label that is spread over the whole vocabulary.

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
    total = F.cross_entropy(
        logits.float(), targets[learned], reduction="sum", label_smoothing=smoothing
    )
    return total * ranks / count.clamp(min=1)
