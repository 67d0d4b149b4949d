"""BLIP's exercises: the references are what the library computes; the capstone is the library's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlcourse import losses, zoo
from vlcourse.teach import capstone, yours
from vlcourse.teach.blip.exercises.capstone import CAPSTONE
from vlcourse.teach.exercise import attempt, find


def test_negatives_are_drawn_by_the_librarys_odds() -> None:
    torch.manual_seed(0)
    similarity, same = torch.randn(3, 5), torch.eye(3, 5, dtype=torch.bool)
    same[0, 4] = True
    odds = find("blip.hard_negatives").reference(similarity, same)
    draws = torch.stack([losses.hard_negatives(similarity, same) for _ in range(4000)])  # (T, 3)
    found = torch.nn.functional.one_hot(draws, 5).float().mean(dim=0)
    torch.testing.assert_close(found, odds / odds.sum(dim=1, keepdim=True), atol=0.03, rtol=0)
    assert not found[same].any()


def test_the_other_references_are_the_librarys() -> None:
    similarity, positives = torch.tensor([[0.0, 0.0]]), torch.tensor([[True, False]])
    targets = find("blip.soft_targets").reference(similarity, positives, 0.4)
    torch.testing.assert_close(targets, torch.tensor([[0.8, 0.2]]))
    tokens, mask = torch.tensor([[7, 3, 0, 8, 0]]), torch.tensor([[True] * 4 + [False]])
    assert find("blip.lm_targets").reference(tokens, mask, 2).tolist() == [[-100, 0, 8, -100, -100]]
    assert find("blip.switch_first").reference(tokens, 9).tolist() == [[9, 3, 0, 8, 0]]


def test_the_capstone_is_the_librarys_model_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(yours, "passed", {})
    run = capstone.train("blip-capstone", find("blip.model").reference, steps=2)
    assert run.verdict() in ("identical", "rounding"), str(run)
    assert run.yours[0]["itm"] == pytest.approx(run.library[0]["itm"], rel=1e-4)
    capstone.keep(run)
    assert "kept as blip-yours (2 steps; 0 of its 6" in capsys.readouterr().out
    back = zoo.load("blip-yours").state_dict()
    assert all(torch.equal(value, back[name]) for name, value in run.model.state_dict().items())
    assert [row["step"] for row in zoo.log("blip-yours")] == [1, 2]


def test_momentum_encoders_follow_and_the_temperature_learns_slowly_in_a_capstone() -> None:
    recipe = capstone.RECIPES[CAPSTONE.recipe]
    model = capstone.Assembled(recipe.build_model(), CAPSTONE.library)
    assert model.lr_factors() == {"model.temperature": recipe.model.temperature_lr}
    inner = model.model
    with torch.no_grad():
        inner.text_projection.bias.add_(1)
    before = inner.twin.text_projection.bias.clone()
    model.after_step(3)
    assert int(inner.steps) == 3
    moved = inner.twin.text_projection.bias - before
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - recipe.model.momentum))


def test_the_draws_of_the_negatives_are_no_reason_to_refuse_a_model() -> None:
    """The check seeds them, so two runs of one answer agree."""
    entry = find("blip.model")
    assert [attempt(entry, entry.reference).status for _ in range(2)] == ["passed"] * 2
