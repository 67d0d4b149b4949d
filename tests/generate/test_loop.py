"""Writing with any model: draws, ends, batches, conditions, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from table import Letters, Table
from torch import nn

from vlcourse import VlcourseError
from vlcourse.generate import generate, left_pad, search
from vlcourse.generate.steps import Options
from vlcourse.layers.cache import KVCache
from vlcourse.models.llama import LLaMA, LLaMAConfig


@pytest.fixture(scope="module")
def llama() -> LLaMA:
    """A tiny LLaMA with large random weights, so that its texts vary."""
    torch.manual_seed(5)
    model = LLaMAConfig(vocab_size=31, width=24, layers=2, heads=4, kv_heads=2, hidden=33).build()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def test_draws_depend_on_the_generator_and_the_row_alone(llama: LLaMA) -> None:
    def written(rows: torch.Tensor, **options: Any) -> torch.Tensor:
        generator = torch.Generator().manual_seed(11)
        return generate(llama, rows, temperature=1.0, generator=generator, **options)

    prompts = torch.randint(0, 31, (4, 5))
    whole = written(prompts, max_new_tokens=12)
    assert torch.equal(whole, written(prompts, max_new_tokens=12))
    assert torch.equal(whole[:2], written(prompts[:2], max_new_tokens=12))
    assert torch.equal(whole[:, :7], written(prompts, max_new_tokens=7))
    assert len(set(map(tuple, whole.tolist()))) == 4
    end = int(whole[1, 2])  # row 1 ends early, the others go on as before
    ended = written(prompts, max_new_tokens=12, end=end, pad=30)
    for row, old in zip(ended.tolist(), whole.tolist(), strict=True):
        last = old.index(end) + 1 if end in old else 12
        assert row == (old[:last] + [30] * 12)[: len(row)]
    torch.manual_seed(1)
    first = generate(llama, prompts, temperature=1.0, max_new_tokens=6)
    assert not torch.equal(first, generate(llama, prompts, temperature=1.0, max_new_tokens=6))


def test_rows_end_alone_and_are_padded() -> None:
    model = Table(torch.eye(6).roll(1, 1) * 9)  # counts: 0 1 2 3 4 5 0 …
    found = search(
        model, torch.tensor([[0], [3], [4]]), Options(10, end=5, pad=2), tokenizer=Letters()
    )
    assert found.tokens[:, 0].tolist() == [[1, 2, 3, 4, 5], [4, 5, 2, 2, 2], [5, 2, 2, 2, 2]]
    assert found.lengths.tolist() == [[5], [2], [1]]
    assert found.texts == [["\1\2\3\4"], ["\4"], [""]]
    one = 9 - math.log(math.exp(9) + 5)
    torch.testing.assert_close(found.scores, torch.full((3, 1), one))
    several = generate(model, torch.tensor([[0], [3]]), max_new_tokens=4, end=(2, 5))
    assert several.tolist() == [[1, 2], [4, 5]]
    assert generate(model, torch.tensor([[0]]), max_new_tokens=3).tolist() == [[1, 2, 3]]


def test_conditions_reach_the_model_which_comes_back_as_it_was() -> None:
    model = Table(torch.eye(4)).train()
    model.frozen = nn.Dropout().eval()
    found = generate(model, torch.tensor([[1]]), max_new_tokens=2, shift=0.5)
    assert model.calls == [(2, 0.5, False, False)]
    assert model.training and not model.frozen.training
    assert not found.is_inference()
    nn.Embedding(4, 2)(found).sum().backward()  # may be trained on
    with pytest.raises(TypeError, match="shift_by"):
        generate(model, torch.tensor([[1]]), max_new_tokens=2, shift_by=0.5)
    assert model.training


def test_a_prompt_of_vectors(llama: LLaMA) -> None:
    prompts = torch.randint(0, 31, (2, 5))
    expected = generate(llama, prompts, max_new_tokens=6)
    found = generate(llama, None, max_new_tokens=6, x=llama.token(prompts).detach())
    assert torch.equal(found, expected)


def test_the_head_reads_the_last_position_only_and_the_cache_never_moves(llama: LLaMA) -> None:
    shapes, places = [], set()
    hook = llama.head.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    original, caches = llama.new_cache, []

    def new_cache(batch: int, length: int) -> KVCache:
        caches.append(original(batch, length))
        return caches[-1]

    llama.new_cache = new_cache  # type: ignore[method-assign]
    step, seen = llama.step, []

    def watched(tokens: torch.Tensor, cache: KVCache) -> torch.Tensor:
        seen.append(tokens.shape)
        places.add((cache.layers[0].keys.data_ptr(), cache.layers[1].values.data_ptr()))
        return step(tokens, cache)

    llama.step = watched  # type: ignore[method-assign]
    try:
        generate(llama, torch.randint(0, 31, (2, 9)), max_new_tokens=6)
    finally:
        hook.remove()
        del llama.new_cache, llama.step
    assert set(shapes) == {(2, 24)} and len(shapes) == 6
    assert seen == [(2, 1)] * 5
    assert len(caches) == 1 and len(places) == 1
    assert caches[0].length == 9 + 5


def test_rows_of_different_lengths_do_not_influence_each_other(llama: LLaMA) -> None:
    rows = [[3], [7, 2, 9, 4, 1], [5, 6, 8], list(range(1, 12))]
    tokens, mask = left_pad(rows, pad=30)
    for options in ({}, {"beams": 3, "end": 4}, {"repetition_penalty": 1.4}, {"end": (2, 5)}):
        together = generate(llama, tokens, mask=mask, max_new_tokens=9, pad=0, **options)
        for row, ids in zip(rows, together, strict=True):
            alone = generate(llama, torch.tensor([row]), max_new_tokens=9, pad=0, **options)[0]
            assert torch.equal(ids[: len(alone)], alone)
            assert (ids[len(alone) :] == 0).all()


def test_left_pad() -> None:
    tokens, mask = left_pad([[1], [2, 3, 4]], pad=9)
    assert tokens.tolist() == [[9, 9, 1], [2, 3, 4]]
    assert mask.tolist() == [[False, False, True], [True, True, True]]
    for rows, said in (([[1], []], "prompt 1 is empty"), ([], "no prompts")):
        with pytest.raises(ValueError, match=said):
            left_pad(rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0 is out of range"),
        ({"temperature": -1.0}, "temperature=-1.0 is out of range"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p=0.0 is out of range"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p=1.5 is out"),
        ({"temperature": 1.0, "top_k": -1}, "top_k=-1 is out"),
        ({"top_p": 0.9}, "set a temperature"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0 is out"),
        ({"beams": 0}, "beams=0 is out"),
        ({"beams": 2, "temperature": 1.0}, "does not draw"),
        ({"stop": ("a",)}, "give the tokenizer"),
        ({"stop": "a"}, "stop must be strings"),
        ({"stop": ("",)}, "stop must be strings"),
        ({"tokens": torch.zeros(1, 0, dtype=torch.long)}, "a prompt is empty"),
        (
            {"tokens": torch.zeros(3, dtype=torch.long)},
            r"shape \(B, P\), not int64 of shape \(3,\)",
        ),
        ({"tokens": torch.zeros(1, 3)}, "not float32"),
        ({"mask": torch.ones(1, 2, dtype=torch.bool)}, r"mask \(1, 2\) does not fit"),
        ({"mask": torch.tensor([[True, True, False]])}, "belongs on the left"),
        ({"mask": torch.tensor([[False, False, False]])}, "a prompt is empty"),
        ({"x": torch.zeros(1, 3, 24)}, "one of the two"),
        ({"tokens": None}, "one of the two"),
        ({"tokens": [[1, 2]]}, "not a list"),
        ({"tokens": None, "x": torch.zeros(1, 24)}, r"vectors x of shape \(B, P, D\)"),
        ({"tokens": torch.ones(0, 3, dtype=torch.long)}, "there are no prompts"),
        ({"tokens": torch.tensor([[1, 31, 2]])}, "the id 31, but the model's ids are 0 to 30"),
        ({"tokens": torch.tensor([[1, -1, 2]])}, "the id -1, but"),
        ({"mask": torch.ones(1, 3)}, "the mask must be bool"),
        ({"temperature": math.nan}, "temperature=nan is out of range"),
        ({"temperature": 1e-9}, "too small"),
        ({"temperature": 1.0, "top_p": math.nan}, "top_p=nan is out"),
        ({"repetition_penalty": math.nan}, "repetition_penalty=nan is out"),
        ({"length_penalty": math.nan}, "length_penalty=nan is out"),
        ({"max_new_tokens": 2.5}, "whole numbers"),
        ({"end": 31}, "end=31 is no id of the model"),
        ({"end": "."}, "end must be an id"),
        ({"pad": 99}, "pad=99 is no id of the model"),
    ],
)
def test_errors_say_what_to_do(llama: LLaMA, options: dict[str, Any], said: str) -> None:
    arguments = {"tokens": torch.ones(1, 3, dtype=torch.long), "max_new_tokens": 3, **options}
    with pytest.raises(VlcourseError, match=said):
        generate(llama, **arguments)


def test_no_more_texts_than_beams() -> None:
    with pytest.raises(ValueError, match="between 1 and the 2 beams, not 3"):
        Options(5, beams=2, n_best=3)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"beams": 3, "end": 4}, {"temperature": 1.0}])
def test_a_gpu_writes_the_same(llama: LLaMA, options: dict[str, Any]) -> None:
    tokens, mask = left_pad([[3], [7, 2, 9, 4, 1]], pad=30)
    found = [
        generate(
            llama.to(device), tokens.to(device), mask=mask.to(device), max_new_tokens=9,
            generator=torch.Generator().manual_seed(0), repetition_penalty=1.2, **options,
        ).cpu()
        for device in ("cuda", "cpu")
    ]  # fmt: skip
    assert torch.equal(*found)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}, {"beams": 2}])
def test_a_damaged_model_is_said_to_be_one(value: float, options: dict[str, Any]) -> None:
    rows = torch.eye(6).roll(1, 1) * 9
    rows[3, 2] = value  # what follows a 3
    model, prompt = Table(rows), torch.tensor([[0]])
    assert generate(model, prompt, max_new_tokens=2).tolist() == [[1, 2]]
    with pytest.raises(VlcourseError, match="logits are NaN or infinite"):
        generate(model, prompt, max_new_tokens=4, **options)
    rows[3] = -math.inf  # nothing can follow
    with pytest.raises(VlcourseError, match="logits are NaN or infinite"):
        generate(Table(rows), prompt, max_new_tokens=5, **options)
    rows[3, 5] = 1.0  # one thing can
    assert 5 in generate(Table(rows), prompt, max_new_tokens=9, **options)[0]


class Sized(Letters):
    """Says how many ids it has."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size


