"""ITM refuses the foils that a batch brings along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from vlcourse import losses
from vlcourse.engine.config import TrainConfig
from vlcourse.models.blip import BLIP
from vlcourse.recipes.blip import FOILED, TOY_BLIP

COUNT = 16


def batch(every: bool = False) -> dict[str, Any]:
    run, data = TrainConfig(steps=1, batch_size=COUNT), replace(FOILED, every_foil=every)
    samples = data.dataset(TOY_BLIP, run, "train").__getitems__(range(COUNT))
    return dict(data.collate(TOY_BLIP, True)(samples))


@pytest.mark.parametrize("every", [False, True])
def test_foils_stand_against_the_captions_they_were_made_from(every: bool) -> None:
    torch.manual_seed(0)
    model, given = BLIP(TOY_BLIP).eval(), batch(every)
    rows = given["foil_rows"]
    if every:  # a caption stands against each of its own
        assert len(rows) > COUNT and rows.unique().tolist() == list(range(COUNT))
    else:
        assert 1 < len(rows) < COUNT
    true = model.match(given["pixels"][rows], given["tokens"][rows], given["mask"][rows])
    false = model.match(given["pixels"][rows], given["foil_tokens"], given["foil_mask"])
    matches = torch.arange(2 * len(rows)) < len(rows)
    expected = losses.itm(torch.cat([true, false]), matches)
    torch.testing.assert_close(model.losses(given)["foils"], expected, atol=1e-4, rtol=1e-4)


def test_itm_itself_is_as_it_is_without_foils() -> None:
    torch.manual_seed(0)
    model, given = BLIP(TOY_BLIP).eval(), batch()
    without = {name: value for name, value in given.items() if "foil" not in name}
    torch.manual_seed(1)
    alone = model.losses(without)
    torch.manual_seed(1)
    beside = model.losses(given)
    assert set(beside) - set(alone) == {"foils"}
    torch.testing.assert_close(beside["itm"], alone["itm"], atol=1e-4, rtol=1e-4)


def test_a_batch_without_a_foil_has_a_loss_of_0() -> None:
    torch.manual_seed(0)
    model = BLIP(TOY_BLIP)
    run = TrainConfig(steps=1, batch_size=COUNT)
    samples = replace(FOILED, objects=(1, 1)).dataset(TOY_BLIP, run, "train")
    found = model.losses(FOILED.collate(TOY_BLIP, True)(samples.__getitems__(range(COUNT))))
    assert found["foils"] == 0
    sum(found.values(), torch.zeros(())).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("longer", ["tokens", "foil_tokens"])
def test_texts_of_unequal_lengths(longer: str) -> None:
    torch.manual_seed(0)
    model, given = BLIP(TOY_BLIP).eval(), batch()
    mask = longer.replace("tokens", "mask")
    torch.manual_seed(1)
    before = model.losses(given)
    for name in (longer, mask):
        given[name] = torch.nn.functional.pad(given[name], (0, 5))
    torch.manual_seed(1)
    after = model.losses(given)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
