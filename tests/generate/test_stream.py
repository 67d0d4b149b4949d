"""Streaming: the same ids and the same text as generate's, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from table import Letters, Table
from torch import nn

from vlcourse import VlcourseError
from vlcourse.generate import Options, generate, search, stream, stream_text
from vlcourse.models.llama import LLaMA, LLaMAConfig


@pytest.fixture(scope="module")
def llama() -> LLaMA:
    """A tiny LLaMA with large random weights, so that its texts vary."""
    torch.manual_seed(5)
    model = LLaMAConfig(vocab_size=31, width=24, layers=2, heads=4, kv_heads=2, hidden=33).build()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def counting() -> Table:
    """0 1 2 3 4 5 0 …"""
    return Table(torch.eye(6).roll(1, 1) * 9)


@pytest.mark.parametrize(
    "options",
    [{}, {"end": (2, 5, 7)}, {"temperature": 1.0, "end": 4}, {"repetition_penalty": 1.5}],
)
def test_the_ids_are_those_of_generate(llama: LLaMA, options: dict[str, Any]) -> None:
    torch.manual_seed(2)
    prompts = torch.randint(0, 31, (3, 5))
    for use_cache in (True, False):
        seeded = (torch.Generator().manual_seed(4) for _ in "ab")
        how = {"max_new_tokens": 9, "use_cache": use_cache, "pad": 30, **options}
        expected = generate(llama, prompts, generator=next(seeded), **how)
        found = list(stream(llama, prompts, generator=next(seeded), **how))
        assert torch.equal(torch.stack(found, dim=1), expected)
        assert not found[0].is_inference()


def test_tokens_come_while_the_model_works() -> None:
    model, steps = counting(), []
    step = model.step
    model.step = lambda *args: steps.append(1) or step(*args)  # type: ignore[method-assign]
    tokens = stream(model, torch.tensor([[0]]), max_new_tokens=4)
    assert len(model.calls) == 1  # the prompt has been read
    for n, token in enumerate(tokens):
        assert token.tolist() == [n + 1] and len(steps) == n
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_the_model_comes_back_as_it_was_also_when_one_stops_early() -> None:
    model = counting().train()
    model.frozen = nn.Dropout().eval()
    for token in stream(model, torch.tensor([[0]]), max_new_tokens=4):
        assert not model.training and token.tolist() == [1]
        break
    assert model.training and not model.frozen.training
    tokens = stream(model, torch.tensor([[0]]), max_new_tokens=4)
    assert model.training  # nothing is asked for yet
    next(tokens)
    tokens.close()  # type: ignore[attr-defined]
    assert model.training
    model.rows.data[1] = float("nan")
    with pytest.raises(VlcourseError, match="NaN"):
        list(stream(model, torch.tensor([[0]]), max_new_tokens=4))
    assert model.training


def test_what_cannot_be_written_is_refused_at_once() -> None:
    model = counting()
    for wrong, said in (
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"tokens": torch.tensor([[6]])}, "the id 6"),
        ({"stop": ("a",)}, "give the tokenizer"),
    ):
        with pytest.raises(VlcourseError, match=said):
            stream(model, **{"tokens": torch.tensor([[0]]), "max_new_tokens": 3, **wrong})  # type: ignore[arg-type]
    for tokens, options in ((torch.zeros(2, 1).long(), Options(3)), (None, Options(3, beams=2))):
        with pytest.raises(VlcourseError, match="one prompt, not for 2|at the end only"):
            stream_text(model, tokens, options, tokenizer=Letters())


def pieces(text: list[int], stop: Sequence[str] = (), **options: Any) -> list[str]:
    """How a text of these ids, each of which comes once, is streamed."""
    rows = torch.zeros(261, 261)
    for now, then in zip([260, *text], text, strict=False):
        rows[now, then] = 9.0
    options_ = Options(len(text), stop=stop, pad=0, **options)
    model, prompt = Table(rows), torch.tensor([[260]])
    found = list(stream_text(model, prompt, options_, tokenizer=Letters()))
    whole = search(model, prompt, options_, tokenizer=Letters()).texts
    assert whole is not None and "".join(found) == whole[0][0] and all(found)
    return found


def test_text_is_shown_once_it_is_certain() -> None:
    a, b, c, d = b"abcd"
    assert pieces([a, b, c]) == ["a", "b", "c"]
    assert pieces([a, *"中".encode(), b]) == ["a", "中", "b"]  # a character is shown whole
    assert pieces([a, 0xE4, 0xB8]) == ["a", "\ufffd"]  # what never becomes one, at the end
    assert pieces([a, b, c, d], end=c) == ["a", "b"]
    assert pieces([a, b, c, d], ["bcd"]) == ["a"]
    assert pieces([a, b, c, d], ["bcx", "c"]) == ["a", "b"]
    assert pieces([a, b, c, d], ["bcx"]) == ["a", "bcd"]
    assert pieces([a, b, c], ["cd"]) == ["a", "b", "c"]
    assert pieces([a, 258, 257, b], ["stop"]) == ["a", "op", "stb"]
