"""ITC with queries: an image has several vectors, and the one that fits a text best speaks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_shape
from vlcourse.teach.mistakes import Mistake, expect_right


def best_query(image: Tensor, text: Tensor) -> Tensor:
    """The reference: the library's own, (n, Q, E) and (m, E) → (n, m) cosines."""
    return losses.query_similarity(image, text)


def _each(image: Tensor, text: Tensor) -> Tensor:
    """(n, Q, m) cosines of every query with every text."""
    return F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def _with(slip: str, image: Tensor, text: Tensor) -> Tensor:
    """The whole with one mistake or none."""
    each, unit_text = _each(image, text), F.normalize(text, dim=-1)
    favourite = each.sum(dim=-1).argmax(dim=1)  # (n,), one query for all texts
    found = {
        "mean": lambda: each.mean(dim=1),
        "sum": lambda: each.sum(dim=1),
        "least": lambda: each.amin(dim=1),
        "first": lambda: each[:, 0],
        "not normalised": lambda: (image @ text.T).amax(dim=1),
        "text not normalised": lambda: (F.normalize(image, dim=-1) @ text.T).amax(dim=1),
        "image not normalised": lambda: (image @ unit_text.T).amax(dim=1),
        "over the queries": lambda: (F.normalize(image, dim=1) @ unit_text.T).amax(dim=1),
        "one query for all": lambda: each[torch.arange(len(each)), favourite],
        "absolute": lambda: each.abs().amax(dim=1),
        "mean vector": lambda: F.normalize(image.mean(dim=1), dim=-1) @ unit_text.T,
        "max of vectors": lambda: F.normalize(image.amax(dim=1), dim=-1) @ unit_text.T,
        "softmax": lambda: (each.softmax(dim=1) * each).sum(dim=1),
    }
    return found.get(slip, lambda: each.amax(dim=1))()


def _mistake(slip: str, what: str, hint: str) -> Mistake:
    return Mistake(slip, partial(_with, slip), what, hint)


_ORDER = "In this order: unit vectors, the cosine of each query with each text, the maximum."
_UNIT = "A cosine needs unit vectors on both sides: F.normalize(…, dim=-1)."
_MISTAKES = (
    _mistake(
        "mean",
        "the queries' cosines are averaged",
        "The best query speaks for the image: .amax over the axis of queries.",
    ),
    _mistake("sum", "the queries' cosines are added", "Take the best one: .amax, not .sum."),
    _mistake("least", "the worst query speaks", "Take the largest cosine: .amax, not .amin."),
    _mistake("first", "only the first query is asked", "All are compared: the best counts."),
    _mistake("not normalised", "dot products are no cosines yet", _UNIT),
    _mistake("text not normalised", "the texts are not brought to length 1", _UNIT),
    _mistake("image not normalised", "the queries are not brought to length 1", _UNIT),
    _mistake(
        "over the queries",
        "the image is normalised over its queries, not over the channels",
        "Each query is a vector of its own: dim=-1.",
    ),
    _mistake(
        "one query for all",
        "one query speaks for the image whatever the text is",
        "Each text picks its own best query: compare first, then .amax over the queries.",
    ),
    _mistake(
        "absolute",
        "a cosine of −1 counts as much as 1",
        "The largest cosine: no abs.",
    ),
    _mistake("mean vector", "the queries' vectors are averaged before they are compared", _ORDER),
    _mistake("max of vectors", "the maximum is taken of the vectors' numbers", _ORDER),
    _mistake(
        "softmax",
        "the cosines are mixed by a softmax",
        "A plain maximum, please.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    image, text = torch.randn(4, 3, 6), 2 * torch.randn(5, 6)
    value = call(candidate, image, text)
    expect(
        not isinstance(value, tuple),
        "the result is a pair: values, and which query they come from",
        ".max(dim=…) gives both: take .values, or use .amax(dim=…).",
    )
    wrong_way = isinstance(value, Tensor) and value.shape == (5, 4)
    expect(
        not wrong_way,
        "rows are texts and columns images",
        "A row is an image: the result is (n, m), transpose it.",
    )
    kept = isinstance(value, Tensor) and value.ndim == 3
    expect(not kept, "the queries are still there, as an axis of their own", _ORDER)
    expect_shape(value, (4, 5), "the result", "One cosine for each image and each text.")

    def run(function: Callable[..., Any]) -> Any:
        return function(image, text)

    expect_right(run, candidate, best_query, _MISTAKES, "the cosines", _ORDER)
    checking.differentiable(candidate, best_query, image, text, what="the cosines")
    checking.batch_of_one(candidate, best_query, image, text, what="the cosines")
    one = image[:, :1]
    checking.expect_close(
        call(candidate, one, text), best_query(one, text), "the cosines with a single query",
        "An axis of length 1 stays an axis until you take its maximum.",
    )  # fmt: skip


def _einsum(image: Tensor, text: Tensor) -> Tensor:
    image, text = (each / each.norm(dim=-1, keepdim=True) for each in (image, text))
    return torch.einsum("nqe,me->nqm", image, text).max(dim=1).values


def _cosine(image: Tensor, text: Tensor) -> Tensor:
    return F.cosine_similarity(image[:, :, None], text[None, None], dim=-1).amax(dim=1)


def _by_loop(image: Tensor, text: Tensor) -> Tensor:
    rows = [
        torch.stack([F.cosine_similarity(queries, one[None], dim=-1).max() for one in text])
        for queries in image
    ]
    return torch.stack(rows)


def _other_axis(image: Tensor, text: Tensor) -> Tensor:
    flat = F.normalize(image, dim=-1).flatten(0, 1)  # (n · Q, E)
    each = F.normalize(text, dim=-1) @ flat.T  # (m, n · Q)
    return each.unflatten(1, image.shape[:2]).amax(dim=-1).T


def _in_place(image: Tensor, text: Tensor) -> Tensor:
    image /= image.norm(dim=-1, keepdim=True)
    return _each(image, text).amax(dim=1)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip2.best_query",
        title="The best query speaks",
        minutes=6,
        difficulty=1,
        reference=best_query,
        check=_check,
        hints=(
            _ORDER,
            "(n, Q, E) @ (E, m) is (n, Q, m): every query with every text.",
            "(F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T).amax(dim=1)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("values and indices", lambda i, t: _each(i, t).max(dim=1), ".amax(dim=…)"),
            Wrong("transposed", lambda i, t: best_query(i, t).T, "transpose it"),
            Wrong("no maximum", _each, "the maximum"),
            Wrong("detached", lambda i, t: best_query(i, t).detach(), ".detach()"),
            Wrong("in place", _in_place, "in place"),
        ),
        right=(
            Right("einsum", _einsum),
            Right("cosine_similarity", _cosine),
            Right("two loops", _by_loop),
            Right("texts first", _other_axis),
        ),
    ),
)
