"""The toy world's language: every sentence is true, every foil is false, answers are balanced."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from vlcourse.data import world
from vlcourse.data.world import Comparison, Count, HasObject, Relation, Scene, Thing, World

SPLITS = ("train", "test", "heldout", "shifted")


def some(n: int = 1500) -> list[Scene]:
    return [scene for split in SPLITS for scene in World(split, n=n, seed=11).scenes()]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return some()


def true_by_hand(scene: Scene, fact: world.Fact) -> bool:
    """The truth of a fact, worked out in another way than the library's."""

    def fitting(thing: Thing) -> set[int]:
        wanted = {part for part in (thing.colour, thing.shape, thing.size) if part}
        return {i for i, o in enumerate(scene.objects) if wanted <= {o.colour, o.shape, o.size}}

    if isinstance(fact, HasObject):
        return bool(fitting(fact.thing))
    if isinstance(fact, Count):
        return len(fitting(fact.thing)) == fact.n
    a, b = fitting(fact.a), fitting(fact.b)
    if isinstance(fact, Comparison):
        sign = {"more": 1, "fewer": -1, "as many": 0}[fact.comparison]
        return np.sign(len(a) - len(b)) == sign
    step = {"above": (0, 1), "below": (0, -1), "left of": (1, 0), "right of": (-1, 0)}
    for i in a:
        for j in b - {i}:
            one, two = scene.objects[i], scene.objects[j]
            if fact.relation == "bigger than":
                if (one.size, two.size) == ("large", "small"):
                    return True
                continue
            sx, sy = step[fact.relation]
            if sx * (two.x - one.x) + sy * (two.y - one.y) >= 112 / 1024:
                return True
    return False


def test_no_caption_is_ever_false(scenes: list[Scene]) -> None:
    for i, scene in enumerate(scenes):
        said = scene.captions() if i % 4 == 0 else [scene.caption(key) for key in range(4)]
        for caption in said:
            assert caption.facts
            assert all(true_by_hand(scene, fact) for fact in caption.facts), (caption, scene)
            assert scene.is_true(caption)


def test_facts_agree_with_another_implementation(scenes: list[Scene]) -> None:
    """Facts of one scene checked on another: true and false ones."""
    seen = Counter()
    for scene, other in zip(scenes, scenes[1:], strict=False):
        for fact in (*other.caption(1).facts, *(q.fact for q in other.questions()[:40:5])):
            truth = true_by_hand(scene, fact)
            assert scene.is_true(fact) == truth, (fact, scene)
            seen[type(fact).__name__, truth] += 1
    assert min(seen.values()) > 10 and len(seen) == 8


def test_a_caption_says_what_its_facts_say(scenes: list[Scene]) -> None:
    for scene in scenes[::7]:
        for caption in scene.captions():
            for fact in caption.facts:
                if isinstance(fact, HasObject):
                    assert str(fact.thing) in caption
                elif isinstance(fact, Relation):
                    words = {"left of": "left", "right of": "right", "bigger than": "er than"}
                    words |= {"above": ("above", "higher"), "below": ("below", "lower")}
                    options = words[fact.relation]
                    options = (options,) if isinstance(options, str) else options
                    assert any(word in caption for word in options)
            # ... and no colour or shape is said that no fact states.
            stated = " ".join(map(str, caption.facts))
            for word in (*world.COLOURS, *world.SHAPES):
                assert (word in caption.split()) <= (word in stated)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_at_least_twelve_paraphrases(n: int) -> None:
    for seed in range(200):
        scene = Scene.sample(seed, n_objects=n)
        said = scene.captions()
        assert len(set(said)) == len(said) >= 12
        assert {scene.caption(key).pattern for key in range(20)} >= {scene.caption(0).pattern}
    patterns = {Scene.sample(s, n_objects=n).caption().pattern for s in range(600)}
    assert len(patterns) >= 12


def test_full_captions_are_common_in_training() -> None:
    full = 0
    data = World("train", n=2000, objects=(2, 2))
    for scene in data.scenes():
        caption = scene.caption()
        relations = [f for f in caption.facts if isinstance(f, Relation)]
        spatial = [f for f in relations if f.relation != "bigger than"]
        full += bool(spatial) and all(t.size for f in spatial for t in (f.a, f.b))
    assert full / len(data) > 0.25


def test_no_text_of_a_seen_split_names_a_held_out_pair() -> None:
    names = [f"{colour} {shape}" for colour, shape in world.HELD_OUT]
    for split in ("train", "shifted"):
        for scene in World(split, n=150).scenes():
            texts = [*scene.captions(), *(foil for _, foil in scene.foils())]
            texts += [q.text for q in scene.questions()]
            assert not any(name in text for text in texts for name in names)


def test_foils_are_false(scenes: list[Scene]) -> None:
    kinds = Counter()
    for scene in scenes[::12]:
        for caption, foil in scene.foils():
            assert foil != caption and scene.is_true(caption)
            assert not all(true_by_hand(scene, fact) for fact in foil.facts), (foil, scene)
            kinds[foil.kind] += 1
        caption = scene.caption()
        assert not scene.is_true(scene.foil(caption))
    assert set(kinds) == set(world.FOILS)


def test_foils_keep_the_words_they_swap() -> None:
    for scene in World("test", n=200, objects=(2, 2)).scenes():
        for caption, foil in scene.foils("swapped attribute"):
            drop = str.maketrans("", "", ",:")
            words = (text.translate(drop).split() for text in (caption, foil))
            one, two = (sorted(w for w in said if w not in ("a", "an")) for said in words)
            assert one == two
    one = Scene.sample(1, n_objects=1)
    with pytest.raises(ValueError, match="swapped relation"):
        one.foil(one.caption(), "swapped relation")


