"""What a filter does to texts whose truth is known: precision, recall, and the share it drops."""

from __future__ import annotations

from vlcourse.teach.capfilt.experiments.bootstrap import Texts

RECALL = 0.9  # at which the filter's precision is wanted, too


def filtering(table: Texts, threshold: float) -> dict[str, float]:
    """How a filter judges texts, of which it keeps those above a threshold.

    Returns:
        ``precision``: of the texts kept, the share that is true; ``recall``: of the true ones, the
        share that is kept; ``precision at .9``: with the threshold that keeps 90 % of the true
        ones; ``dropped``: the share of all texts (the paper's noise ratio); ``true``: the share
        that is true before; ``distinct``: different texts, as a share.
    """
    true, scores = table["true"], table["score"]
    kept = [points > threshold for points in scores]
    right = sum(t and k for t, k in zip(true, kept, strict=True))
    best = sorted((points for points, t in zip(scores, true, strict=True) if t), reverse=True)
    limit = best[max(0, -(-int(RECALL * 1000) * len(best) // 1000) - 1)] if best else 0.0
    above = [t for points, t in zip(scores, true, strict=True) if points >= limit]
    n = len(true)
    return {
        "precision": right / max(sum(kept), 1),
        "recall": right / max(sum(true), 1),
        "precision at .9": sum(above) / max(len(above), 1),
        "dropped": 1 - sum(kept) / n,
        "true": sum(true) / n,
        "distinct": len(set(table["text"])) / n,
    }
