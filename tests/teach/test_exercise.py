"""The machinery of the exercises: the line it prints, what it returns, and what it leaves alone."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vlcourse.teach import checking, exercise, yours
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
    monkeypatch.setattr(yours, "passed", {})


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
    assert [text.count("\n") for text in lines] == [2, 3, 4, 4]
    assert lines[0].endswith("\n  Hint 1: Is it halved?\n") and "15 of 15 values" in lines[0]
    assert lines[1] == lines[0] + "  Hint 2: General.\n"
    assert lines[2] == lines[1] + "  Hint 3: Plain.\n" == lines[3]


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
        (lambda x, w: x.div_(2) @ w, "changes `x` in place"),
        (lambda x, w: exit(), "it calls exit()"),
    ],
)
def test_what_is_wrong_in_words(answer: Any, words: str) -> None:
    text = said(answer)
    assert words in text and text.startswith("✗ toy.scaled: ")


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


def test_an_endless_loop_is_stopped_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercise, "SECONDS", 0.2)

    def spins(x: Any, w: Any) -> Any:
        while True:
            x = x + 0

    def sleeps(x: Any, w: Any) -> Any:
        time.sleep(60)

    before = signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    text = said(spins)
    assert "your loop does not end: after 0.2 s it was stopped at line" in text
    assert "your loop does not end" in said(sleeps)
    with ThreadPoolExecutor(1) as pool:  # where no signal can come
        assert "your loop does not end" in pool.submit(said, spins).result()
    assert time.monotonic() - start < 20
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_loop_that_is_interrupted_by_hand_is_said_so() -> None:
    def mine(x: Any, w: Any) -> Any:
        raise KeyboardInterrupt  # as the notebook's stop button does

    assert "your loop does not end: you stopped it" in said(mine)


def test_what_a_lecture_goes_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    def mine(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return 0.5 * x @ w

    assert exercise.answer("toy.scaled") is scaled and not exercise.is_yours("toy.scaled")
    exercise.exercise("toy.scaled")(mine)
    assert exercise.answer("toy.scaled") is mine and exercise.is_yours("toy.scaled")
    exercise.exercise("toy.scaled")(lambda x, w: x @ w)
    assert exercise.answer("toy.scaled") is scaled and not exercise.is_yours("toy.scaled")


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


class TestHelpers:
    """Each helper accepts the right function, and says of a wrong one what is wrong."""

    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def right(x: torch.Tensor) -> torch.Tensor:
        return x.logsumexp(dim=-1)

    def refused(self, helper: Any, answer: Any, *args: Any) -> str:
        with pytest.raises(checking.CheckFailed) as caught:
            helper(answer, *args)
        return f"{caught.value.what}. {caught.value.hint}"

    def test_right(self) -> None:
        checking.differentiable(self.right, self.right, self.x)
        checking.stable(self.right, self.right, self.x)
        checking.same_dtype(self.right, self.x)
        checking.batch_of_one(self.right, self.right, self.x)

    def test_gradient(self) -> None:
        args = self.right, self.x
        helper = checking.differentiable
        said = self.refused(helper, lambda x: self.right(x.detach()), *args)
        assert "no gradient flows back through the result" in said and ".detach()" in said
        half = self.refused(helper, lambda x: (self.right(x) + self.right(x.detach())) / 2, *args)
        assert (
            "the gradient at `x` has the right shape (4, 3) but 12 of 12 values are wrong" in half
        )

    def test_large_numbers(self) -> None:
        naive = lambda x: x.exp().sum(dim=-1).log()  # noqa: E731
        said = self.refused(checking.stable, naive, self.right, self.x)
        assert "for numbers 100 times as large, holds" in said and "subtract the largest" in said

    def test_types(self) -> None:
        said = self.refused(checking.same_dtype, lambda x: self.right(x.float()), self.x)
        assert "the result is float32 for arguments in bfloat16" in said

    def test_batch_of_one(self) -> None:
        squeezed = lambda x: self.right(x).squeeze()  # noqa: E731
        said = self.refused(checking.batch_of_one, squeezed, self.right, self.x)
        assert "for a batch of one" in said and "no .squeeze()" in said

    def test_in_place(self) -> None:
        said = self.refused(checking.call, lambda words: words.sort() or words, ["b", "a"])
        assert "changes `words` in place" in said and "a copy, list(words)" in said
