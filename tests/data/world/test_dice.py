"""Draws have names, and those that shipped models were trained on stay what they were."""

from __future__ import annotations

import hashlib

import pytest

from vlcourse.data.world import Scene
from vlcourse.data.world.dice import PURPOSES, Dice
from vlcourse.data.world.words import hash_int
from vlcourse.recipes import RECIPES


def test_draws_are_the_bits_of_the_hash() -> None:
    dice, bits = Dice(7, "question", 3), hash_int(7, PURPOSES["question"], 3)
    assert dice.bits == bits
    assert [dice.below(n, at) for n, at in ((5, 0), (100, 32))] == [bits % 5, (bits >> 32) % 100]
    assert dice.coin(9) == bool(bits >> 9 & 1)
    items = list("abcdefg")
    assert dice.pick(items, at=8) == items[(bits >> 8) % 7]
    assert dice.take(items, at=8) not in items and len(items) == 6


def test_purposes_and_turns_are_independent() -> None:
    assert len(set(PURPOSES.values())) == len(PURPOSES), "two purposes share a number"
    throws = {Dice(seed, purpose).bits for seed in range(100) for purpose in PURPOSES}
    assert len(throws) == 100 * len(PURPOSES)
    with pytest.raises(KeyError):
        Dice(0, "weather")


@pytest.mark.parametrize("n", [2, 3, 6, 100])
def test_draws_are_even(n: int) -> None:
    drawn = [Dice(seed, "recall").below(n, at=8) for seed in range(200 * n)]
    counts = [drawn.count(value) for value in range(n)]
    assert sum((count - 200) ** 2 / 200 for count in counts) < n + 4 * (2 * n) ** 0.5  # chi-square


def digest(texts: list[object]) -> str:
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:16]


def test_what_the_shipped_models_read_is_as_it_was() -> None:
    """Another digest means another corpus: then train the shipped models anew with it."""
    scenes = [Scene.sample(seed) for seed in range(50)]
    said = [
        (str(scene.caption()), list(map(str, scene.captions())), scene.questions())
        for scene in scenes
    ]
    assert digest(said) == "f1d944183feffe4d"
    data = RECIPES["llm-toy"].build_data("train")
    assert (
        digest([sample["text"] for sample in data.__getitems__(range(0, len(data), 499))])
        == "08379dbea9607f82"
    )
