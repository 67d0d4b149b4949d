"""Measures of retrieval and classification, and intervals that say how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlcourse import VlcourseError


class MetricError(VlcourseError, ValueError):
    """Numbers that nothing can be measured on."""


def right_answers(similarity: Tensor, right: Tensor | None = None) -> Tensor:
    """Which columns are right for each row: (Q, N) similarities → (Q, N) bool.

    Args:
        similarity: (Q, N).
        right: (Q, N) bool, at least one True a row; None says that row i belongs to column i alone.

    Raises:
        MetricError: when the shapes do not fit, or a row has no right answer.
    """
    if right is None:
        if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
            raise MetricError(
                "similarity must be square, row i matching column i, not "
                f"{tuple(similarity.shape)}; or say with right=… which columns are right"
            )
        return torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if right.dtype != torch.bool or right.shape != similarity.shape:
        raise MetricError(
            f"right must be bool of the shape {tuple(similarity.shape)}, not "
            f"{str(right.dtype).removeprefix('torch.')} {tuple(right.shape)}"
        )
    if not right.any(dim=1).all():
        row = int((~right.any(dim=1)).nonzero()[0])
        raise MetricError(f"row {row} has no right answer: leave it out")
    return right


def ranks(similarity: Tensor, right: Tensor | None = None) -> Tensor:
    """Rank (0 = first) of each row's best right column: (Q, N) similarities → (Q,) int64.

    A tie counts half of the wrong columns that are tied, rounded up, so that a constant matrix
    scores like chance. ``right`` as in :func:`right_answers`.
    """
    right = right_answers(similarity, right)
    best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)  # (Q, 1)
    better = (~right & (similarity > best)).sum(dim=1)
    tied = (~right & (similarity == best)).sum(dim=1)
    return better + (tied + 1) // 2


def recall_at_k(similarity: Tensor, k: int, right: Tensor | None = None) -> float:
    """Share of rows with a right column among the k most similar: (Q, N) → [0, 1]."""
    return float((ranks(similarity, right) < k).float().mean())


def mean_reciprocal_rank(similarity: Tensor, right: Tensor | None = None) -> float:
    """Mean of 1 / rank of each row's best right column, counted from 1: (Q, N) → (0, 1]."""
    return float((1 / (ranks(similarity, right) + 1)).mean())


def ndcg(similarity: Tensor, right: Tensor | None = None) -> float:
    """Normalised discounted cumulative gain of all right columns: (Q, N) → (0, 1].

    Each right column at rank r (from 0) gains 1 / log₂(r + 2); the sum is divided by that of the
    best order (Järvelin and Kekäläinen 2002). Of wrong columns that tie, half stand before it.
    """
    right = right_answers(similarity, right)
    gains = []
    for row, good in zip(similarity, right, strict=True):
        hits = row[good].sort(descending=True).values  # (R,)
        better = (row[~good] > hits[:, None]).sum(dim=1)
        tied = (row[~good] == hits[:, None]).sum(dim=1)
        first = torch.arange(len(hits), device=row.device)  # ranks among the right ones alone
        found = (1 / torch.log2(first + better + (tied + 1) // 2 + 2.0)).sum()
        gains.append(found / (1 / torch.log2(first + 2.0)).sum())
    return float(torch.stack(gains).mean())


def retrieval(similarity: Tensor, right: Tensor | None = None) -> dict[str, dict[str, float]]:
    """All measures in both directions.

    Args:
        similarity: (Q, N), rows are texts and columns images.
        right: (Q, N) bool, which belong together; None for row i and column i alone.

    Returns:
        ``{"text_to_image": {"recall@1": …, "recall@5": …, "recall@10": …, "mrr": …, "ndcg": …},
        "image_to_text": {…}}``.
    """
    right = right_answers(similarity, right)
    both = {"text_to_image": (similarity, right), "image_to_text": (similarity.T, right.T)}
    return {
        direction: {
            **{f"recall@{k}": recall_at_k(pair[0], k, pair[1]) for k in (1, 5, 10)},
            "mrr": mean_reciprocal_rank(*pair),
            "ndcg": ndcg(*pair),
        }
        for direction, pair in both.items()
    }


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest logit is the label's: (N, C) and (N,) → [0, 1]."""
    return float((logits.argmax(dim=-1) == labels).float().mean())


def bootstrap_interval(
    values: Tensor, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979).

    Args:
        values: (N,) one value a test item, such as 1 for right and 0 for wrong.
        resamples: how many resampled test sets.
        level: probability mass inside the interval.
        seed: of the resampling.

    Returns:
        (low, high).

    Raises:
        MetricError: without values.
    """
    values = torch.as_tensor(values, dtype=torch.float64).flatten()
    if not len(values):
        raise MetricError("bootstrap_interval needs at least one value")
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(values), (resamples, len(values)), generator=generator)
    means = values[index].mean(dim=1)
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(low), float(high)


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean over training seeds (Student's t): (low, high).

    Raises:
        MetricError: for fewer than 2 values.
    """
    if len(values) < 2:
        raise MetricError(f"seed_interval takes 2 values or more, not {len(values)}")
    from scipy.stats import t  # slow to import

    x = torch.tensor(values, dtype=torch.float64)
    half = float(t.ppf(0.975, len(x) - 1)) * float(x.std()) / len(x) ** 0.5
    return float(x.mean()) - half, float(x.mean()) + half
