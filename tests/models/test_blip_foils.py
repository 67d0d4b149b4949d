"""ITM refuses the foils that a batch brings along."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vlcourse import losses
from vlcourse.engine.config import TrainConfig
from vlcourse.models.blip import BLIP
from vlcourse.recipes.blip import FOILED, TOY_BLIP

COUNT = 6


def batch() -> dict[str, Any]:
    run = TrainConfig(steps=1, batch_size=COUNT)
    samples = FOILED.dataset(TOY_BLIP, run, "train").__getitems__(range(COUNT))
    return dict(FOILED.collate(TOY_BLIP, True)(samples))


def test_a_foil_is_a_negative_of_its_own_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, given = BLIP(TOY_BLIP).eval(), batch()
    judged: list[tuple[Tensor, Tensor]] = []

    def itm(logits: Tensor, match: Tensor) -> Tensor:
        judged.append((logits, match))
        return logits.sum()

    monkeypatch.setattr(losses, "itm", itm)
    model.losses(given)
    logits, match = judged[0]
    assert match.tolist() == [True] * COUNT + [False] * 3 * COUNT
    alone = model.match(given["pixels"], given["foil_tokens"], given["foil_mask"])
    torch.testing.assert_close(logits[3 * COUNT :], alone, atol=1e-4, rtol=1e-4)


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
