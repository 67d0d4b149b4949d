"""Questions: the set, the two ways to answer, the blind baseline, and accuracy by kind."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from blip_fakes import tiny_answerer

from vlcourse.data.collate.pictures import normalise
from vlcourse.data.world import QUESTION_KINDS, Count, Question, Thing
from vlcourse.evals import vqa
from vlcourse.generate import generate
from vlcourse.tokenizers import med


def test_the_set_has_every_kind_and_every_answer_is_listed() -> None:
    asked = vqa.question_set(scenes=300, per_kind=2)
    kinds = Counter(question.kind for _, question in asked)
    assert set(kinds) == set(QUESTION_KINDS) and max(kinds.values()) <= 600
    answers = Counter(question.answer for _, question in asked)
    assert set(answers) == set(vqa.ANSWERS)
    assert 0.9 < answers["yes"] / answers["no"] < 1.1
    assert asked == vqa.question_set(scenes=300, per_kind=2)


def test_ranked_is_the_likeliest_of_exact_log_probabilities() -> None:
    model, words = tiny_answerer(seed=2), med.toy()
    asked = vqa.question_set(scenes=3)[:16]
    found = vqa.rank_answers(model, words, asked, batch_size=3)
    candidates, mask = words(vqa.ANSWERS, 64)
    scored = []
    for (scene, question), answer in zip(asked, found, strict=True):
        pixels = normalise(scene.render(32)[None])
        tokens, tokens_mask = words([question.text], 64)
        with torch.no_grad():
            scores = model.rank(pixels, tokens, tokens_mask, candidates, mask, 1000)[0]
        assert answer == vqa.ANSWERS[int(scores.argmax())]
        scored.append(scores)
    assert torch.stack(scored).std(dim=0).max() > 1e-3  # the question and the picture matter
    turned = vqa.rank_answers(model, words, asked, vqa.ANSWERS[::-1])
    assert turned == found


def test_written_is_greedy_decoding() -> None:
    model, words = tiny_answerer(), med.toy()
    asked = vqa.question_set(scenes=2)[:4]
    found = vqa.write_answers(model, words, asked, batch_size=4)
    pixels = normalise(torch.stack([scene.render(32) for scene, _ in asked]))
    tokens, mask = words([question.text for _, question in asked], 64)
    ids = generate(
        model, None, max_new_tokens=vqa.LONGEST, end=720,
        pixels=pixels, questions=tokens, questions_mask=mask,
    )  # fmt: skip
    for text, row in zip(found, ids.tolist(), strict=True):
        assert text == words.decode(row[: row.index(720)] if 720 in row else row)
    assert any(found)


def ask(text: str, kind: str, answer: str) -> tuple:
    return None, Question(text, answer, kind, Count(Thing(), 0))


def test_blind_answers_by_hand() -> None:
    learned = [ask("how many?", "count", "2"), ask("how many?", "count", "2")]
    learned += [ask("how many?", "count", "1"), ask("how many stars?", "count", "0")]
    learned += [ask("how many rings?", "count", answer) for answer in ("0", "0")]
    learned += [ask("what colour?", "colour", "red")]
    asked = [ask("how many?", "count", "2"), ask("how many crosses?", "count", "1")]
    asked += [ask("what hue?", "colour", "red"), ask("is there?", "existence", "yes")]
    found = vqa.blind_answers(learned, asked)
    assert found == ["2", "0", "red", ""]
    details = vqa.by_kind(asked, found)
    assert {kind: values.tolist() for kind, values in details.items()} == {
        "count": [1, 0], "colour": [1], "existence": [0]
    }  # fmt: skip
    assert vqa.overall(details) == 0.5


def test_blind_is_far_from_the_bar() -> None:
    """Without looking less than half of the questions is answered; the bar for a model is 90 %."""
    asked = vqa.question_set(scenes=300)
    learned = vqa.question_set("train", 600, per_kind=4)
    details = vqa.by_kind(asked, vqa.blind_answers(learned, asked))
    assert 0.3 < vqa.overall(details) < 0.6
    for kind in ("existence", "relation", "comparison"):
        assert float(details[kind].mean()) < 0.68


def test_everything_at_once() -> None:
    asked = vqa.question_set(scenes=2)
    found = vqa.vqa(tiny_answerer(), med.toy(), asked, learned=asked)
    assert {"all", "all written", "all blind", "count", "count blind"} <= set(found)
    assert found["all blind"] == pytest.approx(1, abs=0.35)
