"""BLIP-2's first stage over two processes is that in one: losses, gradients, DDP, FSDP."""

from __future__ import annotations

from typing import Any

import blip2_ranks
import forked
import pytest
import torch

pytestmark = pytest.mark.slow
EXACT = {"atol": 1e-5, "rtol": 1e-4}
Report = dict[str, Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    out = tmp_path_factory.mktemp("blip2")
    forked.ranks(2, blip2_ranks.main, out)
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_losses_and_gradients_are_those_of_the_whole_batch(ranks: list[Report]) -> None:
    """The first rank's pairs have equal captions: their only negative is on the other rank."""
    single = blip2_ranks.report(slice(None))
    assert set(single["losses"]) == {"itc", "itm", "itg"}
    for name, expected in single["losses"].items():
        mean = sum(report["losses"][name] for report in ranks) / 2
        torch.testing.assert_close(mean, expected, **EXACT)
    for report in ranks:
        assert report["gradients"].keys() == single["gradients"].keys()
        for name, expected in single["gradients"].items():
            torch.testing.assert_close(report["gradients"][name], expected, **EXACT)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_the_engine_trains_it_as_in_one_process(ranks: list[Report], mode: str) -> None:
    """With recomputed blocks under DDP, too."""
    expected = blip2_ranks.trained("none")
    for report in (report[mode] for report in ranks):
        assert report["weights"].keys() == expected["weights"].keys()
        for name, tensor in expected["weights"].items():
            if not name.endswith(".k.bias"):  # no loss sees it, and Adam magnifies what is rounded
                torch.testing.assert_close(
                    report["weights"][name], tensor, atol=1e-4, rtol=1e-3, msg=name
                )
        assert report["metrics"] == pytest.approx(expected["metrics"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_the_second_stage_too(ranks: list[Report], mode: str) -> None:
    for llm in blip2_ranks.TOLD:
        expected = blip2_ranks.told("none", llm)
        for report in ranks:
            found = report[f"{mode} told"][llm]
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_ranks_with_different_numbers_of_pairs_are_refused(ranks: list[Report]) -> None:
    assert {report["refused"] for report in ranks} == {
        "ranks have 2 to 3 rows: each needs as many as the others"
    }
