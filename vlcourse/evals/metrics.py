"""Measures of retrieval and classification, and intervals that say how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ranks(similarity: Tensor) -> Tensor:
    """Rank (0 = first) of each row's own column: (N, N) similarities → (N,) int64.

    A tie counts half of those tied, rounded up, so that a constant matrix scores like chance.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise ValueError(
            f"similarity must be square, row i matching column i, not {tuple(similarity.shape)}"
        )
    own = similarity.diagonal()[:, None]
    better = (similarity > own).sum(dim=1)
    tied = (similarity == own).sum(dim=1) - 1
    return better + (tied + 1) // 2


def recall_at_k(similarity: Tensor, k: int) -> float:
    """Share of rows whose own column is among the k most similar: (N, N) → [0, 1]."""
    return float((ranks(similarity) < k).float().mean())


def mean_reciprocal_rank(similarity: Tensor) -> float:
    """Mean of 1 / rank of each row's own column, rank counted from 1: (N, N) → (0, 1]."""
    return float((1 / (ranks(similarity) + 1)).mean())


def ndcg(similarity: Tensor) -> float:
    """Normalised discounted cumulative gain with one relevant column a row: (N, N) → (0, 1]."""
    return float((1 / torch.log2(ranks(similarity) + 2.0)).mean())


def retrieval(similarity: Tensor) -> dict[str, dict[str, float]]:
    """All measures in both directions.

    Args:
        similarity: (N, N), row i for text i, column i for its image.

    Returns:
        ``{"text_to_image": {"recall@1": …, "recall@5": …, "recall@10": …, "mrr": …, "ndcg": …},
        "image_to_text": {…}}``.
    """
    return {
        direction: {
            **{f"recall@{k}": recall_at_k(matrix, k) for k in (1, 5, 10)},
            "mrr": mean_reciprocal_rank(matrix),
            "ndcg": ndcg(matrix),
        }
        for direction, matrix in (("text_to_image", similarity), ("image_to_text", similarity.T))
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
        ValueError: without values.
    """
    values = torch.as_tensor(values, dtype=torch.float64).flatten()
    if not len(values):
        raise ValueError("bootstrap_interval needs at least one value")
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(values), (resamples, len(values)), generator=generator)
    means = values[index].mean(dim=1)
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(low), float(high)


# Student's t at 97.5 % for 1, 2, … degrees of freedom.
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean over training seeds (Student's t): (low, high).

    Raises:
        ValueError: for fewer than 2 or more than 10 values.
    """
    if not 2 <= len(values) <= len(_T975) + 1:
        raise ValueError(f"seed_interval takes 2 to {len(_T975) + 1} values, not {len(values)}")
    x = torch.tensor(values, dtype=torch.float64)
    half = _T975[len(x) - 2] * float(x.std()) / len(x) ** 0.5
    return float(x.mean()) - half, float(x.mean()) + half
