"""Relative positions: T5's buckets, what a decoder may not see, and where the heads begin."""

from __future__ import annotations

import pytest
import torch

from vlcourse.layers.relative import RelativeBias, relative_buckets


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("buckets, max_distance", [(32, 128), (8, 12), (64, 1000), (20, 50)])
def test_buckets_are_those_of_transformers(bidirectional, buckets, max_distance):
    modeling = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = torch.arange(-3000, 3001)
    expected = modeling.T5Attention._relative_position_bucket(
        distance, bidirectional, buckets, max_distance
    )
    found = relative_buckets(distance, bidirectional, buckets, max_distance)
    assert torch.equal(found, expected)
    assert found.min() == 0 and found.max() == buckets - 1


def test_the_decoder_bias_hides_what_is_ahead():
    bias = RelativeBias(2, bidirectional=False)
    whole = bias(6)
    ahead = torch.ones(6, 6, dtype=torch.bool).triu(1)
    assert torch.equal(whole == -torch.inf, ahead.expand(1, 2, 6, 6))
    assert torch.equal(bias(2, past=4), whole[:, :, 4:])
    assert torch.equal(bias(1, past=5), whole[:, :, 5:])


@pytest.mark.parametrize(
    ("heads", "bidirectional", "falls"),
    [(4, True, [2, 2, 1 / 32, 1 / 32]), (4, False, [2, 1 / 2, 1 / 8, 1 / 32]), (1, False, [2])],
)
def test_heads_begin_near_by_and_the_last_ones_see_far(heads, bidirectional, falls):
    to_the_left = RelativeBias(heads, bidirectional)(6)[0, :, 5]  # of the last of six positions
    slopes = (to_the_left[:, 1] - to_the_left[:, 0]).tolist()
    assert slopes == pytest.approx(falls)
    looks_at = to_the_left.argmax(dim=1).tolist()
    assert looks_at == [5 if bidirectional and head % 2 else 4 for head in range(heads)]
