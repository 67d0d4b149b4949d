"""BLIP-2's exercises: the references compute what the library does; so does the capstone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlcourse import losses, zoo
from vlcourse.data.collate.prefix import cut_points
from vlcourse.teach import capstone, yours
from vlcourse.teach.exercise import find


def test_the_references_are_the_librarys() -> None:
    seen = torch.tensor([[True, True, False]])
    mask = find("blip2.masks").reference("itg", 1, seen)[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    image, text = torch.randn(2, 3, 4), torch.randn(5, 4)
    best = find("blip2.best_query").reference(image, text)
    assert torch.equal(best, losses.query_similarity(image, text))


def test_the_itg_loss_is_the_models() -> None:
    torch.manual_seed(0)
    head, states = torch.nn.Linear(6, 11), torch.randn(2, 3 + 5, 6)
    tokens, mask = torch.randint(11, (2, 5)), torch.arange(5) < torch.tensor([[5], [3]])
    mine = find("blip2.itg_loss").reference(states, head, 3, tokens, mask)
    theirs = losses.lm(states[:, 3:], head, losses.lm_targets(tokens, mask), 0.1)
    torch.testing.assert_close(mine, theirs)


def test_a_cut_is_where_the_library_draws_it() -> None:
    split = find("blip2.prefix").reference
    generator = torch.Generator().manual_seed(0)
    for length in (2, 3, 9, 10):
        ids = list(range(100, 100 + length))
        drawn = cut_points(torch.full((200,), length), generator)
        mine = {len(split(ids, share / 50, 0)[0]) for share in range(50)}
        assert mine == set(drawn.tolist())


def test_the_capstone_is_the_librarys_model_and_comes_back_without_the_tower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(yours, "passed", {})
    run = capstone.train("blip2-capstone", find("blip2.model").reference, steps=2)
    assert run.verdict() in ("identical", "rounding"), str(run)
    assert run.yours[0]["itm"] == pytest.approx(run.library[0]["itm"], rel=1e-4)
    capstone.keep(run)
    assert "kept as blip2-yours (2 steps; 0 of its 4" in capsys.readouterr().out
    kept = tmp_path / "zoo" / "blip2-yours" / "model.safetensors"
    learned = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    assert kept.stat().st_size < 4 * learned + 20_000
    back = zoo.load("blip2-yours").state_dict()
    assert all(torch.equal(value, back[name]) for name, value in run.model.state_dict().items())
