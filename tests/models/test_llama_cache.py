"""The experiment llama.cache at a size that takes a second, and its rule."""

from __future__ import annotations

import pytest
import torch

from vlcourse.models.llama import LLaMAConfig
from vlcourse.teach.llama import claims
from vlcourse.teach.llama.experiments import cache
from vlcourse.teach.measurement import Measurement


def test_the_exponent_is_that_of_a_power() -> None:
    lengths = (16, 64, 128)
    assert cache.exponent(lengths, [3 * n**1.7 for n in lengths]) == pytest.approx(1.7)


def test_cache() -> None:
    config = LLaMAConfig(vocab_size=16, width=16, layers=1, heads=2)
    threads = torch.get_num_threads()
    found = cache.cache(settings=cache.Settings(config, lengths=(4, 8, 64), prompt=2))
    assert found.judged_by() is None
    assert set(found.figure["tokens a second"]) == {"with", "without"}
    assert len(found.figure["tokens a second"]["with"]) == 5
    assert 0.7 < found.measured < 1.3
    assert found.others["speed-up"] > 1
    assert claims.cache(found).word in ("holds", "does not show here", "fails")
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("with_", "without", "word"),
    [
        ((0.98, 1.02), (1.6, 1.8), "holds"),
        ((0.98, 1.24), (1.51, 1.6), "holds"),
        ((0.98, 1.3), (1.6, 1.8), "does not show here"),
        ((0.98, 1.02), (1.4, 1.8), "does not show here"),
        ((1.3, 1.5), (1.6, 1.8), "fails"),
        ((0.98, 1.02), (1.0, 1.2), "fails"),
    ],
)
def test_rule(with_: tuple[float, float], without: tuple[float, float], word: str) -> None:
    low, high = with_
    others = {"without low": without[0], "without high": without[1]}
    found = claims.cache(Measurement(low, low, high, seeds=(0, 1, 2), others=others))
    assert found.word == word
    assert f"{without[0]:.2f} to {without[1]:.2f}" in found.reason