def test_questions(scenes: list[Scene]) -> None:
    yes, kinds = Counter(), Counter()
    for scene in scenes:
        asked = scene.questions()
        assert len({q.text for q in asked}) == len(asked)
        for q in asked:
            kinds[q.kind] += 1
            if q.answer in ("yes", "no"):
                assert true_by_hand(scene, q.fact) == (q.answer == "yes"), (q, scene)
                yes[q.kind, q.answer] += 1
            else:
                assert true_by_hand(scene, q.fact)
                if q.kind == "count":
                    assert q.fact.n == int(q.answer)
                else:
                    assert q.answer in (q.fact.thing.colour, q.fact.thing.shape)
    assert set(kinds) == set(world.QUESTION_KINDS)
    for kind in ("existence", "relation", "comparison"):
        share = yes[kind, "yes"] / (yes[kind, "yes"] + yes[kind, "no"])
        assert 0.45 <= share <= 0.55, (kind, share)


def test_the_words_of_a_question_do_not_give_its_answer_away(scenes: list[Scene]) -> None:
    by_start: dict[str, Counter[str]] = {}
    names = {*world.COLOURS, *world.SHAPES}
    for scene in scenes:
        for q in scene.questions():
            if q.kind in ("relation", "comparison"):
                words = [w for w in q.text[:-1].split() if w not in names]
                by_start.setdefault(" ".join(words), Counter())[q.answer] += 1
    asked = {start: answers for start, answers in by_start.items() if answers.total() > 1000}
    assert len(asked) >= 5
    for start, answers in asked.items():
        assert 0.45 <= answers["yes"] / answers.total() <= 0.55, (start, answers)


def test_prompts_speak_as_captions_do() -> None:
    assert world.class_prompt("red", "circle") == "a red circle"
    assert world.class_prompt("orange", "star") == "an orange star"
    assert len(world.TEMPLATES) >= 7 and all(t.count("{}") == 1 for t in world.TEMPLATES)
    square = world.Object("red", "square", "small", 0.5, 0.5, 0.12)
    said = {caption for seed in range(20) for caption in Scene((square,), seed).captions()}
    for template in world.TEMPLATES:
        assert template.format(world.class_prompt("red", "square")) in said


def test_samples() -> None:
    data = World("train", n=64, size=40)
    samples = data.__getitems__(range(64))
    first = samples[3]
    assert first["id"] == "world/train/3" and first["image"].shape == (3, 40, 40)
    assert first["image"].dtype == torch.uint8 and isinstance(first["caption"], str)
    assert first["facts"] == first["caption"].facts and first["scene"].is_true(first["caption"])
    assert World("shifted", n=4, shift="noise", seed=2)[1]["id"] == "world/shifted-noise-2/1"
    assert data[-1]["id"] == "world/train/63"
    copy = pickle.loads(pickle.dumps(first["caption"]))
    assert copy == first["caption"] and copy.facts == first["caption"].facts
    assert len({s["caption"] for s in samples}) > 50


def test_data_loader_workers_give_the_same_samples() -> None:
    data = World("val", n=32)
    loader = torch.utils.data.DataLoader(
        data, batch_size=8, num_workers=1, collate_fn=list, multiprocessing_context="fork"
    )
    read = [sample for batch in loader for sample in batch]
    for i, sample in enumerate(read):
        assert torch.equal(sample["image"], data[i]["image"])
        assert sample["caption"] == data[i]["caption"] and sample["scene"] == data[i]["scene"]


@pytest.mark.parametrize("split", ["train", "test", "heldout", "shifted"])
def test_single_object_set(split: str) -> None:
    images, labels = world.single_object_set(split, n=120, size=32)
    assert images.shape == (120, 3, 32, 32) and labels.shape == (120,)
    classes = world.HELD_OUT if split == "heldout" else world.SEEN
    each = 120 // len(classes)
    counted = torch.bincount(labels, minlength=48)
    for i, pair in enumerate(world.CLASSES):
        assert counted[i] == (each if pair in classes else 0)
    # The colour of the class is the colour that is painted.
    for image, label in zip(images, labels.tolist(), strict=True):
        paint = torch.tensor(world.RGB[world.CLASSES[label][0]])[:, None, None]
        others = torch.tensor([world.RGB[c] for c in world.COLOURS])[:, :, None, None]
        nearest = (image - others.int()).abs().sum(1).amin((1, 2)).argmin()
        if split != "shifted":
            assert (others[nearest] == paint).all()


def test_two_object_set_has_one_true_picture_per_caption() -> None:
    images, captions = world.two_object_set(n=256, size=32)
    scenes = world.two_object_scenes(256)
    assert images.shape == (256, 3, 32, 32) and len(set(captions)) == 256
    for i, caption in enumerate(captions):
        things = caption.content.things
        assert all(t.colour and t.shape and t.size for t in things)
        assert [scene.is_true(caption) for scene in scenes].index(True) == i
        assert sum(scene.is_true(caption) for scene in scenes) == 1
    other, _ = world.two_object_set(n=256, size=32, seed=1)
    assert not torch.equal(images, other)


def test_hugging_face_export() -> None:
    pytest.importorskip("datasets")
    data = World("test", n=20, size=32)
    table = data.to_hf()
    assert len(table) == 20 and {"image", "caption", "facts", "questions"} <= set(table.features)
    row = table[7]
    assert row["caption"] == data[7]["caption"] and row["image"].size == (32, 32)
    assert np.array_equal(np.asarray(row["image"]), data[7]["image"].permute(1, 2, 0).numpy())
    assert row["questions"][0]["question"] == data[7]["scene"].questions()[0].text
