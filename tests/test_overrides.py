"""key=value changes: typed by the annotations, refused with the nearest match."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from vlcourse import overrides
from vlcourse.engine import RunConfig, TrainConfig
from vlcourse.overrides import OverrideError


@dataclass(frozen=True)
class Tower:
    width: int = 64
    """Size of the
    vectors."""
    rates: tuple[float, ...] = (0.1,)
    size: tuple[int, int] = (1, 4)
    kind: Literal["pre", "post"] = "pre"


@dataclass(frozen=True)
class Run:
    name: str = "run"
    tower: Tower = field(default_factory=Tower)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: RunConfig = field(default_factory=RunConfig)
    limit: int | None = None
    """How many; none takes all."""
    cut: float | str = 1.0
    folder: Path = Path("a")
    flag: bool = False
    odd: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit == 13:
            raise ValueError("limit must not be 13")


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("tower.width=128", "tower.width", 128),
        ("train.steps=1e5", "train.steps", 100_000),
        ("train.steps=1_000", "train.steps", 1000),
        ("train.lr=1e-3", "train.lr", 0.001),
        ("train.lr=1", "train.lr", 1.0),
        ("run.compile=True", "run.compile", True),
        ("flag=no", "flag", False),
        ("tower.rates=1,2.5", "tower.rates", (1.0, 2.5)),
        ("tower.rates=(1,)", "tower.rates", (1.0,)),
        ("tower.rates=", "tower.rates", ()),
        ("tower.size=[2, 3]", "tower.size", (2, 3)),
        ("tower.kind=post", "tower.kind", "post"),
        ("train.parallel=fsdp", "run.parallel", "fsdp"),
        ("limit=5", "limit", 5),
        ("limit=none", "limit", None),
        ("cut=all", "cut", "all"),
        ("cut=2", "cut", 2.0),
        ("name=a=b", "name", "a=b"),
        ("folder=x/y", "folder", Path("x/y")),
    ],
)
def test_values_are_parsed_by_their_annotation(word: str, path: str, value: object) -> None:
    run = Run()
    changed: object = overrides.apply(run, [word])
    for name in path.split("."):
        changed = getattr(changed, name)
    assert changed == value and type(changed) is type(value)
    assert run == Run()


def test_later_words_win_and_the_rest_stays() -> None:
    run = overrides.apply(Run(), ["tower.width=1", "tower.width=2", "train.seed=4"])
    assert (run.tower.width, run.train.seed, run.tower.kind) == (2, 4, "pre")
    with pytest.raises(FrozenInstanceError):
        run.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.lrr=1", "no setting 'train.lrr'; did you mean 'train.lr'?"),
        ("tran.steps=1", "did you mean 'train.steps'?"),
        ("lr=1", "no setting 'lr'; did you mean 'train.lr'?"),
        ("widht=1", "did you mean 'tower.width'?"),
        ("qqqqqqqq=1", "--help lists the keys"),
        ("train=1", "'train' is a group of settings; set one of train.steps"),
        ("train.steps", "is not key=value"),
        ("train.steps=ten", "train.steps=ten: expected int"),
        ("train.steps=1.5", "expected int"),
        ("train.lr=fast", "expected float"),
        ("flag=maybe", "expected true or false"),
        ("tower.kind=pots", "expected one of pre, post (did you mean post?)"),
        ("tower.size=1,2,3", "2 values separated by commas, not 3"),
        ("tower.size=1,x", "expected int,int"),
        ("limit=many", "expected int or none"),
        ("limit=13", "limit must not be 13"),
        ("train.steps=0", "steps must be positive"),
        ("odd=1", "cannot be set from the command line"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(word: str, message: str) -> None:
    with pytest.raises(OverrideError) as refused:
        overrides.apply(Run(), [word])
    assert message in str(refused.value)


def test_describe_lists_every_key_with_its_docstring() -> None:
    rows = {row.key: row for row in overrides.describe(Run())}
    assert rows["tower.width"] == ("tower.width", "int", "64", "Size of the vectors.")
    assert rows["limit"] == ("limit", "int or none", "none", "How many; none takes all.")
    assert rows["tower.size"].value == "1,4" and rows["tower.size"].type == "int,int"
    assert rows["run.parallel"].type == "one of none, ddp, fsdp"
    assert rows["flag"].value == "false" and rows["name"].doc == ""


def test_every_training_setting_is_documented_and_can_be_typed_back() -> None:
    for row in overrides.describe(TrainConfig(lr=2.5e-4)):
        assert row.doc, row.key
        again = overrides.apply(TrainConfig(lr=2.5e-4), [f"{row.key}={row.value}"])
        assert again == TrainConfig(lr=2.5e-4)
