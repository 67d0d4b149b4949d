"""The contrastive loss against the definition written out in loops."""

import math

import pytest
import torch

from vlcourse import losses


def test_itc_equals_the_definition_in_loops():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 5, 7, generator=generator).double()
    scale, n, total = 3.0, 5, 0.0
    cosine = [
        [float(image[i] @ text[j] / image[i].norm() / text[j].norm()) for j in range(n)]
        for i in range(n)
    ]
    for i in range(n):
        row = sum(math.exp(scale * cosine[i][j]) for j in range(n))
        column = sum(math.exp(scale * cosine[j][i]) for j in range(n))
        own = math.exp(scale * cosine[i][i])
        total -= (math.log(own / row) + math.log(own / column)) / 2
    assert float(losses.itc(image, text, scale)) == pytest.approx(total / n, abs=1e-12)


def test_itc_of_indistinguishable_pairs_is_log_n():
    same = torch.ones(8, 4)
    assert float(losses.itc(same, same, 10.0)) == pytest.approx(math.log(8), abs=1e-5)


def test_itc_refuses_unequal_sides():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(2, 4\)"):
        losses.itc(torch.randn(3, 4), torch.randn(2, 4), 1.0)


def test_gather_rows_is_the_identity_in_one_process():
    x = torch.randn(3, 4)
    assert losses.gather_rows(x) is x and not losses.is_distributed()


def test_similarity_is_the_scaled_cosine():
    image = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    text = torch.tensor([[1.0, 1.0]])
    expected = torch.full((2, 1), 5 / math.sqrt(2))
    torch.testing.assert_close(losses.similarity(image, text, 5.0), expected)
