"""BLIP's losses by hand: soft targets, queues, hard negatives, the matching prior, LM masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.errors import ModelError


def test_soft_targets_by_hand() -> None:
    similarity = torch.log(torch.tensor([[1.0, 1.0, 2.0], [6.0, 2.0, 2.0], [1.0, 0.0, 0.0]]))
    targets = losses.soft_targets(similarity, torch.eye(3, dtype=torch.bool), 0.4)
    expected = [[0.7, 0.1, 0.2], [0.24, 0.68, 0.08], [0.4, 0.0, 0.6]]
    torch.testing.assert_close(targets, torch.tensor(expected))
    hard = losses.soft_targets(similarity, torch.eye(3, dtype=torch.bool), 0.0)
    assert torch.equal(hard, torch.eye(3))
    twice = torch.tensor([[True, True, False]])
    torch.testing.assert_close(
        losses.soft_targets(similarity[:1], twice, 0.4), torch.tensor([[0.4, 0.4, 0.2]])
    )


def unit(*shape: int, seed: int) -> Tensor:
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()
    return nn.functional.normalize(rows, dim=1)


def test_itc_with_momentum_is_the_definition_in_loops() -> None:
    image, text, image_m, text_m = (unit(3, 5, seed=s) for s in range(4))
    image_q, text_q = unit(4, 5, seed=5), unit(4, 5, seed=6)
    tau, alpha, total = 0.2, 0.3, 0.0
    for own, own_m, columns in (
        (image, image_m, torch.cat([text_m, text_q])),
        (text, text_m, torch.cat([image_m, image_q])),
    ):
        for i in range(3):
            student = [math.exp(float(own[i] @ column) / tau) for column in columns]
            teacher = [math.exp(float(own_m[i] @ column) / tau) for column in columns]
            for j in range(7):
                target = alpha * teacher[j] / sum(teacher) + (1 - alpha) * (i == j)
                total -= target * math.log(student[j] / sum(student)) / 6
    temperature = torch.tensor([tau], dtype=torch.float64)
    found = losses.itc_momentum(
        3 * image, 2 * text, image_m, text_m, image_q, text_q, temperature, alpha
    )
    assert float(found) == pytest.approx(total, abs=1e-12)


def test_with_no_queue_no_twin_and_no_alpha_it_is_clips() -> None:
    image, text, none = unit(4, 5, seed=0), unit(4, 5, seed=1), torch.empty(0, 5).double()
    temperature = torch.tensor([0.1], dtype=torch.float64)
    found = losses.itc_momentum(image, text, image, text, none, none, temperature, 0.0)
    torch.testing.assert_close(found, losses.itc(image, text, 1 / temperature))


def test_the_temperature_learns_from_the_students_logits_only() -> None:
    sides = [unit(4, 5, seed=s) for s in range(4)]
    none = torch.empty(0, 5).double()
    temperature = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    losses.itc_momentum(*sides, none, none, temperature, 0.4).backward()
    eps, fixed = 1e-5, temperature.detach()
    total = 0.0
    for sign in (1, -1):  # the targets stay those of the fixed temperature
        for own, own_m, others in (
            (sides[0], sides[2], sides[3]), (sides[1], sides[3], sides[2]),
        ):  # fmt: skip
            targets = losses.soft_targets(own_m @ others.T / fixed, torch.eye(4).bool(), 0.4)
            logits = own @ others.T / (fixed + sign * eps)
            total += sign * float(nn.functional.cross_entropy(logits, targets)) / 2
    assert temperature.grad is not None
    assert float(temperature.grad) == pytest.approx(total / (2 * eps), rel=1e-5)


def test_negatives_are_drawn_as_often_as_the_softmax_says_and_never_a_match() -> None:
    similarity = torch.log(torch.tensor([[5.0, 1.0, 3.0, 1.0]])).expand(4, 4)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True  # rows 0 and 3 have one caption
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([losses.hard_negatives(similarity, same, generator) for _ in range(4000)])
    share = torch.stack([(drawn == column).float().mean(dim=0) for column in range(4)], dim=1)
    weights = (torch.tensor([0.5, 0.1, 0.3, 0.1]) + 1e-4).expand(4, 4).masked_fill(same, 0)
    torch.testing.assert_close(share, weights / weights.sum(1, keepdim=True), atol=0.03, rtol=0)
    assert share[same].eq(0).all()


@pytest.mark.parametrize("value", [1e4, -1e4, float("inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_similarities_still_give_negatives(value: float, dtype: torch.dtype) -> None:
    similarity = torch.zeros(3, 3, dtype=dtype)
    similarity[0, 0] = similarity[1, 2] = value  # all the weight is on the diagonal, say
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.hard_negatives(similarity, torch.eye(3, dtype=torch.bool))
    assert (found != torch.arange(3)).all() and ((found >= 0) & (found < 3)).all()


@pytest.mark.parametrize("n", [1, 4])
def test_a_batch_without_a_negative_is_refused(n: int) -> None:
    with pytest.raises(ModelError, match="a pair has no negative.*make the batch larger"):
        losses.hard_negatives(torch.zeros(n, n), torch.ones(n, n, dtype=torch.bool))


def test_equal_captions_are_found() -> None:
    tokens = torch.tensor([[1, 2, 3], [1, 2, 4], [1, 2, 3]])
    expected = [[True, False, True], [False, True, False], [True, False, True]]
    assert losses.equal_rows(tokens, tokens).tolist() == expected


def test_a_head_that_looks_at_nothing_reaches_the_prior_and_no_less() -> None:
    matches = torch.arange(9) < 3
    shares = torch.tensor([2 / 3, 1 / 3]).log().expand(9, 2)
    assert pytest.approx(0.6365, abs=1e-4) == losses.ITM_PRIOR
    assert float(losses.itm(shares, matches)) - losses.ITM_PRIOR == pytest.approx(0, abs=1e-6)
    for bias in (-1.0, 0.0, 1.0):
        constant = torch.tensor([bias, 0.0]).expand(9, 2)
        assert float(losses.itm(constant, matches)) > losses.ITM_PRIOR - 1e-6
    right = torch.where(matches[:, None], torch.tensor([-9.0, 9.0]), torch.tensor([9.0, -9.0]))
    assert float(losses.itm(right, matches)) < 1e-6


def test_what_a_decoder_learns() -> None:
    cls, sep = 8, 9
    tokens = torch.tensor([[cls, 1, 2, 3, sep], [cls, 4, sep, 0, 0]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert losses.lm_targets(tokens, mask).tolist() == [
        [1, 2, 3, sep, -100],
        [4, sep, -100, -100, -100],
    ]
    # "[DEC] a picture of" is a prompt of 4: the first token learned is the fifth.
    assert losses.lm_targets(tokens, mask, prompt=4).tolist() == [
        [-100, -100, -100, sep, -100],
        [-100] * 5,
    ]
    for padding in (cls, sep, 5):
        other = tokens.masked_fill(~mask, padding)
        assert losses.lm_targets(other, mask).equal(losses.lm_targets(tokens, mask))


def test_label_smoothing_and_the_sums_of_each_text() -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(3, 4, 5), nn.Linear(5, 7)
    targets = torch.tensor([[1, 2, -100, -100], [-100] * 4, [3, -100, 4, 6]])
    log_p = head(hidden).log_softmax(dim=-1)
    for smoothing in (0.0, 0.1):
        each = torch.zeros(3)
        for row in range(3):
            for t in range(4):
                if (target := int(targets[row, t])) >= 0:
                    each[row] -= (1 - smoothing) * log_p[row, t, target]
                    each[row] -= smoothing * log_p[row, t].mean()
        found = losses.lm_sums(hidden, head, targets, smoothing)
        torch.testing.assert_close(found, each)
        mean = losses.lm(hidden, head, targets, smoothing)
        torch.testing.assert_close(mean, each.sum() / 5)


def test_nothing_to_learn_is_no_loss_and_no_nan() -> None:
    hidden = torch.randn(2, 3, 5, requires_grad=True)
    nothing = torch.full((2, 3), -100)
    loss = losses.lm(hidden, nn.Linear(5, 7), nothing, 0.1)
    loss.backward()
    assert loss.item() == 0 and hidden.grad is not None and hidden.grad.eq(0).all()
    assert losses.lm_sums(hidden, nn.Linear(5, 7), nothing).tolist() == [0, 0]


def test_a_texts_similarity_to_an_image_is_that_to_its_best_query() -> None:
    image = torch.tensor(
        [[[2.0, 0.0], [0.0, 3.0]], [[-1.0, 0.0], [-1.0, -1.0]]], requires_grad=True
    )
    text = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-5.0, 0.0]])
    found = losses.query_similarity(image, text)
    half = 0.5**0.5
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.8, 0.0], [-half, -0.6, 1.0]]))
    found[0, 1].backward()  # the one that won learns
    assert image.grad is not None and image.grad[0, 1].any() and not image.grad[0, 0].any()
    assert losses.own_pairs(3).equal(torch.eye(3, dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smoothed_contrast_by_hand(dtype: torch.dtype) -> None:
    to_text = (torch.randn(3, 3, generator=torch.Generator().manual_seed(0)) * 4).to(dtype)
    own = torch.eye(3, dtype=torch.bool)
    expected = sum(
        nn.functional.cross_entropy(x.float(), torch.arange(3), label_smoothing=0.1)
        for x in (to_text, to_text.T)
    )
    found = losses.itc_smoothed(to_text, to_text.T, own, 0.1)
    torch.testing.assert_close(found, expected / 2)
    assert losses.itc_smoothed(torch.eye(3) * 100, torch.eye(3) * 100, own) < 1e-6
