"""Adapters over two processes are those in one, also where a rank has no picture at all."""

from __future__ import annotations

from typing import Any

import adapter_ranks
import forked
import pytest
import torch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("adapters")
    forked.ranks(2, adapter_ranks.main, out)
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("kind", adapter_ranks.MAKE)
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_the_engine_trains_it_as_in_one_process(
    ranks: list[dict[str, Any]], mode: str, kind: str
) -> None:
    expected = adapter_ranks.trained("none", kind)
    fresh = dict(adapter_ranks.MAKE[kind]().named_parameters())
    assert any(not torch.equal(fresh[name], tensor) for name, tensor in expected.items())
    for report in ranks:
        found = report[f"{mode} {kind}"]
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, atol=2e-4, rtol=1e-3, msg=name)
