"""Only answers are learned: exactly, at adversarial joins, and never a mean over nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from vlcourse import tokenizers
from vlcourse.data.collate.text import IGNORED, TextCollate
from vlcourse.data.collate.told import ToldCollate
from vlcourse.data.instructed import Instructed, alpaca_prompt
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.instruct import Record, Turn

TOKENIZER = tokenizers.llama()
# Texts that would merge with what stands before or after them, or that no piece is made for.
ANSWERS = (
    "red", " red", "red ", ":", "the", "\n", "\n\nred", "a\n### Response:b", "1", "12", "é", "猫",
    "🐈", "</s>", "<unk>", "s", "es", "'", " ", "  two", "\ttab",
)  # fmt: skip


def records(*turns: Turn) -> list[Record]:
    """The first of a hundred is for the test."""
    return [
        Record("f:0", (Turn("a", "b"),)),
        *(Record(f"f:{i}", (t,)) for i, t in enumerate(turns, 1)),
    ]


@pytest.mark.parametrize("answer", [text for text in ANSWERS if text.strip()])
@pytest.mark.parametrize("instruction", ["name it", "name it:", "name i", "名", "a " * 9, "\n"])
def test_what_is_learned_decodes_to_exactly_the_answer(instruction: str, answer: str) -> None:
    data = Instructed(records(Turn(instruction, answer)), "f", TOKENIZER, 2000)
    batch = TextCollate(TOKENIZER, 2000)([data[0]])
    targets = batch["targets"][0]
    learned = targets[targets != IGNORED].tolist()
    assert learned[-1] == TOKENIZER.eos
    assert TOKENIZER.decode(learned) == answer
    before = batch["tokens"][0][: int((targets != IGNORED).nonzero()[0]) + 1].tolist()
    assert TOKENIZER.decode(before) == alpaca_prompt(instruction)


def test_a_conversation_learns_each_answer() -> None:
    turns = (Turn("what?", "red", "a circle"), Turn("why?", "so"))
    data = Instructed([*records(), Record("f:1", turns)], "f", TOKENIZER, 2000)
    parts = data[0]["parts"]
    assert [text for text, learn in parts if learn] == ["red", "so"]
    assert "### Input:\na circle\n\n### Response:" in parts[0][0]
    assert parts[2][0] == "\n\n### Instruction:\nwhy?\n\n### Response:"


def test_what_cannot_be_learned_is_dropped_and_reported() -> None:
    prompt = len(TOKENIZER.encode(alpaca_prompt("name it")))
    long = Turn("name it " + "and again " * 50, "red")
    given = records(Turn("name it", "red"), Turn("name it", " \n"), long, Turn("name it", "é" * 99))
    with pytest.warns(UserWarning, match=r"skipped 2 of 4 .*1 empty answer, 1 answer cut off"):
        data = Instructed(given, "mine", TOKENIZER, prompt + 3)
    assert "f:2 (empty answer); f:3 (answer cut off)" in data.report()
    assert [data[i]["id"] for i in range(len(data))] == ["f:1", "f:4"]
    targets = TextCollate(TOKENIZER, prompt + 3)([data[0], data[1]])["targets"]
    assert (targets != IGNORED).any(dim=1).all()  # something of each is left
    with pytest.raises(SourceError, match="mine has nothing for 'train'. mine: skipped 2 of 2"):
        Instructed(given[2:], "mine", TOKENIZER, 8)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_border_of_the_context(spare: int) -> None:
    """The first word of the answer is the last target: it stands at place context + 1."""
    length = 1 + len(TOKENIZER.encode(alpaca_prompt("name it")))
    given, context = records(Turn("name it", "red")), length + spare
    if spare < 0:
        with pytest.raises(SourceError, match="1 answer cut off"):
            Instructed(given, "f", TOKENIZER, context)
        return
    data = Instructed(given, "f", TOKENIZER, context)
    learned = TextCollate(TOKENIZER, context)([data[0]])["targets"] != IGNORED
    assert int(learned.sum()) == 1 + spare


def test_the_test_has_records_that_training_never_sees() -> None:
    many = [Record(f"f:{i}", (Turn("a", "b"),)) for i in range(250)]
    train, test = (Instructed(many, "f", TOKENIZER, 500, split) for split in ("train", "test"))
    names = [[data[i]["id"] for i in range(len(data))] for data in (train, test)]
    assert names[1] == ["f:0", "f:100", "f:200"] and len(names[0]) == 247
    assert not set(names[0]) & set(names[1])


def test_the_id_0_can_be_learned() -> None:
    class Zero:
        bos, eos, vocab_size = 1, 2, 9

        def encode(self, text: str) -> list[int]:
            return [0 if sign == "0" else 3 for sign in text]

    batch = TextCollate(Zero(), 50)([{"id": "a", "parts": (("q", False), ("0", True))}])  # type: ignore[arg-type]
    assert batch["targets"].tolist() == [[IGNORED, 0, 2]]


def test_pictures_beside_texts(tmp_path: Path) -> None:
    Image.new("RGB", (20, 30), "red").save(tmp_path / "a.png")
    given = [*records(Turn("what?", "red")), Record("f:2", (Turn("what?", "it"),), "a.png")]
    data = Instructed(given, "f", TOKENIZER, 2000, folder=tmp_path)
    batch = ToldCollate(TextCollate(TOKENIZER, 2000), 16)([data[0], data[1]])
    assert batch["pixels"].shape == (1, 3, 16, 16)
    assert batch["shown"].tolist() == [False, True] and not batch["captions"].any()
    blind = Instructed(given, "f", TOKENIZER, 2000)
    assert "pixels" not in ToldCollate(TextCollate(TOKENIZER, 2000), 16)([blind[0], blind[1]])
    lost = [*records(), Record("f:1", (Turn("what?", "it"),), "b.png")]
    with pytest.raises(SourceError, match=r"f:1: missing image file \(.*b.png\)"):
        Instructed(lost, "f", TOKENIZER, 2000, folder=tmp_path)[0]
    told = ToldCollate(TextCollate(TOKENIZER, 20), 16)
    captions = told([{"id": "a", "kind": "caption", "text": "a cat"}])["captions"]
    assert torch.equal(captions, torch.tensor([True]))
