"""Re-ranking by hand on 4 × 4, and with a tiny BLIP against all pairs one by one."""

from __future__ import annotations

import pytest
import torch
from blip_fakes import Knowing, tiny_blip

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise
from vlcourse.evals import metrics, rerank
from vlcourse.tokenizers import med

NAN = float("nan")
SIMILARITY = torch.tensor(
    [[0.9, 0.8, 0.1, 0.2], [0.3, 0.5, 0.6, 0.0], [0.1, 0.0, 0.4, 0.3], [0.7, 0.6, 0.5, 0.2]]
)
# "Match" logits, not probabilities: as probabilities the first row would stay 0 before 1.
MATCH = torch.tensor([[5.0, 6.0, 9, 9], [9, 2.0, 1.95, 9], [9, 9, -8.0, -7.0], [3.0, 1.0, 9, 9]])


def test_four_by_four_by_hand() -> None:
    """The two best of each row are looked at, and the logit is added to the cosine."""
    scores = rerank.reranked(SIMILARITY, MATCH, k=2)
    chosen = [(0, 0, 5.9), (0, 1, 6.8), (1, 1, 2.5), (1, 2, 2.55), (2, 2, -7.6), (2, 3, -6.7)]
    for row, column, score in (*chosen, (3, 0, 3.7), (3, 1, 1.6)):
        assert scores[row, column] == pytest.approx(score)
    order = scores.argsort(dim=1, descending=True).tolist()
    # Behind those two the others keep their order, whatever their logits would be.
    assert order == [[1, 0, 3, 2], [2, 1, 0, 3], [3, 2, 0, 1], [0, 1, 2, 3]]
    assert metrics.ranks(scores).tolist() == [1, 1, 1, 3]
    assert metrics.ranks(SIMILARITY).tolist() == [0, 1, 0, 3]


def test_all_or_one_are_looked_at() -> None:
    assert torch.allclose(rerank.reranked(SIMILARITY, MATCH, k=9), SIMILARITY + MATCH)
    one = rerank.reranked(SIMILARITY, MATCH, k=1)
    assert torch.equal(one.argsort(1), SIMILARITY.argsort(1))
    unknown = MATCH.masked_fill(MATCH == 9, NAN)  # what was not looked at is not read
    assert torch.equal(
        rerank.reranked(SIMILARITY, unknown, 2), rerank.reranked(SIMILARITY, MATCH, 2)
    )


def test_both_directions_look_at_their_own_best() -> None:
    wanted = rerank.among_best(SIMILARITY, 1)
    assert wanted.nonzero().tolist() == [[0, 0], [0, 1], [1, 2], [2, 2], [2, 3], [3, 0]]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_model_that_knows(batch_size: int) -> None:
    """It looks once at each pair that either direction needs, and puts its text first."""
    texts = ["red", "green star", "blue", "a white ring"]
    images = torch.arange(4).view(4, 1, 1, 1).expand(4, 3, 32, 32).mul(40).to(torch.uint8)
    model = Knowing(lambda i, text: 4.0 * (texts[i // 40] == text))
    to_image, to_text = rerank.rerank(model, med.toy(), texts, images, 3, SIMILARITY, batch_size)
    assert model.looked == int(rerank.among_best(SIMILARITY, 3).sum())
    assert metrics.ranks(to_image).tolist() == [0, 0, 0, 3]  # the last is not among its three
    assert metrics.ranks(to_text).tolist() == [0, 0, 0, 0]
    assert to_text[3, 3] == pytest.approx(4.2) and to_image[0, 0] == pytest.approx(4.9)


def test_a_tiny_blip_against_pairs_one_by_one() -> None:
    model, words = tiny_blip(), med.toy()
    images, texts = world.two_object_set(6, seed=1)
    pairs = torch.tensor([[t, i] for i in range(6) for t in (5 - i, i, 2)])
    found = rerank.match_logits(model, words, texts, images, pairs, batch_size=4)
    with torch.no_grad():
        for (row, column), logits in zip(pairs.tolist(), found, strict=True):
            tokens, mask = words([texts[row]], 64)
            alone = model.match(normalise(images[column : column + 1]), tokens, mask)
            assert torch.allclose(logits, alone[0], atol=1e-5)
    assert found.std(dim=0).min() > 0.1


def test_details_of_a_tiny_blip() -> None:
    details = rerank.retrieval_details(tiny_blip(), med.toy(), pairs=8, k=3)
    assert set(details) == {
        "text_to_image", "image_to_text", "text_to_image itc", "image_to_text itc"
    }  # fmt: skip
    assert all(values.shape == (8,) for values in details.values())
    found = rerank.retrieval(tiny_blip(), med.toy(), pairs=8, k=3)
    assert found == {name: float(values.mean()) for name, values in details.items()}
