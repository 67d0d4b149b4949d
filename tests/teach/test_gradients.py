"""A capstone's answer must let the same be learned as the library's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vlcourse.teach.checking import CheckFailed
from vlcourse.teach.gradients import expect_gradients


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def logits(model: nn.Sequential) -> Tensor:
    return model(torch.linspace(-1, 1, 15).view(5, 3))


def named(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters())


def test_an_answer_with_the_same_graph_passes(model: nn.Sequential) -> None:
    expect_gradients(logits(model), logits(model), named(model), "logits")
    expect_gradients(logits(model).sum(), logits(model).sum(), named(model), "loss")


def test_an_answer_without_a_graph_is_refused(model: nn.Sequential) -> None:
    with pytest.raises(CheckFailed, match="no gradient flows back from the logits"):
        expect_gradients(logits(model).detach(), logits(model), named(model), "logits")


def test_a_parameter_that_is_cut_off_is_named(model: nn.Sequential) -> None:
    hidden = model[1](model[0](torch.linspace(-1, 1, 15).view(5, 3))).detach()
    with pytest.raises(CheckFailed, match=r"no gradient reaches model\.0\.weight"):
        expect_gradients(model[2](hidden), logits(model), named(model), "logits")


def test_a_parameter_that_learns_something_else_is_named(model: nn.Sequential) -> None:
    same_values = logits(model) + (model[2].bias - model[2].bias.detach())
    with pytest.raises(CheckFailed, match=r"the gradient at model\.2\.bias"):
        expect_gradients(same_values, logits(model), named(model), "logits")


def test_what_the_librarys_answer_does_not_need_is_left_out(model: nn.Sequential) -> None:
    unused = named(model) | {"unused": nn.Parameter(torch.ones(2))}
    expect_gradients(logits(model), logits(model), unused, "logits")
    with pytest.raises(AssertionError, match="needs none"):
        found = logits(model)
        expect_gradients(found, found, {"unused": unused["unused"]}, "logits")
