"""Reading ahead in processes that share nothing: macOS, Windows, and Linux from Python 3.14 on."""

from __future__ import annotations

import pickle
from functools import partial

import pytest
import tiny
import torch
from torch.utils.data import DataLoader

from vlcourse.engine import batches
from vlcourse.engine.parallel import Ranks
from vlcourse.recipes import RECIPES


@pytest.mark.parametrize("name", ["clip-toy", "llm-toy", "seq2seq-toy"])
def test_what_a_worker_needs_can_be_sent_to_it(name: str) -> None:
    recipe = RECIPES[name]
    dataset, collate = recipe.build_data("train"), recipe.collate(train=True)
    here = batches.Batches(dataset, collate, 4, seed=0, rank=0, world=1)
    there = pickle.loads(pickle.dumps(here))
    for key, value in here[3].items():
        other = there[3][key]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def test_workers_that_start_from_nothing_give_the_same_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = partial(DataLoader, multiprocessing_context="forkserver")
    monkeypatch.setattr(batches, "DataLoader", fresh)
    (train, _), ranks = tiny.config(), Ranks("none", torch.device("cpu"))
    read = batches.loader(tiny.Pairs(), tiny.collate, train, ranks, range(2), workers=1)
    here = batches.Batches(tiny.Pairs(), tiny.collate, train.batch_size, train.seed, 0, 1)
    for step, batch in enumerate(read):
        assert all(torch.equal(batch[key], here[step][key]) for key in ("x", "y"))
    assert step == 1
