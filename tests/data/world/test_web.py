"""Texts as the web has them: of every kind, with the truth beside them, the same everywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from vlcourse.data.sources import open_source
from vlcourse.data.world import Scene, World, web
from vlcourse.data.world.captions import Caption
from vlcourse.data.world.tongues import in_another_language
from vlcourse.data.world.web import KINDS, WebWorld, corrupt, corrupt_name, kind_of, litter
from vlcourse.data.world.words import COLOURS, SHAPES

SCENES = World(n=400, seed=3).scenes()
ENGLISH = {*COLOURS, *SHAPES, "object", "objects"}


def only(kind: str) -> dict[str, float]:
    return {kind: 1.0}


def test_a_clean_text_is_the_caption_of_the_scene() -> None:
    for scene in SCENES[:50]:
        said = corrupt(scene, rate=0.0)
        assert said == said.clean == scene.caption() and said.kind == "clean" and said.is_clean


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_what_it_says(kind: str) -> None:
    for scene in SCENES:
        said = corrupt(scene, rate=1.0, mix=only(kind))
        assert said.kind == kind and said.clean == scene.caption() and said != said.clean
        assert said.is_clean == (kind == "half")
        words = {word.rstrip("s,") for word in said.split()}
        if kind in ("file name", "camera", "unrelated"):
            assert not words & ENGLISH
            assert kind == "unrelated" or any(sign.isdigit() for sign in said)


def test_one_wrong_word_makes_the_caption_false_and_half_the_scene_stays_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Caption] = []
    for name in ("_wrong", "_half"):
        real = getattr(web, name)
        monkeypatch.setattr(web, name, lambda *a, real=real: made.append(real(*a)) or made[-1])
    for scene in SCENES:
        wrong = corrupt(scene, rate=1.0, mix=only("wrong word"))
        assert wrong == made[-1] and not scene.is_true(made[-1])
        if isinstance(made[-1], Caption) and len(wrong.split()) == len(wrong.clean.split()):
            different = [
                a for a, b in zip(wrong.split(), wrong.clean.split(), strict=True) if a != b
            ]
            assert len(different) <= 4  # a swap of two objects is the most
        half = corrupt(scene, rate=1.0, mix=only("half"))
        assert half == made[-1] and scene.is_true(made[-1])
        named = {fact.thing for fact in made[-1].facts}  # type: ignore[union-attr]
        assert len(named) == max(len(scene.objects) // 2, 1)


def test_another_language_agrees_in_gender_and_says_what_is_there() -> None:
    said = {in_another_language([("white", "star"), ("red", "cross")], key) for key in range(60)}
    assert {"ein weißer Stern und ein rotes Kreuz", "una estrella blanca y una cruz roja"} <= said
    assert "une étoile blanche et une croix rouge" in said and len(said) == 9


def test_rate_and_mix_are_kept_and_a_text_depends_on_its_seed_alone() -> None:
    drawn = [kind_of(key, 0.4, {"camera": 3, "half": 1}) for key in range(4000)]
    count = Counter(drawn)
    assert abs(count["clean"] / 4000 - 0.6) < 0.03
    assert abs(count["camera"] / (count["camera"] + count["half"]) - 0.75) < 0.04
    assert set(count) == {"clean", "camera", "half"}
    assert drawn[7:9] == [kind_of(key, 0.4, {"camera": 3, "half": 1}) for key in (7, 8)]
    assert corrupt(SCENES[3], 5) == corrupt(Scene.sample(SCENES[3].seed), 5)
    assert len({corrupt(SCENES[0], key, 1.0) for key in range(30)}) > 10
    dated = {litter("file name", key) for key in range(200)}
    assert len(dated) > 180


@pytest.mark.parametrize(
    ("rate", "mix", "said"),
    [
        (1.5, only("half"), "rate"),
        (0.5, {"halves": 1.0}, "'half'"),
        (0.5, {"half": 0.0}, "one above 0"),
        (0.5, {"half": -1.0, "camera": 2.0}, "0 or more"),
    ],
)
def test_bad_settings_are_refused(rate: float, mix: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WebWorld(n=3, rate=rate, mix=mix)


def test_a_photo_of_a_known_class() -> None:
    names, templates = ("cat", "dog", "ship"), ("a photo of a {}.", "a {}")
    said = [corrupt_name("cat", names, templates, key) for key in range(300)]
    assert {one.clean for one in said} == {"a photo of a cat.", "a cat"}
    wrong = {str(one) for one in said if one.kind == "wrong word"}
    assert wrong == {"a photo of a dog.", "a dog", "a photo of a ship.", "a ship"}
    assert {one.kind for one in said} == {*KINDS, "clean"} - {"half", "language"}
    with pytest.raises(ValueError, match="needs a scene"):
        corrupt_name("cat", names, templates, 0, mix=only("half"))


def test_web_world_is_world_with_other_texts_and_goes_to_parquet_and_back(tmp_path: Path) -> None:
    noisy, world = WebWorld("val", 25, rate=0.7), World("val", 25)
    samples = noisy.__getitems__(range(25))
    for sample, plain in zip(samples, world.__getitems__(range(25)), strict=True):
        assert torch.equal(sample["image"], plain["image"]) and sample["id"] == plain["id"]
        assert sample["clean"] == plain["caption"] and "facts" not in sample
        assert sample["caption"].kind == sample["kind"]
    assert 5 < sum(sample["kind"] != "clean" for sample in samples) < 25
    files = noisy.write(tmp_path / "noisy", rows=10)
    assert [file.name for file in files] == [f"web-0000{i}.parquet" for i in range(3)]
    read = open_source(tmp_path / "noisy")
    for sample, back in zip(samples, read.__getitems__(range(25)), strict=True):  # type: ignore[union-attr]
        assert torch.equal(sample["image"], back["image"]) and sample["id"] == back["id"]
        assert back["caption"] == sample["caption"]
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(files[0])
    assert table["kind"].to_pylist() == [sample["kind"] for sample in samples[:10]]
    assert table["is_clean"].to_pylist() == [sample["is_clean"] for sample in samples[:10]]
    assert not list((tmp_path / "noisy").glob(".tmp*"))
