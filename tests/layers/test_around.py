"""What stands around a block's pieces leaves them as they were."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tiny_adapters import LLAMA
from torch import nn

from vlcourse.layers.around import LINEARS, dressed, learned_in, stand_in, vectors_learned_in
from vlcourse.layers.prompts import Gate
from vlcourse.layers.rotary import rotations
from vlcourse.layers.tuned import BiasScale, LowRank, NormShift, sizes
from vlcourse.models.llama import LLaMABlock

X = torch.randn(2, 5, 36, generator=torch.Generator().manual_seed(0))


def block() -> LLaMABlock:
    torch.manual_seed(0)
    return LLaMABlock(LLAMA)


def test_a_stand_in_shares_all_but_what_is_exchanged() -> None:
    attention = block().attention
    before = dict(attention.named_modules())
    other = stand_in(attention, q=lambda x: 2 * attention.q(x))  # type: ignore[operator]
    assert torch.equal(other.read(X)[0], 2 * attention.read(X)[0])  # type: ignore[operator]
    assert other.k is attention.k and dict(attention.named_modules()) == before
    with pytest.raises(AttributeError, match="Attention has no part 'w'"):
        stand_in(attention, w=lambda x: x)


@pytest.mark.parametrize("name", LINEARS)
def test_each_linear_map_can_be_dressed(name: str) -> None:
    own, rotation = block(), rotations(torch.arange(5), 6)
    plain = own(X, rotation, None, True)
    assert torch.equal(own(X, rotation, None, True, None, partial(dressed, linears={})), plain)
    around = {name: lambda linear, x: 1.5 * linear(x)}
    found = own(X, rotation, None, True, None, partial(dressed, linears=around))
    part = own.attention if name in LINEARS[:4] else own.mlp
    with torch.no_grad():
        getattr(part, name).weight.mul_(1.5)
    torch.testing.assert_close(found, own(X, rotation, None, True))
    assert not torch.allclose(found, plain, atol=1e-3)
    assert sizes(LLAMA)[name] == tuple(reversed(getattr(part, name).weight.shape))


def test_what_some_rows_learn_is_constant_to_the_others() -> None:
    parameter, rows = nn.Parameter(torch.randn(3, 4)), torch.tensor([True, False])
    assert learned_in(parameter, None) is parameter
    both = learned_in(parameter, rows)
    assert torch.equal(both, parameter.expand(2, 3, 4))
    both[1].sum().backward(retain_graph=True)
    assert not parameter.grad.any()  # type: ignore[union-attr]
    both[0].sum().backward()
    assert parameter.grad.eq(1).all()  # type: ignore[union-attr]


def test_vectors_that_some_rows_learn() -> None:
    around, linear = BiasScale(7), nn.Linear(36, 7, bias=False)
    assert vectors_learned_in(around, None) is around
    rows = torch.tensor([False, True])
    y = vectors_learned_in(around, rows)(linear, X)
    assert torch.equal(y, linear(X))
    y[0].sum().backward(retain_graph=True)
    assert not around.bias.grad.any() and not around.scale.grad.any()  # type: ignore[union-attr]
    y[1].sum().backward()
    torch.testing.assert_close(around.bias.grad, torch.full((7,), 5.0))


@torch.no_grad()
def test_what_stands_around_a_map_is_one_map() -> None:
    linear, scaled, low = nn.Linear(36, 7), BiasScale(7), LowRank(36, 7, 2, 6.0)
    assert torch.equal(scaled(linear, X), linear(X)) and torch.equal(low(linear, X), linear(X))
    for parameter in (*scaled.parameters(), low.b):
        parameter.normal_()
    weight, bias = scaled.merged(linear.weight, linear.bias)
    torch.testing.assert_close(X @ weight.T + bias, scaled(linear, X), atol=1e-5, rtol=1e-5)
    weight = low.merged(linear.weight)
    torch.testing.assert_close(X @ weight.T + linear.bias, low(linear, X), atol=1e-5, rtol=1e-5)
    assert low.factor == 3.0


@torch.no_grad()
def test_a_norm_trained_on_and_a_gate() -> None:
    norm, shift = block().norm1, NormShift(36)
    assert torch.equal(shift(norm, X), norm(X))
    shift.shift.fill_(1.0)
    torch.testing.assert_close(shift(norm, X), 2 * norm(X))
    gate = Gate(3)
    assert not gate().any() and gate().shape == (3, 1, 1)
    gate.value.fill_(100.0)
    assert gate().eq(1).all()  # a tanh
    gate = Gate(3, "linear")
    gate.value.fill_(100.0)
    assert gate().tolist() == [[[100.0]]]
