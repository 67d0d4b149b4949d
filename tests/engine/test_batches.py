"""Which samples make a batch: a function of the step, in the order that the data asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch

from vlcourse.data.collate.text import rows_size
from vlcourse.data.corpus import NO_LESSONS, Corpus
from vlcourse.data.order import Order, Ordered
from vlcourse.data.world import World
from vlcourse.engine import Batches, batches
from vlcourse.recipes import RECIPES


def raw(samples: list[Any], generator: torch.Generator) -> dict[str, Any]:
    return {"ids": [sample["id"] for sample in samples]}


def numbers(dataset: Any, steps: tuple[int, ...] = (0, 1, 9, 41)) -> list[list[int]]:
    """Which of 160 samples are in these batches of four."""
    data = Batches(dataset, raw, 4, seed=1)
    return [[int(name.rpartition("/")[2]) for name in data[i]["ids"]] for i in steps]


def corpus(curriculum: bool, **changes: Any) -> Corpus:
    made = Corpus("train", 160, 0, recall=(24,) * 5 if curriculum else NO_LESSONS)
    made.order = replace(made.order, **changes)
    return made


def test_batches_are_those_that_the_shipped_weights_learned_from() -> None:
    """Stored when the order was still found by looking for attributes."""
    lists = [[10, 22, 2, 20], [16, 30, 29, 26], [48, 51, 60, 52], [13, 24, 3, 5]]
    assert numbers(corpus(True)) == numbers(corpus(True, size=rows_size)) == lists
    assert numbers(corpus(False)) == [
        [130, 78, 88, 20], [34, 128, 3, 94], [47, 149, 95, 106], [59, 77, 105, 98],
    ]  # fmt: skip
    assert numbers(corpus(False, size=rows_size)) == [
        [124, 72, 30, 93], [67, 7, 120, 9], [151, 100, 108, 69], [119, 140, 108, 38],
    ]  # fmt: skip
    assert numbers(World("train", 160)) == [
        [36, 139, 120, 67], [34, 130, 48, 10], [69, 4, 47, 21], [10, 102, 52, 71],
    ]  # fmt: skip


def test_recipes_ask_for_their_order() -> None:
    for name, size in (("llm-toy", Order().size), ("seq2seq-toy", rows_size)):
        order = RECIPES[name].build_data("train").order
        assert order == Order(shuffled=False, window=8, size=size)
        assert RECIPES[name].build_data("test").order.shuffled
    assert RECIPES["llm-capstone"].build_data("train").order == Order(window=8)
    assert not isinstance(RECIPES["clip-toy"].build_data("train"), Ordered)


class Sorted(tiny.Pairs, Ordered):
    order = Order(shuffled=False, window=5, size=lambda sample: -int(sample["id"][5:]))


def test_an_order_is_kept_and_a_window_sorted() -> None:
    data = Batches(Sorted(23), tiny.collate, 4, seed=5)
    assert [data.rows(i) for i in (0, 4, 5)] == [[0, 1, 2, 3], [16, 17, 18, 19], [0, 1, 2, 3]]
    read = [[int(name[5:]) for name in data[i]["ids"]] for i in range(5)]
    assert sorted(read, reverse=True) == [[n, n - 1, n - 2, n - 3] for n in (19, 15, 11, 7, 3)]
    assert read != sorted(read, reverse=True)  # but batches come in random order


def test_batches_are_a_function_of_the_step() -> None:
    data = Batches(tiny.Pairs(20), tiny.collate, 6, seed=5)
    assert len(data) == 3
    epoch = [row for i in range(3) for row in data.rows(i)]
    assert len(set(epoch)) == 18  # no sample twice, the remainder left out
    assert epoch != [row for i in range(3, 6) for row in data.rows(i)]
    again = Batches(tiny.Pairs(20), tiny.collate, 6, seed=5)
    assert again.rows(4) == data.rows(4)
    assert Batches(tiny.Pairs(20), tiny.collate, 6, seed=6).rows(0) != data.rows(0)


def test_ranks_slice_the_batch_of_one_process() -> None:
    whole = Batches(tiny.Pairs(), tiny.collate, 8, seed=5)
    parts = [Batches(tiny.Pairs(), tiny.collate, 8, 5, rank, 2) for rank in range(2)]
    for i in (0, 3, 11):
        assert whole[i]["ids"] == parts[0][i]["ids"] + parts[1][i]["ids"]
    with pytest.raises(batches.BatchError, match="multiple of 3"):
        Batches(tiny.Pairs(), tiny.collate, 8, 5, 0, 3)
    with pytest.raises(batches.BatchError, match="the dataset has 5"):
        Batches(tiny.Pairs(5), tiny.collate, 8)


def test_augmentation_has_its_own_generator_per_step() -> None:
    def noisy(samples: Any, generator: torch.Generator) -> dict[str, Any]:
        return {"noise": torch.rand(3, generator=generator)}

    data = Batches(tiny.Pairs(), noisy, 8, seed=5)
    assert torch.equal(data[2]["noise"], data[2]["noise"])
    assert not torch.equal(data[2]["noise"], data[3]["noise"])


def test_streams_go_on_over_epochs_and_skip_to_the_step() -> None:
    def ids(start: int, rank: int = 0, world: int = 1) -> list[list[str]]:
        stream = batches.StreamBatches(tiny.Stream(), tiny.collate, 6, 0, rank, world, start)
        return [batch["ids"] for batch, _ in zip(stream, range(8 - start), strict=False)]

    whole = ids(0)
    assert whole[3] == ["0:18", "0:19", "1:0", "1:1", "1:2", "1:3"]
    assert ids(5) == whole[5:]
    assert [a + b for a, b in zip(ids(0, 0, 2), ids(0, 1, 2), strict=True)] == whole
