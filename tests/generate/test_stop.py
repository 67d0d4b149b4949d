"""Stop strings: wherever they lie in the tokens, and however long the text is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from table import Letters, Table
from torch import Tensor

from vlcourse import tokenizers
from vlcourse.generate import generate, search, stream_text
from vlcourse.generate.steps import Ends, Options
from vlcourse.layers.cache import Started
from vlcourse.tokenizers import sentence_bpe


def says(text: list[int]) -> Table:
    """A model that writes these ids, each of which comes once, whatever the prompt."""
    rows = torch.zeros(261, 261)
    for now, then in zip([260, *text], text, strict=False):
        rows[now, then] = 9.0
    return Table(rows)


def stopped(text: list[int], stop: Sequence[str], **options: Any) -> tuple[list[int], str]:
    found = search(
        says(text), torch.tensor([[260]]), Options(len(text), stop=stop, pad=0, **options),
        tokenizer=Letters(),
    )  # fmt: skip
    assert found.texts is not None
    return found.tokens[0, 0].tolist(), found.texts[0][0]


def test_a_stop_string_may_span_tokens_and_end_within_one() -> None:
    a, b, c, d = b"abcd"
    assert stopped([a, b, c, d], ["bc"]) == ([a, b, c], "a")
    assert stopped([a, 257, 258, d], ["stop"]) == ([a, 257, 258], "a")
    assert stopped([a, 256, d], ["to"]) == ([a, 256], "as")  # in the middle of a token
    assert stopped([a, 257, 259, 258, d], ["stop"]) == ([a, 257, 259, 258], "a")  # an empty one
    assert stopped([a, b, c, d], ["x", "cd", "b"]) == ([a, b], "a")
    assert stopped([a, b, c, d], ["xyz"]) == ([a, b, c, d], "abcd")
    assert stopped([a, b, c, d], ["d"], end=b) == ([a, b], "a")  # the end id came first
    assert stopped([a, b], ["a"]) == ([a], "")


def test_a_stop_string_within_the_bytes_of_characters() -> None:
    text = [97, *"é".encode(), 122, *"中".encode(), 98]
    assert stopped(text, ["é"]) == (text[:3], "a")
    assert stopped(text, ["z中"]) == (text[:7], "aé")
    assert stopped(text, ["ézb", "中c"])[1] == "aéz中b"


@pytest.mark.parametrize("tokenizer", [tokenizers.toy, sentence_bpe.toy])
def test_stop_strings_with_the_courses_tokenizers(tokenizer: Any) -> None:
    tokenizer = tokenizer()
    ids = tokenizer.encode(
        "a red circle is left of two blue squares. where is the circle? naïve 中"
    )
    text = tokenizer.decode(ids)
    for start in range(0, len(text) - 6, 3):
        stop = text[start : start + 6]
        ends = Ends(Options(9, stop=[stop]), tokenizer)
        over = [bool(ends.reached(torch.tensor([ids[:n]]))) for n in range(1, len(ids) + 1)]
        first = [stop in tokenizer.decode(ids[:n]) for n in range(1, len(ids) + 1)].index(True)
        assert over.index(True) == first, stop
        assert ends.text(ids[: first + 1]) == text[: text.index(stop)]


def test_the_search_for_stop_strings_does_not_grow_with_the_text() -> None:
    class Counting(Letters):
        longest = 0

        def decode(self, ids: Sequence[int]) -> str:
            self.longest = max(self.longest, len(ids))
            return super().decode(ids)

    tokenizer = Counting()
    ends = Ends(Options(9, stop=["quite long"]), tokenizer)
    for length in (10, 100, 5000):
        assert not ends.reached(torch.full((2, length), 97)).any()
    assert tokenizer.longest <= 20


def test_stop_strings_in_beam_search() -> None:
    a, b, c, d = b"abcd"
    assert stopped([a, b, c, d], ["bc"], beams=2) == ([a, b, c], "a")


def writes(prompt: list[int], ids: list[int]) -> Table:
    """A model that writes these ids after the prompt; no id comes twice."""
    rows = torch.zeros(622, 622)
    for now, then in zip([prompt[-1], *ids], ids, strict=False):
        rows[now, then] = 9.0
    return Table(rows)


def test_the_prompt_and_the_continuation_are_the_text() -> None:
    toy = sentence_bpe.toy()
    whole = toy.encode("a red circle is left of two blue squares", bos=True)
    for n in (1, 2, 4):  # after the start of the text alone, after a word, after three
        model, prompt = writes(whole[:n], whole[n:]), torch.tensor([whole[:n]])
        before = toy.decode(whole[:n])
        for how in ({}, {"beams": 2}):
            options = Options(len(whole) - n, **how)
            found = search(model, prompt, options, tokenizer=toy).texts
            assert found is not None
            assert before + found[0][0] == "a red circle is left of two blue squares"
        options = Options(len(whole) - n, stop=[" is", " left"])
        found = search(model, prompt, options, tokenizer=toy).texts
        assert found is not None and before + found[0][0] == "a red circle"
        pieces = list(stream_text(model, prompt, options, tokenizer=toy))
        assert before + "".join(pieces) == "a red circle" and len(pieces) == 4 - n
    # a stop string at the very beginning; one that the prompt has, too, does not count
    model, prompt = writes(whole[:4], whole[4:]), torch.tensor([whole[:4]])
    for stop, text in (([" is"], ""), (["red"], " is left of")):
        found = search(model, prompt, Options(3, stop=stop), tokenizer=toy).texts
        assert found == [[text]]


def test_an_encoder_decoder_begins_a_text() -> None:
    toy = sentence_bpe.toy()
    ids = toy.encode("two blue squares")

    class Encoder(Table):
        def start(self, tokens: Any, mask: Any, new_tokens: int, **_: Any) -> Started:
            started = super().start(torch.zeros(len(tokens), 1).long(), mask, new_tokens)
            return started._replace(tokens=torch.zeros(len(tokens), 1).long())

    model = Encoder(writes([0], ids).rows.data)
    prompt = torch.tensor([toy.encode("a red circle")])
    assert search(model, prompt, Options(3), tokenizer=toy).texts == [["two blue squares"]]


def test_padding_after_a_stop_string_has_no_text() -> None:
    toy = sentence_bpe.toy()
    ids = toy.encode("a red circle is left of two blue squares")
    prompts = torch.tensor([[ids[0]], [ids[3]]])
    model = writes(ids[:1], ids[1:])
    for beams in (1, 2):
        found = generate(
            model, prompts, max_new_tokens=6, stop=[" left"], tokenizer=toy, beams=beams
        )
        texts = [toy.decode(row, continued=True) for row in found.tolist()]
        assert texts == [" red circle is left", " left"]
    assert (
        generate(model, prompts, max_new_tokens=6, stop=["left"], tokenizer=toy, pad=0)[1, 2] == 0
    )


def test_several_texts_that_begin_anew_are_read_each() -> None:
    """A model whose prompt is no beginning of the text (a picture, a question) reads none of it."""

    class Answerer(Table):
        def start(self, tokens: Tensor, mask: Any, new_tokens: int, **_: Any) -> Started:
            begun = super().start(tokens, mask, new_tokens)
            return begun._replace(tokens=torch.full((len(tokens), 1), 3))

    rows = torch.full((len(Letters.pieces),) * 2, -9.0)
    for one, other in ("ab", "bc", "cd", "xy", "yz"):
        rows[ord(one), ord(other)] = 9.0
    prompts = torch.tensor([[ord("a")], [ord("x")], [ord("b")]])
    found = search(Answerer(rows), prompts, Options(2, end=0), tokenizer=Letters())
    assert found.texts == [["bc"], ["yz"], ["cd"]]


def test_a_row_with_a_seed_of_its_own_draws_the_same_in_any_batch() -> None:
    rows = torch.randn(len(Letters.pieces), len(Letters.pieces)) / 2
    options, prompts = Options(8, temperature=1.0), torch.tensor([[1], [1], [2]])
    model, seeds = Table(rows), [5, 6, 7]
    drawn = search(model, prompts, options, generator=seeds).tokens
    assert torch.equal(
        drawn.flip(0), search(model, prompts.flip(0), options, generator=[7, 6, 5]).tokens
    )
    assert torch.equal(drawn[1:2], search(model, prompts[1:2], options, generator=[6]).tokens)
    assert not torch.equal(drawn[0], drawn[1])
