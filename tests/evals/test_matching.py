"""Matching on foils and hard pairs: a model that knows, one that guesses, and one by hand."""

from __future__ import annotations

import pytest
import torch
from blip_fakes import tiny_blip

from vlcourse import losses, zoo
from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise
from vlcourse.evals import clip, matching
from vlcourse.evals.metrics import MetricError
from vlcourse.recipes import RECIPES
from vlcourse.tokenizers import med


def test_preferred() -> None:
    scores = torch.tensor([[2.0, 1.0, 3.0], [1.0, 1.0, 4.0]])
    assert matching.preferred(*scores).tolist() == [1, 0.5, 0]


def test_foil_pairs_are_of_their_kind() -> None:
    scenes = world.two_object_scenes(30, seed=7)
    for kind in world.FOILS:
        pairs = matching.foil_pairs(scenes, kind)
        assert len(pairs) > 15
        for scene, true, false in pairs:
            assert scene.is_true(true) and not scene.is_true(false) and false.kind == kind
    with pytest.raises(MetricError, match="none of the 0 scenes"):
        matching.foil_pairs([], "count")


def test_a_constant_head_scores_the_prior() -> None:
    """P(match) = 1/3 for everything: 0.6365 nats, and an excess of 0."""
    constant = torch.tensor([2 / 3, 1 / 3]).log().expand(3, 5, 2)
    found = matching.judged(constant)
    assert found["excess"].tolist() == pytest.approx([0] * 5, abs=1e-6)
    assert found["balanced accuracy"].tolist() == [0.5] * 5
    assert pytest.approx(0.6365, abs=1e-4) == losses.ITM_PRIOR


def test_judged_by_hand() -> None:
    yes, no = [-9.0, 9.0], [9.0, -9.0]
    found = matching.judged(torch.tensor([[yes, yes, no], [no, no, yes], [no, yes, yes]]))
    assert found["balanced accuracy"].tolist() == [1, 0.75, 0]
    wrong = torch.tensor([0, 18 / 3, 18.0]) - losses.ITM_PRIOR
    assert torch.allclose(found["excess"], wrong, atol=1e-4)


def test_details_of_a_tiny_blip() -> None:
    model, words = tiny_blip(), med.toy()
    scenes = world.two_object_scenes(6, seed=7)
    details = matching.foil_details(model, words, scenes, ["count"])
    pairs = matching.foil_pairs(scenes, "count")
    for i, (scene, true, false) in enumerate(pairs):
        pixels = normalise(scene.render(32)[None])
        with torch.no_grad():
            own, other = (
                model.match(pixels, *words([text], 64))[0].softmax(-1) for text in (true, false)
            )
        assert details["count"][i] == float(own[1] > other[1])
        assert details["count at .5"][i] == (float(own[1] > 0.5) + float(other[1] < 0.5)) / 2
    hard = matching.hard_details(model, words, pairs=6)
    assert hard["excess"].shape == (6,) and hard["excess"].std() > 0.01


def test_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = matching.matching(tiny_blip(), med.toy(), scenes=10)
    assert {"swapped relation", "swapped relation at .5", "excess"} < set(found)
    assert all(0 <= value <= 1 for name, value in found.items() if name != "excess")


def test_clip_prefers_true_attributes() -> None:
    """clip-toy hears a wrong colour or shape, and relations hardly (the claim clip.limits)."""
    model = clip.as_clip(zoo.load("clip-toy"))
    tokenizer = RECIPES["clip-toy"].tokenizer()
    scenes = world.two_object_scenes(120, seed=7)
    found = {
        kind: float(
            matching.clip_preferred(model, tokenizer, matching.foil_pairs(scenes, kind)).mean()
        )
        for kind in matching.KINDS
    }
    assert found["replaced attribute"] > 0.9 > 0.7 > found["swapped relation"]
