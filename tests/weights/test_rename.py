"""What a fill accepts, warns of and refuses, beside names and shapes."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vlcourse import VlcourseError
from vlcourse.weights.rename import Rule, WeightsError, WeightsWarning, fill, to_theirs


class Scaled(nn.Module):
    """Two temperatures: one a vector of one, one a scalar; and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.tensor([2.0]))
        self.scalar = nn.Parameter(torch.tensor(3.0))
        self.weight = nn.Parameter(torch.randn(2, 3))


TABLE = [
    Rule("vector", "v", "scalar"),
    Rule("scalar", "s", "scalar"),
    Rule("weight", "w", "transpose"),
]
PLAIN = [Rule("vector", "v"), Rule("scalar", "s"), Rule("weight", "w", "transpose")]


@pytest.mark.parametrize("shape", [(), (1,)], ids=["scalars", "vectors of one"])
@pytest.mark.parametrize("table", [TABLE, PLAIN], ids=["scalar", "same"])
def test_one_number_may_be_a_scalar_or_a_vector(shape: tuple[int, ...], table: list[Rule]) -> None:
    stored = {"v": torch.full(shape, 5.0), "s": torch.full(shape, 6.0), "w": torch.ones(3, 2)}
    model = Scaled()
    fill(model, stored, table)
    assert model.vector.shape == (1,) and model.vector.item() == 5
    assert model.scalar.shape == () and model.scalar.item() == 6
    out = to_theirs(model.state_dict(), table)
    if table is TABLE:  # written as OpenAI does
        assert out["v"].shape == out["s"].shape == ()
    assert (float(out["v"]), float(out["s"])) == (5, 6)
    with pytest.raises(WeightsError, match=r"1 misshapen: v \(1, 1\) instead of \(1,\)"):
        fill(model, stored | {"v": torch.ones(1, 1)}, table)


def stored(**others: Any) -> dict[str, Any]:
    return {"v": torch.tensor(1.0), "s": torch.tensor(1.0), "w": torch.ones(3, 2), **others}


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.ones(3, 2, dtype=torch.int8), r"w \(int8: take weights that are not quantised"),
        (torch.ones(3, 2, dtype=torch.int64), r"w \(int64: take"),
        (torch.ones(3, 2, dtype=torch.bool), r"w \(bool: take"),
        (torch.ones(3, 2, dtype=torch.complex64), r"w \(complex64: take"),
        (torch.ones(3, 2).to(torch.float8_e4m3fn), r"w \(float8_e4m3fn: take"),
        (torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8), r"w \(qint8: take"),
        (torch.ones(3, 2).to_sparse(), r"w \(sparse or nested"),
        (torch.ones(3, 2).to_sparse_csr(), r"w \(sparse or nested"),
        (torch.ones(3, 2, device="meta"), r"w \(without numbers, on the meta device"),
        (torch.ones(1).expand(3, 2), r"w \(a few numbers stretched to many"),
        ([[1.0, 2.0]], r"w \(a list, no tensor"),
        (None, r"w \(a NoneType, no tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_what_are_no_plain_numbers(weight: Any, said: str) -> None:
    model = Scaled()
    before = model.weight.clone()
    with pytest.raises(WeightsError, match="1 unreadable: " + said) as error:
        fill(model, stored(w=weight), TABLE)
    assert torch.equal(model.weight, before) and isinstance(error.value, VlcourseError)


def test_counters_must_be_whole_numbers() -> None:
    model = nn.BatchNorm1d(2)
    names = ("weight", "bias", "running_mean", "running_var")
    table = [Rule("num_batches_tracked", "n"), *(Rule(name, name) for name in names)]
    ones = {name: torch.ones(2) for name in names}
    fill(model, ones | {"n": torch.tensor([7], dtype=torch.int32)}, table)
    assert model.num_batches_tracked.shape == () and model.num_batches_tracked.dtype == torch.int64
    assert model.num_batches_tracked.item() == 7
    with pytest.raises(WeightsError, match=r"n \(float32, no whole numbers"):
        fill(model, ones | {"n": torch.tensor(7.0)}, table)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_named(number: float) -> None:
    model, weight = Scaled(), torch.ones(3, 2)
    weight[1, 1] = number
    with pytest.warns(WeightsWarning, match="a file hold NaN or infinite numbers: w$"):
        fill(model, stored(w=weight), TABLE, source="the weights of a file")
    assert not model.weight.isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fill(model, stored(), TABLE)


def test_numbers_too_large_for_the_type_are_named() -> None:
    model, large = Scaled(), torch.full((3, 2), 1e6)
    fill(model, stored(w=large), TABLE)
    with pytest.warns(WeightsWarning, match="infinite numbers: w$"):
        fill(model, stored(w=large), TABLE, dtype=torch.float16)


def test_half_precision_is_read() -> None:
    model, weight = Scaled(), torch.randn(3, 2)
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        fill(model, stored(w=weight.to(kind)), TABLE)
        assert model.weight.dtype == torch.float32
        assert torch.equal(model.weight, weight.to(kind).float().T)


def shares(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def test_a_filled_model_has_its_own_memory() -> None:
    model, given = Scaled(), stored()
    fill(model, given, TABLE)
    assert not any(shares(p, t) for p in model.parameters() for t in given.values())


def test_axes_of_size_one_in_front() -> None:
    model = nn.ParameterDict({"token": torch.randn(4), "positions": torch.randn(3, 4)})
    table = [Rule("token", "t", "lead", axes=2), Rule("positions", "p", "lead", axes=1)]
    out = to_theirs(model.state_dict(), table)
    assert out["t"].shape == (1, 1, 4) and out["p"].shape == (1, 3, 4)
    again = nn.ParameterDict({"token": torch.zeros(4), "positions": torch.zeros(3, 4)})
    fill(again, out, table)
    assert torch.equal(again["token"], model["token"])
    assert torch.equal(again["positions"], model["positions"])
    with pytest.raises(WeightsError, match=r"1 misshapen: t \(4,\) instead of \(1, 1, 4\)"):
        fill(again, out | {"t": torch.ones(4)}, table)


def test_ends_are_two_parts_with_nothing_between() -> None:
    """As the biases of an attention whose keys have none."""

    class Biases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.v = (nn.Parameter(torch.zeros(2)) for _ in range(2))

    model, table = Biases(), [Rule("{q,v}", "qkv", "ends")]
    fill(model, {"qkv": torch.arange(1.0, 7.0)}, table)
    assert (model.q.tolist(), model.v.tolist()) == ([1, 2], [5, 6])
    assert to_theirs(model.state_dict(), table)["qkv"].tolist() == [1, 2, 0, 0, 5, 6]
    with pytest.raises(WeightsError, match=r"qkv \(4,\) instead of \(6,\)"):
        fill(model, {"qkv": torch.zeros(4)}, table)
