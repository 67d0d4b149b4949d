"""Captions judged by the scene: true, false and unreadable ones, and a model's own."""

from __future__ import annotations

import pytest
import torch
from blip_fakes import tiny_blip

from vlcourse.data.collate.pictures import normalise
from vlcourse.data.world import Object, Scene
from vlcourse.evals import captions
from vlcourse.evals.captions import Writing
from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.tokenizers import med

SCENE = Scene(
    (
        Object("red", "circle", "small", 0.3, 0.3, 0.1),
        Object("blue", "star", "large", 0.7, 0.7, 0.2),
        Object("green", "ring", "small", 0.3, 0.7, 0.1),
    )
)


@pytest.mark.parametrize(
    ("text", "true", "unreadable", "coverage"),
    [
        ("a red circle above a green ring", 1, 0, 2 / 3),
        ("a red circle , a blue star and a green ring", 1, 0, 1),
        ("three objects, with a blue star below a red circle", 1, 0, 2 / 3),
        ("two objects, a blue star below a red circle", 0, 0, 2 / 3),
        ("there is a red star", 0, 0, 0),
        ("there is a large red circle", 0, 0, 0),
        ("there are two small objects", 1, 0, 0),
        ("a red circle a green ring", 0, 1, 0),
        ("a photo of a cat", 0, 1, 0),
    ],
)
def test_one_text(text: str, true: float, unreadable: float, coverage: float) -> None:
    found = captions.judge([text, "a red circle"], [SCENE, SCENE])
    judged = [float(found[name][0]) for name in ("true", "unreadable", "coverage")]
    assert judged == pytest.approx([true, unreadable, coverage])


def test_true_captions_are_judged_true_and_foils_false() -> None:
    scenes = captions.caption_set(60)
    said = [scene.caption(3) for scene in scenes]
    right = captions.judge(said, scenes)
    assert right["true"].mean() == 1 and right["unreadable"].sum() == 0
    assert 0.6 < right["coverage"].mean() <= 1
    wrong = captions.judge([s.foil(c) for s, c in zip(scenes, said, strict=True)], scenes)
    assert wrong["true"].sum() == 0 and wrong["cider"].mean() < right["cider"].mean()


def test_writing_is_generate_with_a_prompt() -> None:
    """Beam search and a prompt, batches of any size; the prompt is not returned."""
    model, words = tiny_blip(), med.toy()
    scenes = captions.caption_set(5)
    images = torch.stack([scene.render(48) for scene in scenes])  # resized on the way
    writing = Writing(prompt="a picture of", max_tokens=6)
    found = captions.write(model, words, images, writing, batch_size=2)
    prompt = words(["a picture of"], 64)[0][:, :-1].expand(5, -1)
    from vlcourse.data.collate.pictures import resize

    expected = generate(
        model, prompt, max_new_tokens=6, beams=3, end=720, pixels=normalise(resize(images, 32))
    )
    assert len(found) == 5 and len(set(found)) > 1
    for text, ids in zip(found, expected.tolist(), strict=True):
        assert text == words.decode(ids[: ids.index(720)] if 720 in ids else ids)
    with pytest.raises(ModelError, match="context"):
        captions.write(model, words, images, Writing(max_tokens=65))


def test_drawing_depends_on_the_seed_alone() -> None:
    model, words = tiny_blip(), med.toy()
    images = torch.stack([scene.render(32) for scene in captions.caption_set(3)])
    drawn = [
        captions.write(model, words, images, Writing(max_tokens=5, top_p=0.9, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_details_and_means_of_a_tiny_blip() -> None:
    model, words, scenes = tiny_blip(), med.toy(), captions.caption_set(4)
    writing = Writing(max_tokens=4, beams=1)
    details = captions.caption_details(model, words, scenes, writing)
    found = captions.captions(model, words, scenes, writing)
    assert found.pop("bleu4") == pytest.approx(0, abs=1e-3)
    assert found == {name: float(values.mean()) for name, values in details.items()}
    assert found["unreadable"] == 1 and found["true"] == 0  # random weights write noise
