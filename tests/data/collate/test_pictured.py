"""Texts after a picture: what is learned decodes to exactly its part, whatever is at the join."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vlcourse import tokenizers
from vlcourse.data.collate.pictured import PicturedCollate, PrefixPicturedCollate
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.data.told import WorldTexts
from vlcourse.data.world import World

WORDS = tokenizers.llama()


def sample(*parts: tuple[str, bool], kind: str = "facts") -> dict[str, Any]:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    return {"id": "a", "kind": kind, "image": image, "parts": parts}


def learned(batch: dict[str, Any], row: int = 0) -> str:
    return WORDS.decode([i for i in batch["targets"][row].tolist() if i not in (-100, WORDS.eos)])


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("question: what colour is the circle? answer:", "red."),
        ("a re", "d circle"),  # the word would be one token
        ("there are 1", "2 objects"),
        ("answer:", ":::"),
        ("the end.", "."),
    ],
)
def test_what_is_learned_decodes_to_exactly_the_answer(given: str, answer: str) -> None:
    batch = PicturedCollate(WORDS)([sample((given, False), (answer, True))])
    assert learned(batch) == answer
    read = batch["tokens"][0].tolist()
    ids = [WORDS.bos, *WORDS.encode(given), *WORDS.encode(answer)]
    assert read == ids and batch["targets"][0, -1] == WORDS.eos
    prefix = PrefixPicturedCollate(WORDS)([sample((given, False), (answer, True))])
    assert learned(prefix) == answer
    assert prefix["inputs"][0].tolist() == WORDS.encode(given)


def test_rows_of_a_batch_are_what_they_are_alone() -> None:
    samples = WorldTexts(World("train", 12), 12).__getitems__(range(12))
    for collate in (PicturedCollate(WORDS), PrefixPicturedCollate(WORDS)):
        batch = collate(samples)
        for i, one in enumerate(samples):
            alone = collate([one])
            for name, value in alone.items():
                if name != "ids":
                    length = value.shape[1]
                    assert torch.equal(batch[name][i : i + 1, :length], value), name
            assert (batch["targets"][i, alone["targets"].shape[1] :] == -100).all()
            if "inputs_mask" in batch:
                assert batch["inputs_mask"][i].sum() == alone["inputs"].shape[1]


def test_the_prefix_of_facts_is_some_of_them_and_a_picture_said_again_has_none() -> None:
    facts = sample(("one.", True), ("two.", True), ("three.", True))
    chance = torch.Generator().manual_seed(0)
    collate, cuts = PrefixPicturedCollate(WORDS), set()
    for _ in range(30):
        batch = collate([facts], chance)
        read, written = WORDS.decode(batch["inputs"][0].tolist()), learned(batch)
        assert f"{read} {written}" == "one. two. three."
        cuts.add(read)
    assert cuts == {"one.", "one. two."}
    again = collate([sample((AGAIN, True), ("a red circle.", True), kind="again")] * 2, chance)
    assert again["inputs"].shape == (2, 0) and learned(again) == f"{AGAIN} a red circle."


def test_stored_features_take_the_place_of_pixels() -> None:
    one = sample(("one.", True))
    del one["image"]
    batch = PicturedCollate(WORDS)([{**one, "features": torch.ones(4, 6).half()}] * 2)
    assert "pixels" not in batch
    assert batch["features"].shape == (2, 4, 6) and batch["features"].dtype == torch.float32
