"""A filter against the truth of a toy web."""

from __future__ import annotations

import pytest
import torch

from vlcourse import zoo
from vlcourse.data.world.web import KINDS
from vlcourse.evals import filtering
from vlcourse.evals.metrics import MetricError
from vlcourse.tokenizers import med

FEW = filtering.web_set(400)


def test_shares_are_counted_from_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = FEW.__getitems__(range(400))
    kept = torch.arange(400) % 2 == 0

    def logits(*_: object, **__: object) -> torch.Tensor:
        return torch.stack([torch.zeros(400), torch.where(kept, 1.0, -1.0)], dim=1)

    monkeypatch.setattr(filtering, "match_logits", logits)
    found = filtering.filter_details(zoo.load("blip-toy"), med.toy(), FEW)
    true = [s["is_clean"] for s in samples]
    right = sum(true[::2])
    assert found["precision"].mean() == pytest.approx(right / 200)
    assert found["recall"].mean() == pytest.approx(right / sum(true))
    assert sum(len(found[f"kept: {kind}"]) for kind in ("clean", *KINDS)) == 400
    with pytest.raises(MetricError, match="0 are kept"):
        filtering.filter_details(zoo.load("blip-toy"), med.toy(), FEW, threshold=0.99)


def test_a_filter_that_saw_halves_keeps_them_and_drops_what_is_false() -> None:
    own = filtering.filter_details(zoo.load("blip-toy-filter"), med.toy(), FEW)
    other = filtering.filter_details(zoo.load("blip-toy"), med.toy(), FEW)
    assert own["precision"].mean() > 0.93 and own["recall"].mean() > 0.9
    assert own["kept: half"].mean() > other["kept: half"].mean() + 0.3
    assert own["kept: wrong word"].mean() < 0.25
