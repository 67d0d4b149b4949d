"""Reading comprehension: what is asked, how it is judged, and what the shipped models answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import zoo
from vlcourse.data.collate.text import PrefixCollate, TextCollate
from vlcourse.data.world import words
from vlcourse.data.world.questions import QUESTION_KINDS
from vlcourse.evals import reading
from vlcourse.generate import generate
from vlcourse.recipes import RECIPES, SHIPPED
from vlcourse.tokenizers import sentence_bpe

READERS = [
    pytest.param(
        name, marks=pytest.mark.skipif(name not in SHIPPED, reason=f"{name} is not shipped yet")
    )
    for name in ("llm-toy", "seq2seq-toy")
]


class Oracle(nn.Module):
    """Gives each next token of the batch it was shown, but for one token a row, where it errs."""

    def __init__(self, collate: Any, wrong: set[int]) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))
        self.collate, self.wrong, self.rows = collate, wrong, 0

    def forward(self, *inputs: Tensor) -> Tensor:
        targets = self.known["targets"].clamp(min=0)
        logits = F.one_hot(targets, 622).float()
        for row in range(len(targets)):
            if self.rows + row in self.wrong:
                place = (self.known["targets"][row] != -100).nonzero()[-1]
                logits[row, place] = F.one_hot(torch.tensor(3), 622).float()
        self.rows += len(targets)
        return logits

    def watch(self, samples: Any) -> dict[str, Any]:
        self.known = self.collate(samples)
        return self.known


@pytest.mark.parametrize("kind", [TextCollate, PrefixCollate])
def test_every_token_of_an_answer_must_be_right(kind):
    asked = reading.comprehension_set(scenes=5)
    oracle = Oracle(kind(sentence_bpe.toy(), end=False), wrong={0, 7, len(asked) - 1})
    right = reading.answers_right(oracle, oracle.watch, [p for _, _, p in asked], batch_size=16)
    assert (~right).nonzero().flatten().tolist() == [0, 7, len(asked) - 1]


def test_each_question_stands_alone_and_every_kind_is_asked():
    asked = reading.comprehension_set("heldout", scenes=60)
    kinds = Counter(question.kind for _, question, _ in asked)
    assert set(kinds) == set(QUESTION_KINDS) and min(kinds.values()) > 100
    for scene, question, parts in asked:
        assert 2 <= len(scene.objects) <= 4
        assert [learned for _, learned in parts] == [False, False, True]
        assert parts[1][0] == f"question: {question.text} answer:"
        assert any((o.colour, o.shape) in words.HELD_OUT for o in scene.objects)
    yes = Counter((q.kind, q.answer) for _, q, _ in asked)
    for kind in ("existence", "relation", "comparison"):
        assert abs(yes[kind, "yes"] - yes[kind, "no"]) < 0.3 * kinds[kind]


@pytest.mark.parametrize("kind", QUESTION_KINDS)
@pytest.mark.parametrize("name", READERS)
def test_the_shipped_readers_answer_95_of_100(name, kind):
    """The bar of the course, for each kind, on compositions that they never read of."""
    assert zoo.card(name)["metrics"][kind] >= 0.95


@pytest.mark.parametrize("name", READERS)
def test_the_shipped_readers_are_those_of_their_cards(name):
    card, collate = zoo.card(name), RECIPES[name].collate(train=False)
    assert card["bytes"] <= 4_000_000
    measured = reading.comprehension(zoo.load(name), collate, scenes=25)
    assert all(abs(measured[kind] - card["metrics"][kind]) <= 0.1 for kind in QUESTION_KINDS)
    rows = zoo.log(name)
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] == card["steps"]
    assert all(abs(rows[-1][kind] - card["metrics"][kind]) < 0.02 for kind in QUESTION_KINDS)


@pytest.mark.parametrize("name", READERS)
def test_what_greedy_decoding_writes_is_what_is_judged(name):
    model, tokenizer = zoo.load(name), sentence_bpe.toy()
    asked = reading.comprehension_set(scenes=4)
    right = reading.answers_right(
        model, RECIPES[name].collate(train=False), [parts for _, _, parts in asked]
    )
    for (_, _, parts), judged in zip(asked, right.tolist(), strict=True):
        prompt = tokenizer.encode(f"{parts[0][0]} {parts[1][0]}", bos=True)
        answer = tokenizer.encode(parts[2][0])
        written = generate(model, torch.tensor([prompt]), max_new_tokens=len(answer))[0].tolist()
        assert (written == answer) == judged
