"""Texts for a picture: true of its scene, of all kinds, and never a question."""

from __future__ import annotations

from collections import Counter

from vlcourse.data.corpus.pictured import FACTS, said_again, what_follows
from vlcourse.data.corpus.tellings import AGAIN, stated
from vlcourse.data.told import WorldTexts
from vlcourse.data.world import World
from vlcourse.data.world.questions import turned
from vlcourse.data.world.read import read

SCENES = World("train", 200, objects=(1, 3)).scenes()


def test_a_picture_said_again_is_one_of_its_captions() -> None:
    for scene in SCENES:
        (opening, learn), (caption, _) = said_again(scene)
        assert opening == AGAIN and learn
        said = read(caption.removesuffix("."))
        assert said is not None and scene.is_true(said)
    assert len({said_again(SCENES[0], key)[1] for key in range(20)}) > 5


def test_facts_are_true_and_of_all_kinds() -> None:
    kinds: Counter[str] = Counter()
    for scene in SCENES:
        true = {}
        for question in scene.questions():
            for one in (question, *turned(question)):
                if question.kind not in ("colour", "shape") and scene.is_true(one.fact):
                    true[f"{stated(one.fact)}."] = one.kind
        said = [text for text, _ in what_follows(scene)]
        assert 1 < len(said) <= FACTS and len(set(said)) == len(said)
        kinds.update(true[text] for text in said)  # KeyError where one is not true
    assert set(kinds) == {"count", "existence", "relation", "comparison"}
    assert min(kinds.values()) > 100


def test_texts_of_a_dataset_are_of_both_kinds_never_ask_and_change_from_round_to_round() -> None:
    world = World("train", 50, objects=(1, 2))
    told = WorldTexts(world, 150, again=30)
    samples = told.__getitems__(range(150))
    assert not any("?" in text for s in samples for text, _ in s["parts"])
    assert 25 < sum(s["kind"] == "again" for s in samples) < 65
    assert told[7]["parts"] == samples[7]["parts"]
    same = [samples[i]["parts"] == samples[i + 50]["parts"] for i in range(50)]
    assert sum(same) < 10 and samples[3]["scene"] == samples[53]["scene"]
