"""What is said of an answer that is to be several losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vlcourse.teach.checking import CheckFailed
from vlcourse.teach.several_losses import expect_losses, stacked

NAMES = ("itc", "itm")


def test_losses_come_together_as_scalars() -> None:
    assert stacked([torch.tensor(1.0), torch.tensor([2.0])], NAMES).tolist() == [1, 2]
    for found, said in (
        (torch.zeros(2), "not two losses"),
        ((torch.zeros(()),), "not two losses"),
        ((torch.zeros(3), torch.zeros(())), "itc is no scalar tensor"),
        ((torch.zeros(()), 0.5), "itm is no scalar tensor"),
    ):
        with pytest.raises(CheckFailed, match=said):
            stacked(found, NAMES)


def test_a_right_number_with_a_wrong_gradient_is_refused_by_the_parameters_name() -> None:
    model = nn.Linear(2, 2, bias=False)
    x = torch.tensor([[1.0, 2.0]])

    def library() -> list[Tensor]:
        return [model(x).sum(), model(x).square().sum()]

    def cut() -> list[Tensor]:
        return [model(x).sum(), model(x).square().sum().detach() + 0 * model(x).sum()]

    def detached() -> list[Tensor]:
        return [model(x).sum(), model(x).square().sum().detach()]

    def run(function: object) -> Tensor:
        return stacked(function(), NAMES)  # type: ignore[operator]

    expect_losses(run, library, library, model, NAMES, (), "")
    with pytest.raises(CheckFailed, match=r"the gradient at model\.weight"):
        expect_losses(run, cut, library, model, NAMES, (), "")
    with torch.no_grad(), pytest.raises(CheckFailed, match="no gradient flows back from itc"):
        expect_losses(run, detached, library, model, NAMES, (), "")
