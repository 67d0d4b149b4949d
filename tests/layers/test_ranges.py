"""A setting outside of its range is refused in a sentence that names it."""

from dataclasses import dataclass

import pytest

from vlcourse import VlcourseError
from vlcourse.layers.ranges import check


@dataclass(frozen=True)
class Settings:
    layers: float | None = 1
    lr: float = 0.1

    def __post_init__(self) -> None:
        check(self, layers=(1, 1_000), lr=(0, float("inf")))


@pytest.mark.parametrize("layers", [0, -1, 10**9, 1e300, float("nan"), float("inf"), True, "2", []])
def test_what_lies_outside_is_refused(layers: object) -> None:
    with pytest.raises(VlcourseError, match=r"^layers=.* out of range in Settings; 1 to 1,000 is"):
        Settings(layers=layers)  # type: ignore[arg-type]


@pytest.mark.parametrize("lr", [float("inf"), float("nan"), -1e-9])
def test_an_open_side_still_refuses_what_is_no_number(lr: float) -> None:
    with pytest.raises(VlcourseError, match="^lr=.* at least 0 is what it may be"):
        Settings(lr=lr)


def test_the_bounds_themselves_and_none_pass() -> None:
    assert [Settings(layers=n).layers for n in (1, 1_000, 2.5, None)] == [1, 1_000, 2.5, None]
    assert Settings(lr=0).lr == 0
