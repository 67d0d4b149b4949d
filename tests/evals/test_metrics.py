"""Measures on matrices whose answer can be worked out by hand, and against brute force."""

import math

import pytest
import torch
from torchmetrics.retrieval import RetrievalMRR, RetrievalNormalizedDCG, RetrievalRecall

from vlcourse.evals import clip, metrics
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.vit import ViTConfig

# ranks of the diagonal, row by row: 0, 1, 2
SIMILARITY = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.7, 0.6, 0.3]])


def test_ranks_and_what_follows_from_them():
    assert metrics.ranks(SIMILARITY).tolist() == [0, 1, 2]
    assert metrics.recall_at_k(SIMILARITY, 1) == pytest.approx(1 / 3)
    assert metrics.recall_at_k(SIMILARITY, 2) == pytest.approx(2 / 3)
    assert metrics.mean_reciprocal_rank(SIMILARITY) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert metrics.ndcg(SIMILARITY) == pytest.approx((1 + 1 / math.log2(3) + 1 / 2) / 3)


def test_ranks_against_sorting():
    similarity = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))
    order = similarity.argsort(dim=1, descending=True)
    expected = (order == torch.arange(40)[:, None]).float().argmax(dim=1)
    assert torch.equal(metrics.ranks(similarity), expected)


@pytest.mark.parametrize("seed", range(5))
def test_both_directions_against_torchmetrics(seed):
    n = 30
    similarity = torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    similarity += torch.eye(n) * 1.5
    ours = metrics.retrieval(similarity)
    assert list(ours) == ["text_to_image", "image_to_text"]
    indexes = torch.arange(n).repeat_interleave(n)
    target = torch.eye(n, dtype=torch.bool).flatten()
    for name, matrix in (("text_to_image", similarity), ("image_to_text", similarity.T)):
        theirs = {f"recall@{k}": RetrievalRecall(top_k=k) for k in (1, 5, 10)}
        theirs |= {"mrr": RetrievalMRR(), "ndcg": RetrievalNormalizedDCG()}
        assert ours[name].keys() == theirs.keys()
        for key, metric in theirs.items():
            scores = matrix.sigmoid().flatten()  # torchmetrics drops scores of 0 and less
            expected = float(metric(scores, target, indexes=indexes))
            assert ours[name][key] == pytest.approx(expected, abs=1e-5), (name, key)
    assert ours["text_to_image"] != ours["image_to_text"]


def test_several_right_answers():
    """Two pictures with two captions each (Flickr8k has five): rows are captions."""
    right = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.bool)
    similarity = torch.tensor([[0.9, 0.1], [0.8, 0.5], [0.3, 0.7], [0.6, 0.4]])
    found = metrics.retrieval(similarity, right)
    assert metrics.ranks(similarity, right).tolist() == [0, 0, 0, 1]
    assert found["text_to_image"]["recall@1"] == pytest.approx(3 / 4)
    assert metrics.ranks(similarity.T, right.T).tolist() == [0, 0]
    assert found["image_to_text"]["recall@1"] == found["image_to_text"]["mrr"] == 1.0
    # The second picture's captions are at ranks 0 and 2 of 4.
    gain = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert found["image_to_text"]["ndcg"] == pytest.approx((1 + gain) / 2)
    # A wrong column that ties with the best right one counts half, rounded up.
    tied = torch.zeros(1, 4)
    assert metrics.ranks(tied, torch.tensor([[True, True, False, False]])).tolist() == [1]


@pytest.mark.parametrize("seed", range(3))
def test_gain_of_several_right_answers_against_torchmetrics(seed):
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(6, 20, generator=generator)
    right = torch.rand(6, 20, generator=generator) < 0.3
    right[:, 0] = True
    indexes = torch.arange(6).repeat_interleave(20)
    theirs = RetrievalNormalizedDCG()(similarity.flatten(), right.flatten(), indexes=indexes)
    assert metrics.ndcg(similarity, right) == pytest.approx(float(theirs), abs=1e-5)
    theirs = RetrievalMRR()(similarity.flatten(), right.flatten(), indexes=indexes)
    assert metrics.mean_reciprocal_rank(similarity, right) == pytest.approx(float(theirs), abs=1e-5)


def test_seed_interval_is_students():
    low, high = metrics.seed_interval([1.0, 2.0, 3.0])
    assert (low, high) == (
        pytest.approx(2 - 4.3026527 / math.sqrt(3)),
        pytest.approx(2 + 4.3026527 / math.sqrt(3)),
    )
    assert metrics.seed_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    with pytest.raises(ValueError, match="not 1"):
        metrics.seed_interval([1.0])


def test_a_constant_matrix_does_not_score():
    assert metrics.recall_at_k(torch.zeros(10, 10), 1) == 0.0


def test_accuracy():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    assert metrics.accuracy(logits, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for seed in range(200):
        sample = (torch.rand(100, generator=generator) < 0.3).float()
        low, high = metrics.bootstrap_interval(sample, resamples=400, seed=seed)
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_interval_of_a_constant_has_no_width():
    assert metrics.bootstrap_interval(torch.ones(9)) == (1.0, 1.0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="must be square"):
        metrics.ranks(torch.zeros(2, 3))
    with pytest.raises(metrics.MetricError, match="row 1 has no right answer"):
        metrics.ranks(torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]))
    with pytest.raises(metrics.MetricError, match="bool of the shape .2, 3., not float32 .2, 2."):
        metrics.ranks(torch.zeros(2, 3), torch.eye(2))
    with pytest.raises(ValueError, match="at least one value"):
        metrics.bootstrap_interval(torch.tensor([]))


def test_pictures_with_several_captions_are_found_by_each(monkeypatch):
    """Flickr8k's layout: a row a caption, the picture again in each. All is right here."""
    pictures = torch.randint(0, 255, (2, 3, 8, 8), dtype=torch.uint8)
    rows = [{"image": pictures[i // 5], "caption": f"{i // 5} told in way {i}"} for i in range(10)]
    means = {float(picture.float().mean()): i for i, picture in enumerate(pictures)}
    one_hot = torch.eye(2)

    def embed_images(model, images):
        return torch.stack([one_hot[means[float(image.float().mean())]] for image in images])

    monkeypatch.setattr(clip, "embed_images", embed_images)
    monkeypatch.setattr(
        clip, "embed_texts", lambda m, t, texts, **_: one_hot[[int(text[0]) for text in texts]]
    )
    text = TextConfig(vocab_size=8, context=4, width=8, layers=1, heads=2)
    image = ViTConfig(image_size=8, patch_size=4, width=8, layers=1, heads=2)
    model = CLIPConfig(embed=4, image=image, text=text).build()
    found = clip.clip_pairs(model, None, rows)
    assert found == {"text_to_image": 1.0, "image_to_text": 1.0}
    rows[0]["caption"] = "1 told wrongly"
    assert clip.clip_pairs(model, None, rows)["text_to_image"] == pytest.approx(0.9)
