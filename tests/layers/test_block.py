"""Layers against their definitions."""

import torch

from vlcourse.layers.attention import Attention
from vlcourse.layers.block import quick_gelu


def test_quick_gelu_and_its_gradient_are_the_definitions() -> None:
    x = torch.linspace(-9, 9, 181, dtype=torch.float64, requires_grad=True)
    defined = x * torch.sigmoid(1.702 * x)
    torch.testing.assert_close(quick_gelu(x), defined)
    (expected,) = torch.autograd.grad(defined.sum(), x)
    (found,) = torch.autograd.grad(quick_gelu(x).sum(), x)
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradcheck(quick_gelu, x[::20].detach().requires_grad_())


def test_attention_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3)
    x, mask = torch.randn(2, 5, 12), torch.ones(5, 5, dtype=torch.bool).tril()
    q, k, v = (
        f(x).view(2, 5, 3, 4).transpose(1, 2) for f in (attention.q, attention.k, attention.v)
    )
    scores = (q @ k.mT / 2).masked_fill(~mask, float("-inf"))
    expected = attention.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, 5, 12))
    torch.testing.assert_close(attention(x, mask=mask), expected)
    torch.testing.assert_close(attention(x, causal=True), expected)