def test_a_tokenizer_of_another_model_is_refused_before_writing() -> None:
    for ids, model_ids in ((5, 65), (100, 129), (64, 63), (64, 128)):
        model = Table(torch.eye(model_ids))
        with pytest.raises(VlcourseError, match=f"it has {ids} ids, the model {model_ids}"):
            generate(model, torch.tensor([[1]]), max_new_tokens=2, tokenizer=Sized(ids))
        assert not model.calls
    padded = Table(torch.eye(64).roll(1, 1) * 9)  # 61 ids mean something, three fill it up
    for options in ({}, {"beams": 2}):
        found = generate(
            padded, torch.tensor([[59]]), max_new_tokens=4, tokenizer=Sized(61), **options
        )
        assert found[0, 0] == 60 and (found < 61).all()
    with pytest.raises(VlcourseError, match="the id 61, but"):
        generate(padded, torch.tensor([[61]]), max_new_tokens=4, tokenizer=Sized(61))


numbers = st.one_of(st.none(), st.integers(-3, 12), st.floats(), st.text(max_size=2), st.booleans())
strange = st.one_of(numbers, st.lists(numbers, max_size=3), st.just(10**30))
wild = st.dictionaries(
    st.sampled_from(
        "temperature top_k top_p beams length_penalty repetition_penalty end stop pad".split()
    ),
    strange,
    max_size=4,
)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(wild, strange)
def test_any_options_give_a_text_or_one_sentence(options: dict[str, Any], length: Any) -> None:
    model = Table(torch.eye(6).roll(1, 1))
    try:
        found = generate(
            model, torch.tensor([[1], [4]]), max_new_tokens=length, tokenizer=Letters(), **options
        )
    except VlcourseError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert found.shape[0] == 2 and 1 <= found.shape[1] <= length
