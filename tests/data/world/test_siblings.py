"""Scenes in twos that differ in who stands where, or in which colour is whose."""

from __future__ import annotations

from dataclasses import replace

import torch

from vlcourse.data.world import Siblings, World
from vlcourse.data.world.facts import OPPOSITE, Relation
from vlcourse.data.world.siblings import recoloured, sibling, turned
from vlcourse.engine.batches import Batches
from vlcourse.recipes import RECIPES
from vlcourse.recipes.blip import TOY_DATA


def test_two_of_two_objects_show_the_same_things_and_each_caption_is_true_of_one_only() -> None:
    data, kinds = Siblings("train", 600, objects=(2, 2), seed=3), {"turned": 0, "recoloured": 0}
    samples = data.__getitems__(range(600))
    for one, two in zip(samples[::2], samples[1::2], strict=True):
        a, b = one["scene"], two["scene"]
        assert a.is_true(one["caption"]) and b.is_true(two["caption"])
        if b == turned(a) or b == recoloured(a):
            assert not a.is_true(two["caption"]) and not b.is_true(one["caption"])
            assert {o.shape for o in a.objects} == {o.shape for o in b.objects}
            assert sorted(o.colour for o in a.objects) == sorted(o.colour for o in b.objects)
            kinds["turned" if b == turned(a) else "recoloured"] += 1
    assert sum(kinds.values()) > 200  # the others' sibling belongs to another split
    assert min(kinds.values()) > 30


def test_what_is_turned_stands_the_other_way_round_and_stays_in_its_split() -> None:
    for scene in World("train", 50, objects=(2, 2)).scenes():
        other = sibling(scene)
        if other is None or other != turned(scene):
            continue
        said = [f for c in scene.captions() for f in c.facts if isinstance(f, Relation)]
        said = [fact for fact in said if fact.relation in OPPOSITE]
        assert said and not any(other.is_true(fact) for fact in said)
        assert turned(other) == scene


def test_a_sample_depends_on_its_number_alone_and_one_object_has_no_sibling() -> None:
    data = Siblings("train", 40)
    whole = data.__getitems__(range(40))
    for index in (0, 7, 13, 38):
        assert data[index]["caption"] == whole[index]["caption"]
        assert torch.equal(data[index]["image"], whole[index]["image"])
    assert sibling(World("train", 1, objects=(1, 1)).scenes()[0]) is None


def test_a_batch_keeps_them_together() -> None:
    recipe = replace(RECIPES["blip-toy"], data=replace(TOY_DATA, siblings=True))
    data = recipe.build_data("train")
    assert isinstance(data, Siblings) and type(recipe.build_data("val")) is World
    assert Batches(data, recipe.collate(True), 8, seed=5).rows(3) == list(range(24, 32))
