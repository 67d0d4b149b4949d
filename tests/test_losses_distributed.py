"""The losses over 2 and 4 real processes equal the loss of the whole batch in one."""

from __future__ import annotations

from typing import Any

import forked
import itc_ranks
import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.slow
EXACT = {"atol": 1e-5, "rtol": 0.0}
Report = dict[str, Any]


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """What each rank computed."""
    world, out = request.param, tmp_path_factory.mktemp("itc")
    forked.ranks(world, itc_ranks.main, out)
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(world)]


@pytest.fixture(scope="module")
def single() -> Report:
    """The same batch in this process."""
    return itc_ranks.report(slice(None))


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(dim=0)


def test_the_mean_of_the_ranks_losses_is_the_global_loss(
    ranks: list[Report], single: Report
) -> None:
    torch.testing.assert_close(mean([r["loss"] for r in ranks]), single["loss"], **EXACT)
    assert len({round(float(r["loss"]), 4) for r in ranks}) > 1  # each has its own rows


@pytest.mark.parametrize("side", ["image", "text"])
def test_gradients_of_the_embeddings(ranks: list[Report], single: Report, side: str) -> None:
    # A rank holds the gradient of the sum of all ranks' losses; the global loss is their mean.
    parts = [r[side] / len(ranks) for r in ranks]
    torch.testing.assert_close(torch.cat(parts), single[side], **EXACT)


def test_gradient_of_the_temperature(ranks: list[Report], single: Report) -> None:
    torch.testing.assert_close(mean([r["scale"] for r in ranks]), single["scale"], **EXACT)


def test_gradients_of_a_model_that_ddp_averages(ranks: list[Report], single: Report) -> None:
    for report in ranks:
        assert report["model"].keys() == single["model"].keys()
        for name, expected in single["model"].items():
            torch.testing.assert_close(report["model"][name], expected, **EXACT)


def test_each_rank_computes_its_own_rows_only(ranks: list[Report], single: Report) -> None:
    n = itc_ranks.N // len(ranks)
    assert single["largest"] == (itc_ranks.N, itc_ranks.N)
    assert all(sorted(r["largest"]) == [n, itc_ranks.N] for r in ranks)


@pytest.mark.parametrize("kind", ["lm", "lm, one token"])
def test_the_language_modelling_loss_counts_the_tokens_of_all_ranks(
    ranks: list[Report], single: Report, kind: str
) -> None:
    states, targets = itc_ranks.texts(kind != "lm")
    per_rank = (targets != -100).flatten(1).sum(dim=1).view(len(ranks), -1).sum(dim=1)
    assert len(set(per_rank.tolist())) > 1 and (kind == "lm" or per_rank.sum() == 1)
    reports, expected = [r[kind] for r in ranks], single[kind]
    assert expected["loss"] > 0.1
    torch.testing.assert_close(mean([r["loss"] for r in reports]), expected["loss"], **EXACT)
    parts = [r["states"] / len(ranks) for r in reports]
    torch.testing.assert_close(torch.cat(parts), expected["states"], **EXACT)
    for report in reports:  # what DDP has averaged
        torch.testing.assert_close(report["head"], expected["head"], **EXACT)


@pytest.mark.parametrize("bug", ["constant", "own"])
def test_a_gather_that_loses_gradients_has_the_right_loss_but_learns_something_else(
    ranks: list[Report], single: Report, bug: str
) -> None:
    wrong = [report[bug] for report in ranks]
    torch.testing.assert_close(mean([r["loss"] for r in wrong]), single["loss"], **EXACT)
    ours = torch.cat([v.flatten() for v in wrong[0]["model"].values()])
    right = torch.cat([v.flatten() for v in single["model"].values()])
    assert (ours - right).norm() > 0.05 * right.norm()
