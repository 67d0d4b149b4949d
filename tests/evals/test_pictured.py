"""Answers and captions of a language model that was given a picture: the new text only, the same in
any batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vlcourse import tokenizers
from vlcourse.data.corpus import ask
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.evals import pictured, vqa
from vlcourse.generate import Options, generate
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.recipes.blip2 import TOY_MUTE

WORDS = tokenizers.llama()
TOWER = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
DECODER = LLaMAConfig(WORDS.vocab_size, 16, 1, 2, hidden=16, context=64)
SEQ2SEQ = Seq2SeqConfig(WORDS.vocab_size, 16, 1, 1, 2, 8, 16, max_distance=64)
KINDS = pytest.mark.parametrize("kind", ["decoder", "seq2seq"])


def tiny(kind: str) -> BLIP2LLM:
    torch.manual_seed(0)
    qformer = replace(TOY_MUTE.qformer, queries=3, width=16, layers=1, heads=2, image_width=64)
    llm = DECODER if kind == "decoder" else SEQ2SEQ
    at = int(kind == "decoder")
    model = replace(TOY_MUTE, image=TOWER, qformer=qformer, llm=llm, queries_at=at).build()
    for name, weight in model.named_parameters():  # so that the picture is seen
        if weight.ndim == 2 and ("cross" in name or name.startswith("projection")):
            weight.data.mul_(30)
    model.norm_image.norm.weight.data.mul_(300)  # the tower's tokens are tiny before a training
    return model.eval()


ASKED = vqa.question_set("heldout", 8, objects=(1, 2))


@KINDS
@pytest.mark.parametrize("blind", [False, True])
def test_an_answer_does_not_depend_on_the_batch(kind: str, blind: bool) -> None:
    model = tiny(kind)
    together = pictured.answers(model, WORDS, ASKED, blind=blind)
    alone = pictured.answers(model, WORDS, ASKED, blind=blind, batch_size=1)
    assert together == alone and len(set(together)) > 1
    assert len({len(WORDS.encode(question.text)) for _, question in ASKED}) > 2


@KINDS
def test_only_the_new_text_comes_back(kind: str) -> None:
    model, scenes = tiny(kind), [scene for scene, _ in ASKED]
    prompts = [ask(question) for _, question in ASKED]
    options = Options(3)
    found = pictured.continued(model, WORDS, scenes, prompts, options)
    for text, prompt in zip(found, prompts, strict=True):
        assert prompt not in text
    for scene, prompt, text in zip(scenes, prompts, found, strict=True):
        read = torch.tensor([WORDS.encode(prompt, bos=kind == "decoder")])
        pixels = pictured.drawn([scene], model)
        new = generate(model, read, max_new_tokens=3, end=WORDS.eos, pixels=pixels)[0].tolist()
        assert 1 <= len(new) <= 3
        assert WORDS.decode([i for i in new if i != WORDS.eos]).strip() == text
    begun = [f"{prompt} {text}" for prompt, text in zip(prompts, found, strict=True)]
    if kind == "decoder":  # going on from what was written gives the same as writing on
        longer = pictured.continued(model, WORDS, scenes, prompts, Options(5))
        for long, short in zip(longer, found, strict=True):  # a character may be half written
            assert long.startswith(short.rstrip("\ufffd"))
    assert len(set(begun)) == len(set(prompts)) or len(set(begun)) > 1


@KINDS
def test_the_picture_is_seen_and_the_blind_do_not_see_it(kind: str) -> None:
    model = tiny(kind)
    asked = [(scene, ASKED[0][1]) for scene, _ in ASKED]  # one question of many pictures
    assert len(set(pictured.answers(model, WORDS, asked))) > 1
    assert len(set(pictured.answers(model, WORDS, asked, blind=True))) == 1


@KINDS
def test_a_caption_is_what_follows_the_words_that_ask_for_one(kind: str) -> None:
    model = tiny(kind)
    scenes = [scene for scene, _ in ASKED[:4]]
    texts = pictured.written(model, WORDS, scenes)
    assert texts == pictured.written(model, WORDS, scenes, batch_size=1)
    assert len(texts) == 4 and not any(text.startswith(AGAIN) for text in texts)


@KINDS
def test_all_that_is_measured(kind: str) -> None:
    found = pictured.zero_shot(tiny(kind), WORDS, scenes=6)
    kinds = vqa.QUESTION_KINDS
    for name in ("", " blind"):
        mean = sum(found[f"{each}{name}"] for each in kinds) / len(kinds)
        assert found[f"mean{name}"] == pytest.approx(mean)
    assert {"true", "unreadable", "coverage"} <= found.keys()
