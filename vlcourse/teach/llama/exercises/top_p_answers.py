"""Answers to "llama.top_p" as students write them, right ones and wrong ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vlcourse.generate.sampling import top_p_filter


def from_below(logits: Tensor, p: float) -> Tensor:
    shares, order = logits.softmax(-1).sort(dim=-1)  # the tail that holds at most 1 - p goes
    dropped = shares.cumsum(-1) <= 1 - p
    return logits.masked_fill(dropped.scatter(-1, order, dropped), -math.inf)


def scattered(logits: Tensor, p: float) -> Tensor:
    ordered, ids = torch.sort(logits, descending=True)
    total = torch.cumsum(ordered.softmax(-1), dim=-1)
    removed = total >= p
    removed[..., 1:] = removed[..., :-1].clone()
    removed[..., 0] = False
    ordered = ordered.masked_fill(removed, -math.inf)
    return torch.full_like(logits, -math.inf).scatter(-1, ids, ordered)


def by_rank(logits: Tensor, p: float) -> Tensor:
    shares = torch.softmax(logits, dim=-1)
    order = shares.argsort(dim=-1, descending=True)
    rank = order.argsort(dim=-1)
    in_order = shares.gather(-1, order)
    before = torch.cat([torch.zeros_like(in_order[..., :1]), in_order.cumsum(-1)[..., :-1]], -1)
    return torch.where(before.gather(-1, rank) < p, logits, -torch.inf)


def by_a_loop(logits: Tensor, p: float) -> Tensor:
    out = torch.full_like(logits, -math.inf)
    rows, filtered = logits.reshape(-1, logits.shape[-1]), out.view(-1, logits.shape[-1])
    for row, kept in zip(rows, filtered, strict=True):
        shares, total = row.softmax(0).tolist(), 0.0
        for i in sorted(range(len(shares)), key=lambda i: -shares[i]):
            kept[i] = row[i]
            total += shares[i]
            if total >= p:
                break
    return out


def _keep(logits: Tensor, kept: Tensor, order: Tensor) -> Tensor:
    """Keep by a mask in sorted ``order``."""
    return logits.masked_fill(~kept.gather(-1, order.argsort(-1)), -math.inf)


def _sorted(logits: Tensor, descending: bool = True) -> tuple[Tensor, Tensor]:
    shares, order = logits.softmax(-1).sort(dim=-1, descending=descending)
    return shares, order


def without_the_crossing(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    return _keep(logits, shares.cumsum(-1) <= p + 1e-6, order)


def one_too_many(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    before = shares.cumsum(-1) - shares
    return _keep(logits, before - shares.roll(1, -1) < p, order)


def ascending(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits, descending=False)
    return _keep(logits, shares.cumsum(-1) - shares < p, order)


def mask_not_put_back(logits: Tensor, p: float) -> Tensor:
    shares, _ = _sorted(logits)
    return logits.masked_fill(shares.cumsum(-1) - shares >= p, -math.inf)


def sorted_result(logits: Tensor, p: float) -> Tensor:
    shares, _ = _sorted(logits)
    kept = shares.cumsum(-1) - shares < p
    return logits.sort(dim=-1, descending=True).values.masked_fill(~kept, -math.inf)


def sum_of_logits(logits: Tensor, p: float) -> Tensor:
    values, order = logits.sort(dim=-1, descending=True)
    return _keep(logits, values.cumsum(-1) - values < p, order)


def each_above_p(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(logits.softmax(-1) < p, -math.inf)


def each_above_the_rest(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(logits.softmax(-1) < 1 - p, -math.inf)


def zeros(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, p).nan_to_num(neginf=0.0)


def probabilities(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, p).softmax(-1)


def first_row_for_all(logits: Tensor, p: float) -> Tensor:
    kept = torch.isfinite(top_p_filter(logits[:1], p))
    return logits.masked_fill(~kept, -math.inf)


def by_value(logits: Tensor, p: float) -> Tensor:
    shares = logits.softmax(-1)
    before = (shares[..., None, :] * (shares[..., None, :] > shares[..., None])).sum(-1)
    return logits.masked_fill(before >= p, -math.inf)


def from_the_least_kept(logits: Tensor, p: float) -> Tensor:
    least = top_p_filter(logits, p).masked_fill(~top_p_filter(logits, p).isfinite(), math.inf)
    return logits.masked_fill(logits < least.amin(-1, keepdim=True), -math.inf)


def at_equality(logits: Tensor, p: float) -> Tensor:
    ordered, ids = logits.sort(dim=-1, descending=True)
    removed = ordered.softmax(-1).cumsum(-1) > p
    removed[..., 1:] = removed[..., :-1].clone()
    removed[..., 0] = False
    return logits.masked_fill(removed.scatter(-1, ids, removed), -math.inf)


def softmax_over_the_rows(logits: Tensor, p: float) -> Tensor:
    shares, order = logits.softmax(0).sort(dim=-1, descending=True)
    return _keep(logits, shares.cumsum(-1) - shares < p, order)


def sorted_over_the_rows(logits: Tensor, p: float) -> Tensor:
    shares, order = logits.softmax(-1).sort(dim=0, descending=True)
    kept = (shares.cumsum(-1) - shares < p).gather(0, order.argsort(0))
    return logits.masked_fill(~kept, -math.inf)


def summed_over_the_rows(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    return _keep(logits, shares.cumsum(0) - shares < p, order)


def all_over_the_rows(logits: Tensor, p: float) -> Tensor:
    shares, order = logits.softmax(0).sort(dim=0, descending=True)
    kept = (shares.cumsum(0) - shares < p).gather(0, order.argsort(0))
    return logits.masked_fill(~kept, -math.inf)


def axis_one(logits: Tensor, p: float) -> Tensor:
    shares, order = logits.softmax(1).sort(dim=1, descending=True)
    kept = (shares.cumsum(1) - shares < p).gather(1, order.argsort(1))
    return logits.masked_fill(~kept, -math.inf)


def put_back_by_the_order(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    kept = shares.cumsum(-1) - shares < p
    return logits.masked_fill(~kept.gather(-1, order), -math.inf)


def mask_times_infinity(logits: Tensor, p: float) -> Tensor:
    removed = top_p_filter(logits, p).isinf()
    return logits + removed * -math.inf


def log_of_a_share(logits: Tensor, p: float) -> Tensor:
    kept = top_p_filter(logits, p).isfinite()
    shares = logits.softmax(-1) * kept
    return (shares / shares.sum(-1, keepdim=True)).log()


def very_negative(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, p).nan_to_num(neginf=-1e9)


def tokens_removed(logits: Tensor, p: float) -> Tensor:
    kept = top_p_filter(logits, p).isfinite()
    return logits[kept]


def a_mask(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, p).isfinite()


def top_k(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(logits < logits.topk(2).values[..., -1:], -math.inf)


def complement(logits: Tensor, p: float) -> Tensor:
    return top_p_filter(logits, max(1 - p, 1e-6))


def inverted(logits: Tensor, p: float) -> Tensor:
    return logits.masked_fill(top_p_filter(logits, p).isfinite(), -math.inf)


def none_left(logits: Tensor, p: float) -> Tensor:
    shares, order = _sorted(logits)
    return _keep(logits, shares.cumsum(-1) < p, order)


def in_place(logits: Tensor, p: float) -> Tensor:
    logits[top_p_filter(logits, p).isinf()] = -math.inf
    return logits


def float32_beside(logits: Tensor, p: float) -> Tensor:
    out = torch.full(logits.shape, -math.inf)
    kept = top_p_filter(logits, p).isfinite()
    return torch.where(kept, logits.float(), out)
