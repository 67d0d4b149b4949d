"""BLIP over two processes is BLIP in one: losses, gradients, queues, DDP's and FSDP's weights."""

from __future__ import annotations

from typing import Any

import blip_ranks
import forked
import pytest
import torch

pytestmark = pytest.mark.slow
EXACT = {"atol": 1e-5, "rtol": 1e-4}
Report = dict[str, Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    out = tmp_path_factory.mktemp("blip")
    forked.ranks(2, blip_ranks.main, out)
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def single() -> Report:
    return blip_ranks.report(slice(None))


def test_the_mean_of_the_ranks_losses_is_that_of_the_whole_batch(
    ranks: list[Report], single: Report
) -> None:
    """The first rank's pairs have equal captions: their only negative is on the other rank."""
    assert set(single["losses"]) == {"itc", "itm", "lm"}
    for name, expected in single["losses"].items():
        mean = sum(report["losses"][name] for report in ranks) / 2
        torch.testing.assert_close(mean, expected, **EXACT)


def test_the_gradients_are_those_of_the_whole_batch(ranks: list[Report], single: Report) -> None:
    for report in ranks:
        assert report["gradients"].keys() == single["gradients"].keys()
        for name, expected in single["gradients"].items():
            torch.testing.assert_close(report["gradients"][name], expected, **EXACT)


def test_all_ranks_have_the_queue_of_one_process(ranks: list[Report], single: Report) -> None:
    assert int(single["queue"]["image_queue.place"]) == 4
    for report in ranks:
        for name, expected in single["queue"].items():
            torch.testing.assert_close(report["queue"][name], expected, **EXACT)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_the_engine_trains_it_as_in_one_process(ranks: list[Report], mode: str) -> None:
    expected = blip_ranks.trained("none")
    assert int(expected["weights"]["image_queue.place"]) == 6
    for report in (report[mode] for report in ranks):
        assert report["weights"].keys() == expected["weights"].keys()
        for name, tensor in expected["weights"].items():
            torch.testing.assert_close(
                report["weights"][name], tensor, atol=1e-4, rtol=1e-3, msg=name
            )
        assert report["metrics"] == pytest.approx(expected["metrics"], rel=1e-3, abs=1e-4)
