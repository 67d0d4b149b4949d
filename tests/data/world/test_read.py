"""Reading captions back: a sentence of the grammar gives its facts, and nothing else is read."""

from __future__ import annotations

import pytest

from vlcourse.data import world
from vlcourse.data.world import Count, HasObject, Relation, Scene, Thing, World
from vlcourse.data.world.captions import GRAMMAR
from vlcourse.data.world.read import read
from vlcourse.tokenizers import toy


def scenes(n: int) -> list[Scene]:
    splits = ("train", "test", "heldout", "shifted")
    return [scene for split in splits for scene in World(split, n=n, seed=5).scenes()]


def test_every_caption_is_read_back_and_every_foil_is_false() -> None:
    seen, foils = set(), 0
    for scene in scenes(90):
        for true in scene.captions():
            found = read(true.text)
            assert found is not None, true
            assert (found.facts, found.text) == (true.facts, true.text)
            assert scene.is_true(found)
            seen.add(true.pattern)
        for _, false in scene.foils():
            found = read(false.text)
            assert found is not None and found.facts == false.facts, false
            assert not scene.is_true(found), false
            foils += 1
    assert seen == set(GRAMMAR) and foils > 4_000


def test_full_captions_and_what_the_tokenizer_writes() -> None:
    tokenizer = toy()
    _, captions = world.two_object_set(400, seed=3)
    others = [scene.caption() for scene in scenes(800)]
    for caption in (*captions, *others):
        written = tokenizer.decode(tokenizer.encode(caption))
        for text in (caption.text, written, f" {caption.text.capitalize()}. "):
            found = read(text)
            assert found is not None and found.facts == caption.facts, text


def test_facts_by_hand() -> None:
    found = read("three objects, with an orange star to the left of a small red cross")
    star, cross = Thing("orange", "star"), Thing("red", "cross", "small")
    assert found is not None and set(found.facts) == {
        HasObject(star), HasObject(cross), Relation(star, "left of", cross), Count(Thing(), 3)
    }  # fmt: skip
    found = read("two red objects, and one of the objects is a red ring")
    assert found is not None
    assert set(found.facts) == {Count(Thing("red"), 2), HasObject(Thing("red", "ring"))}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a photo of a cat",
        "a red circle a red circle",
        "a orange star",
        "an red circle",
        "a red circle above",
        "above a red circle there is",
        "a red circle is bigger than a blue star and",
        "two circle in it",
        "there are two crosss",
        "there are five circles",
        "a large circle",
        "a red circle, a blue star",
        "a red small circle",
        "one objects, one of them a red circle",
    ],
)
def test_what_is_no_caption(text: str) -> None:
    assert read(text) is None
