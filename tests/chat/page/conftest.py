"""A page without a browser, and a visitor: its own client goes through all that one can do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat_fakes import Visitor
from chat_house import House, open_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("temporary")) as opened:
        yield opened


@pytest.fixture
def visitor(house: House) -> Iterator[Visitor]:
    visitor = Visitor(house.address)
    yield visitor
    visitor.client.close()
