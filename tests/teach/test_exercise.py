"""The machinery of the exercises: the line it prints, what it returns, and what it leaves alone."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vlcourse.teach import checking, exercise
from vlcourse.teach.checking import Exercise
from vlcourse.teach.exercise import Outcome, attempt, line


def scaled(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (x @ w) / 2


def check_scaled(answer: Callable[..., torch.Tensor]) -> None:
    x, w = torch.randn(3, 4), torch.randn(4, 5)
    out = checking.call(answer, x, w)
    checking.expect_shape(out, (3, 5), "the product")
    checking.expect_close(out, scaled(x, w), "the product", hint="Is it halved?")


ENTRY = Exercise("toy.scaled", "A product", 5, 1, scaled, check_scaled, ("General.", "Plain."))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercise, "find", lambda id: ENTRY)
    monkeypatch.setattr(exercise, "_failures", {})


def said(answer: Any) -> str:
    return line(ENTRY, attempt(ENTRY, answer))


def test_right_answer_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    def mine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return 0.5 * x @ w

    assert exercise.exercise("toy.scaled")(mine) is mine
    assert capsys.readouterr().out == "✓ toy.scaled: right, going on with your version\n"


def test_wrong_answer_gives_the_reference_and_more_hints_each_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def mine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x @ w

    lines = []
    for _ in range(4):
        assert exercise.exercise("toy.scaled")(mine) is scaled
        lines.append(capsys.readouterr().out)
    assert all(text.count("\n") == 1 for text in lines)
    assert lines[0].endswith("Hint 1: Is it halved?\n") and "15 of 15 values" in lines[0]
    assert lines[1] == lines[0].rstrip("\n") + " Hint 2: General.\n"
    assert lines[2].endswith("Hint 3: Plain.\n") and lines[3] == lines[2]


def test_first_line_is_deterministic() -> None:
    def mine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x @ w + torch.rand(5)

    torch.manual_seed(1)
    first = said(mine)
    torch.manual_seed(2)
    assert said(mine) == first


def test_blanks() -> None:
    def raises(x: Any, w: Any) -> Any:
        raise NotImplementedError("your turn")

    def partly(x: Any, w: Any) -> Any:
        x = x @ w
        raise NotImplementedError

    def ellipsis(x: Any, w: Any) -> Any:
        """Docstring."""
        ...

    def placeholder(x: Any, w: Any) -> Any:
        out = ...
        return out

    def none(x: Any, w: Any) -> Any:
        return None

    for blank in (raises, partly, ellipsis, placeholder, none):
        assert attempt(ENTRY, blank) == Outcome("blank"), blank.__name__


def test_forgotten_return_is_an_error_and_not_a_blank() -> None:
    def mine(x: Any, w: Any) -> Any:
        out = x @ w  # noqa: F841

    assert "ends without `return`" in said(mine)


def test_not_implemented_deep_in_a_library_is_an_error() -> None:
    def mine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        raise_inside(x)
        return x @ w

    def raise_inside(x: torch.Tensor) -> None:
        raise NotImplementedError("no kernel for this")

    assert "no kernel for this" in said(mine)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, w: w @ x, "inner sizes, but they are (4, 5) and (3, 4): 5 is not 3"),
        (lambda x, w: x + w, "do not broadcast: on axis 1 one has 4 entries and the other 5"),
        (
            lambda x, w: (x @ w).view(4, 4),
            "a tensor of 15 numbers cannot be viewed as shape [4, 4]",
        ),
        (lambda x, w: x.sum(3), "axis 3 does not exist"),
        (lambda x, w: undefined, "the name `undefined` is not defined"),  # type: ignore[name-defined] # noqa: F821
        (lambda x: x, "takes 1 arguments but 2 were given"),
        (lambda x, w: (x @ w).T, "shape (3, 5), it has (5, 3): the axes are in another order"),
        (lambda x, w: (x @ w)[None], "an axis of length 1 is too many"),
        (lambda x, w: x, "axis 1 differs"),
        (lambda x, w: 3, "a tensor of shape (3, 5), it is 3"),
        (lambda x, w: x @ w / 0, "NaN or infinite"),
        (lambda x, w: x.div_(2) @ w, "changes argument 1 in place"),
        (lambda x, w: exit(), "it calls exit()"),
    ],
)
def test_what_is_wrong_in_words(answer: Any, words: str) -> None:
    text = said(answer)
    assert words in text and text.startswith("✗ toy.scaled: ") and "\n" not in text


def test_exception_names_the_line() -> None:
    def mine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = w @ x
        return y

    number = mine.__code__.co_firstlineno + 1
    assert f"your code stops at line {number}, `y = w @ x`: the matrix product" in said(mine)


def test_endless_recursion() -> None:
    def mine(x: Any, w: Any) -> Any:
        return mine(x, w)

    assert "calls itself without end" in said(mine)


def test_global_state_is_as_before() -> None:
    def vandal(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        os.environ["VANDAL"] = "1"
        return x @ w

    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    wanted = (torch.rand(2), random.random(), np.random.rand())
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    attempt(ENTRY, vandal)
    assert torch.equal(torch.rand(2), wanted[0])
    assert (random.random(), np.random.rand()) == wanted[1:]
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert "VANDAL" not in os.environ


def test_classes() -> None:
    class Half(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 2

    def check(cls: type[nn.Module]) -> None:
        x = torch.randn(2)
        checking.expect_close(cls()(x), x / 2, hint="Half of it.")

    entry = Exercise("toy.half", "Half", 5, 1, Half, check, ("Halve.",))

    class Third(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 3

    class Blank(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError("your turn")

    class Dots(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor: ...  # type: ignore[empty-body]

    assert attempt(entry, Half).status == "passed"
    assert "Half of it." in line(entry, attempt(entry, Third))
    assert attempt(entry, Blank).status == attempt(entry, Dots).status == "blank"


def test_numbers_and_plain_values() -> None:
    checking.expect_close(0.5, torch.tensor(0.5))
    checking.expect_equal({"a"}, {"a"})
    with pytest.raises(checking.CheckFailed, match=r"should be 0\.5, it is 0\.25"):
        checking.expect_close(torch.tensor(0.25), 0.5)
    with pytest.raises(checking.CheckFailed, match="one number is wanted"):
        checking.expect_close(torch.zeros(4), torch.tensor(0.5))
    with pytest.raises(checking.CheckFailed, match="should be True or False, it is 1"):
        checking.expect_equal(1, True)
    with pytest.raises(checking.NotAttempted):
        checking.expect_close(None, torch.zeros(2))


def test_unknown_id_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(
        KeyError, match=r"no exercise 'world\.is_tru'; did you mean 'world\.is_true'"
    ):
        exercise.exercise("world.is_tru")
    with pytest.raises(KeyError, match="no exercise 'nothing'"):
        exercise.exercise("nothing")
