"""The second half of a capstone's check: what each parameter of a model learns from the answer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlcourse.teach.checking import CUT, expect, expect_close


def expect_gradients(
    found: Tensor, right: Tensor, named: Mapping[str, Tensor], what: str, atol: float = 1e-3
) -> None:
    """Refuse an answer from which a model's parameters do not learn what is right.

    Args:
        found, right: the student's answer and the library's, of one shape, with their graphs.
        named: the parameters, by their names in the model. What the library's answer does not
            depend on is left out.
        what: the answer is: "loss", "logits".
        atol: how far a gradient may be off, beside a thousandth of it.
    """
    expect(found.requires_grad, f"no gradient flows back from the {what}", CUT)
    weights = torch.linspace(-1, 1, right.numel()).view_as(right) if right.ndim else 1.0
    got, wanted = (
        torch.autograd.grad((each * weights).sum(), list(named.values()), allow_unused=True)
        for each in (found, right)
    )
    assert any(gradient is not None for gradient in wanted), "the library's answer needs none"
    for name, own, gradient in zip(named, got, wanted, strict=True):
        if gradient is not None:
            expect(own is not None, f"no gradient reaches model.{name}", CUT)
            expect_close(own, gradient, f"the gradient at model.{name}", CUT, rtol=1e-3, atol=atol)
