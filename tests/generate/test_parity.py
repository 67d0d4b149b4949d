"""Token for token what transformers' generate writes: greedy and beam search, odd sizes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcourse.generate import generate, left_pad, search
from vlcourse.generate.steps import Options
from vlcourse.models.llama import LLaMA
from vlcourse.weights import from_hf

VOCABULARY, PAD = 53, 52  # padding with id 0 their beam search replaces by the end id


@pytest.fixture(scope="module", params=[4, 2], ids=["multi-head", "grouped"])
def twins(request: pytest.FixtureRequest) -> tuple[Any, LLaMA]:
    """A tiny random LLaMA, theirs and ours; large weights, so that the texts vary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=24, intermediate_size=41, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=request.param, initializer_range=0.35,
        bos_token_id=None, eos_token_id=None, pad_token_id=PAD,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    return theirs, from_hf(theirs)


def prompts(seed: int, *lengths: int) -> tuple[Tensor, Tensor]:
    """Random prompts without the padding id, padded on the left."""
    torch.manual_seed(seed)
    return left_pad([torch.randint(0, PAD, (n,)).tolist() for n in lengths], PAD)


def theirs_new(model: Any, tokens: Tensor, mask: Tensor, **options: Any) -> Any:
    """Sequences (without the prompt) and scores of transformers' generate."""
    output = model.generate(
        tokens, attention_mask=mask.long(), do_sample=False, pad_token_id=PAD,
        return_dict_in_generate=True, output_scores=True, **options,
    )  # fmt: skip
    return output.sequences[:, tokens.shape[1] :], output


def same(ours: Tensor, theirs: Tensor) -> None:
    """Equal up to padding: transformers sometimes pads one column more."""
    length = max(ours.shape[-1], theirs.shape[-1])
    widened = [
        torch.nn.functional.pad(x, (0, length - x.shape[-1]), value=PAD) for x in (ours, theirs)
    ]
    assert torch.equal(*widened), f"\n{ours}\n{theirs}"


def frequent(model: LLaMA, tokens: Tensor, mask: Tensor) -> list[int]:
    """Ids that the model does write, so that an end occurs."""
    written = generate(model, tokens, mask=mask, max_new_tokens=16)
    return [i for i in written.flatten().bincount().argsort(descending=True).tolist() if i != PAD]


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy(twins: tuple[Any, LLaMA], penalty: float) -> None:
    hf, model = twins
    early = 0
    for seed in range(2):
        tokens, mask = prompts(seed, 5, 1, 9)
        ids = frequent(model, tokens, mask)
        for end in (None, ids[0], ids[:3]):
            expected, _ = theirs_new(
                hf, tokens, mask, max_new_tokens=17, eos_token_id=end, repetition_penalty=penalty
            )
            found = generate(
                model, tokens, mask=mask, max_new_tokens=17, end=end, pad=PAD,
                repetition_penalty=penalty,
            )  # fmt: skip
            same(found, expected)
            early += end is not None and bool((found[:, -1] == PAD).any() or found.shape[1] < 17)
    assert early >= 2


@pytest.mark.parametrize(("length_penalty", "beams"), [(-1.0, 5), (0.0, 2), (1.0, 3), (2.5, 2)])
def test_beam_search(twins: tuple[Any, LLaMA], beams: int, length_penalty: float) -> None:
    hf, model = twins
    tokens, mask = prompts(beams, 4, 7, 2)
    ids = frequent(model, tokens, mask)
    lengths = set()
    for end in (None, ids[0], ids[:2]):
        expected, output = theirs_new(
            hf, tokens, mask, max_new_tokens=11, eos_token_id=end, num_beams=beams,
            num_return_sequences=beams, length_penalty=length_penalty,
        )  # fmt: skip
        options = Options(
            max_new_tokens=11, end=end, pad=PAD, beams=beams, n_best=beams,
            length_penalty=length_penalty,
        )  # fmt: skip
        found = search(model, tokens, options, mask=mask)
        same(found.tokens.flatten(0, 1), expected)
        torch.testing.assert_close(
            found.scores.flatten(), output.sequences_scores, atol=1e-4, rtol=1e-4
        )
        assert (found.scores.diff(dim=1) <= 0).all()
        best = generate(
            model, tokens, mask=mask, max_new_tokens=11, end=end, pad=PAD, beams=beams,
            length_penalty=length_penalty,
        )  # fmt: skip
        same(best, found.tokens[:, 0])
        lengths |= set(found.lengths.flatten().tolist())
    assert len(lengths) >= 3 or length_penalty > 1  # texts did end early, at different lengths


def test_beam_search_with_a_repetition_penalty(twins: tuple[Any, LLaMA]) -> None:
    hf, model = twins
    for seed, penalty in itertools.product(range(2), (1.2, 0.8)):
        tokens, mask = prompts(seed, 6, 6)
        end = frequent(model, tokens, mask)[1]
        expected, _ = theirs_new(
            hf, tokens, mask, max_new_tokens=9, eos_token_id=end, num_beams=3,
            repetition_penalty=penalty,
        )  # fmt: skip
        found = generate(
            model, tokens, max_new_tokens=9, end=end, pad=PAD, beams=3, repetition_penalty=penalty
        )
        same(found, expected)


def test_without_the_cache_it_writes_the_same(twins: tuple[Any, LLaMA]) -> None:
    _, model = twins
    tokens, mask = prompts(8, 5, 2, 8)
    end = frequent(model, tokens, mask)[0]
    for extra in ({}, {"beams": 3, "end": end}, {"temperature": 1.0}, {"repetition_penalty": 1.5}):
        found = [
            generate(
                model, tokens, mask=mask, max_new_tokens=10, use_cache=use_cache,
                generator=torch.Generator().manual_seed(1), **extra,
            )
            for use_cache in (True, False)
        ]  # fmt: skip
        assert torch.equal(*found), extra


@pytest.mark.parametrize("beams", [1, 3])
def test_a_shortest_text(twins: tuple[Any, LLaMA], beams: int) -> None:
    hf, model = twins
    tokens, mask = prompts(7, 4, 4)
    end = generate(model, tokens, max_new_tokens=6, beams=beams)[0, :2].tolist()  # soon written
    lengths = []
    for shortest in (0, 5, 8):
        expected, _ = theirs_new(
            hf, tokens, mask, max_new_tokens=11, eos_token_id=end, num_beams=beams,
            min_new_tokens=shortest,
        )  # fmt: skip
        found = search(
            model, tokens, Options(11, end=end, pad=PAD, beams=beams, min_new_tokens=shortest)
        )
        same(found.tokens[:, 0], expected)
        lengths.append(int(found.lengths.min()))
    assert lengths[0] < 5 < lengths[1] and lengths[2] > 8, lengths
