"""A model that does not fit into the machine is refused before anything is allocated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlcourse.recipes import RECIPES, RecipeError, train_recipe
from vlcourse.recipes.memory import check_memory

LARGE = replace(RECIPES["llama-65b"], name="large")


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLCOURSE_DEVICE", "cpu")
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 10**12 // 4096, "SC_PAGE_SIZE": 4096}.get)


def test_65b_does_not_fit_into_a_terabyte() -> None:
    with pytest.raises(RecipeError, match=r"65,285,660,672 parameters and needs 1,045 GB .* 1,000"):
        train_recipe(LARGE, save=False)


@pytest.mark.parametrize(
    ("mode", "here", "fits"), [("fsdp", 2, True), ("fsdp", 4, False), ("ddp", 1, False)]
)
def test_only_sharding_over_machines_makes_it_fit(
    mode: str, here: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    recipe = replace(LARGE, run=replace(LARGE.run, parallel=mode))
    if fits:
        check_memory(recipe)
    else:
        with pytest.raises(RecipeError, match="vlcourse plan large"):
            check_memory(recipe)
