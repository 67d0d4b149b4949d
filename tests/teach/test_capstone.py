"""The student's own model: the library's curve, what a verdict says, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse import zoo
from vlcourse.recipes import RECIPES, Recipe
from vlcourse.teach import capstone, yours
from vlcourse.teach.checking import Right
from vlcourse.teach.clip.exercises import capstone as clip
from vlcourse.teach.exercise import find
from vlcourse.teach.llama.exercises import capstone as llama

BOTH = [("clip-capstone", "clip.model"), ("llm-capstone", "llama.model")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written to the user's own cache."""
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(yours, "passed", {})


@pytest.mark.parametrize(("recipe", "exercise"), BOTH)
def test_with_the_reference_it_is_the_librarys_and_comes_back(
    recipe: str, exercise: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = recipe.replace("-capstone", "-yours")
    with pytest.raises(zoo.ZooError, match=f"{own} is the model that you train in lecture 0"):
        zoo.load(own)
    run = capstone.train(recipe, find(exercise).reference, steps=3)
    assert len(run.yours) == 3 and run.mine == ()
    assert run.verdict() == "identical" and "bit for bit" in str(run)
    capstone.keep(run)
    assert f"kept as {own} (3 steps; 0 of its" in capsys.readouterr().out
    loaded = zoo.load(own)
    assert type(loaded) is type(run.model) and not loaded.training
    weights = loaded.state_dict()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert zoo.card(own)["steps"] == 3 and [row["step"] for row in zoo.log(own)] == [1, 2, 3]


def rows(*values: float) -> list[dict[str, float]]:
    return [{"step": i, "loss": v, "grad_norm": 1.0} for i, v in enumerate(values, start=1)]


def run_of(mine: list[dict[str, float]], theirs: list[dict[str, float]]) -> capstone.Run:
    model: Any = None
    return capstone.Run(capstone.RECIPES["clip-capstone"], model, mine, theirs, 1.0, ())


def test_a_drift_is_told_from_another_model() -> None:
    library = rows(*[4.0] * 8)
    drift = run_of(rows(*[4.0] * 6, 4.001, 4.02), library)
    assert drift.verdict() == "rounding" and "past 1e-5 at step 7, to 2e-02" in str(drift)
    close = run_of(rows(*[4.0] * 7, 4.000001), library)
    assert close.verdict() == "rounding" and "differ by 1e-06 at most" in str(close)
    middle = run_of(rows(*[4.0] * 7, 4.00002), library)
    assert middle.verdict() == "rounding" and "past 1e-5 at step 8" in str(middle)
    forward = run_of(rows(4.1, *[4.0] * 7), library)
    assert forward.verdict() == "apart" and "part at step 1 " in str(forward)
    gradient = rows(*[4.0] * 7, 4.01)
    gradient[0]["grad_norm"] = 1.1
    assert run_of(gradient, library).verdict() == "apart"
    assert run_of(rows(4.0, 4.0, *[4.05] * 6), library).verdict() == "apart"
    assert run_of(rows(*[4.0] * 7, 5.0), library).verdict() == "apart"


def test_a_wrong_model_is_apart_and_a_right_one_is_not() -> None:
    wrong = {entry.name: entry.function for entry in clip.EXERCISES[0].wrong}
    right = {entry.name: entry.function for entry in clip.EXERCISES[0].right}
    lost = capstone.train("clip-capstone", wrong["image positions forgotten"], steps=2)
    assert lost.verdict() == "apart"
    turned = capstone.train("clip-capstone", right["pooled before the norm"], steps=2)
    assert turned.verdict() in ("identical", "rounding")


def test_the_curves_show_both_and_their_difference() -> None:
    figure = capstone.curves(run_of(rows(4.0, 3.0, 2.0), rows(4.0, 3.0, 2.5)))
    top, bottom = figure.axes
    assert [line.get_label() for line in top.lines] == ["the library's", "yours"]
    assert bottom.get_yscale() == "log" and bottom.lines[0].get_ydata()[-1] == 0.5
    same = capstone.curves(run_of(rows(4.0, 3.0), rows(4.0, 3.0)))
    assert "0 at every step" in [text.get_text() for text in same.axes[1].texts]


def test_blank_capstones_use_the_students_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the student's function")

    for entry, ways in ((clip.CAPSTONE, clip.clip_loss), (llama.CAPSTONE, llama.llama_logits)):
        for used in entry.uses:
            assert find(used)
            monkeypatch.setattr(yours, "passed", {used: refuse})
            with pytest.raises(AssertionError, match="the student's function"):
                capstone.train(entry.recipe, ways, steps=1)


@cache
def short(name: str) -> tuple[Recipe, list[dict[str, float]]]:
    """Three steps of four samples, and the library's log of them."""
    recipe = RECIPES[name]
    recipe = replace(recipe, train=replace(recipe.train, steps=3, batch_size=4))
    return recipe, capstone._fit(recipe, capstone.CAPSTONES[name].library).history


@pytest.mark.parametrize(
    ("name", "id", "right"),
    [
        pytest.param(each.recipe, id, right, id=f"{id}: {right.name}")
        for each in capstone.CAPSTONES.values()
        for id in (*each.uses, each.exercise)
        for right in find(id).right
    ],
)
def test_every_right_answer_trains_in_the_capstone_as_the_librarys(
    name: str, id: str, right: Right, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = capstone.CAPSTONES[name]
    recipe, library = short(name)
    calls = []

    def counted(*args: Any) -> Any:
        calls.append(id)
        return right.function(*args)

    monkeypatch.setattr(yours, "passed", {id: counted})
    forward = partial(each.losses, yours.pick(each.exercise, find(each.exercise).reference))
    mine = capstone._fit(recipe, forward).history
    assert len(calls) >= len(mine) == len(library) == 3
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in mine] == pytest.approx([row[key] for row in library], rel=1e-4)
    assert library[0]["loss"] != library[-1]["loss"]


def test_an_unknown_capstone_names_the_nearest() -> None:
    with pytest.raises(KeyError, match="clip-capstone"):
        capstone.train("clip-capston", clip.clip_loss)
