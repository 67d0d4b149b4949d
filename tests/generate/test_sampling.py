"""Filters on known distributions, and draws that follow them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from table import Table
from torch import Tensor

from vlcourse.generate import generate
from vlcourse.generate.sampling import draw, repetition, top_k_filter, top_p_filter


def logits_of(*probabilities: float) -> Tensor:
    """(1, V) logits; shifted, since a filter must not care."""
    return torch.tensor([probabilities]).log() + 3


def kept(logits: Tensor) -> list[int]:
    """Ids with a probability above 0."""
    return logits.isfinite()[0].nonzero().flatten().tolist()


def test_top_k_keeps_k_and_ties() -> None:
    logits = logits_of(0.1, 0.4, 0.2, 0.2, 0.1)
    assert kept(top_k_filter(logits, 1)) == [1]
    assert kept(top_k_filter(logits, 2)) == [1, 2, 3]  # the second and the third are as likely
    assert kept(top_k_filter(logits, 3)) == [1, 2, 3]
    assert torch.equal(top_k_filter(logits, 5), logits)
    assert torch.equal(top_k_filter(logits, 99), logits)
    shares = top_k_filter(logits, 2).softmax(-1)
    torch.testing.assert_close(shares, torch.tensor([[0.0, 0.5, 0.25, 0.25, 0.0]]))


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1e-9, [1]),
        (0.3, [1]),
        (0.45, [1, 3]),
        (0.74, [1, 3]),
        (0.8, [1, 3, 0]),
        (0.97, [1, 3, 0, 2]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(p: float, expected: list[int]) -> None:
    probabilities = torch.tensor([0.15, 0.4, 0.1, 0.35])
    filtered = top_p_filter(logits_of(*probabilities.tolist()), p)
    assert kept(filtered) == sorted(expected)
    shares = torch.zeros(4)
    shares[expected] = probabilities[expected] / probabilities[expected].sum()
    torch.testing.assert_close(filtered.softmax(-1)[0], shares)


def test_top_p_at_its_borders() -> None:
    logits = logits_of(0.25, 0.25, 0.25, 0.25)
    assert kept(top_p_filter(logits, 0.5)) == [0, 1]  # reached exactly; ties by id
    assert kept(top_p_filter(logits, 0.51)) == [0, 1, 2]
    many = torch.randn(2, 1000)
    assert torch.equal(top_p_filter(many, 1.0), many)  # although the sum may round to 1 before
    assert top_p_filter(many, 1e-30).isfinite().sum() == 2
    batch = torch.stack([logits_of(0.9, 0.1), logits_of(0.2, 0.8)])  # any leading dimensions
    assert top_p_filter(batch, 0.5).isfinite().tolist() == [[[True, False]], [[False, True]]]
    before = many.clone()
    top_p_filter(many, 0.3)
    assert torch.equal(many, before)


def test_top_p_agrees_with_transformers() -> None:
    from transformers import TopPLogitsWarper

    torch.manual_seed(0)
    logits = torch.randn(50, 211) * 3
    for p in (0.05, 0.5, 0.9, 0.99):
        theirs = TopPLogitsWarper(p)(None, logits.clone())
        assert torch.equal(top_p_filter(logits, p), theirs)


def test_repetition_lowers_what_was_written_and_ignores_padding() -> None:
    logits = torch.tensor([[2.0, -2.0, 1.0, -1.0], [2.0, -2.0, 1.0, -1.0]])
    tokens = torch.tensor([[0, 1, 0], [-1, -1, 2]])
    found = repetition(logits, tokens, 2.0)
    assert found.tolist() == [[1.0, -4.0, 1.0, -1.0], [2.0, -2.0, 0.5, -1.0]]
    assert torch.equal(repetition(logits, tokens[:, :0], 2.0), logits)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: top_k_filter(x, 0),
        lambda x: top_p_filter(x, 0.0),
        lambda x: top_p_filter(x, 1.2),
        lambda x: repetition(x, torch.zeros(1, 1, dtype=torch.long), 0.0),
    ],
)
def test_filters_refuse_what_makes_no_sense(call: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        call(logits_of(0.5, 0.5))


def test_draw_inverts_the_distribution_and_never_takes_the_impossible() -> None:
    logits = logits_of(0.0, 0.25, 0.0, 0.75, 0.0)
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.5, 1 - 2**-24])
    assert draw(logits.expand(5, -1), uniform).tolist() == [1, 1, 3, 3, 3]
    torch.manual_seed(0)
    wide = top_k_filter(torch.randn(64, 32_000), 3)
    for u in (0.0, 1 - 2**-24):
        ids = draw(wide, torch.full((64,), u))
        assert wide.gather(1, ids[:, None]).isfinite().all()


def test_drawn_tokens_follow_the_filtered_distribution() -> None:
    probabilities = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    model = Table(probabilities.log().expand(5, 5).clone())
    prompts, n = torch.zeros(2000, 1, dtype=torch.long), 10_000
    for options, expected in (
        ({"temperature": 1.0}, probabilities),
        ({"temperature": 2.0}, probabilities**0.5),
        ({"temperature": 1.0, "top_k": 3}, probabilities * torch.tensor([1, 1, 1, 0, 0])),
        ({"temperature": 1.0, "top_p": 0.8}, probabilities * torch.tensor([1, 1, 1, 0, 0])),
        ({"temperature": 0.5, "top_k": 4, "top_p": 0.6}, torch.tensor([16.0, 9, 0, 0, 0])),
    ):
        generator = torch.Generator().manual_seed(7)
        found = generate(model, prompts, max_new_tokens=5, generator=generator, **options)
        counts, mean = found.flatten().bincount(minlength=5), n * expected / expected.sum()
        assert counts[mean == 0].sum() == 0
        chi_square = ((counts - mean) ** 2 / mean)[mean > 0].sum()
        assert chi_square < 25, (options, counts)  # 4 degrees of freedom: beyond 25 is p < 1e-4
        pairs = (found[:, 0] * 5 + found[:, 1]).bincount(minlength=25).view(5, 5) / 2000
        shares = expected / expected.sum()
        assert (pairs - torch.outer(shares, shares)).abs().max() < 0.04  # steps are independent
