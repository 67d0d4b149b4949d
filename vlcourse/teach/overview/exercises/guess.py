"""Lecture 00: what does a guesser get who never looks at the picture?"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect, expect_close, fail


def blind_accuracy(answers: Sequence[str]) -> float:
    """The share of right answers, 0 to 1, of a player who always gives the most frequent one."""
    return Counter(answers).most_common(1)[0][1] / len(answers)


def _check_blind_accuracy(answer: Callable[[Sequence[str]], float]) -> None:
    answers = [*"23101321131311"]  # "1" is right 7 times of 14
    share: Any = call(answer, answers)
    counts = Counter(answers)
    if isinstance(share, (str, tuple)):
        fail(
            f"{share!r} is no share: it holds the most frequent answer itself",
            "most_common(1)[0] is (the answer, how often): take the second, divide by the number.",
        )
    explained = (
        (
            1 / len(counts),
            "this is the score of a guesser who draws each answer equally often",
            "Here the guesser knows which answer is the most frequent, and always gives that one.",
        ),
        (
            max(counts.values()),
            "this is how often the answer occurs, a count and not its share",
            "Divide by the number of answers.",
        ),
        (
            50,
            "this is in percent",
            "A share lies between 0 and 1: do not multiply by 100.",
        ),
        (
            counts[answers[0]] / len(answers),
            "this is the share of the first answer in the list",
            "The guesser gives the most frequent answer, wherever it stands: the largest count.",
        ),
        (
            min(counts.values()) / len(answers),
            "this is the share of the rarest answer",
            "The first entry of most_common() is the most frequent one, the last the rarest.",
        ),
        (
            counts[max(answers)] / len(answers),
            "this is the share of the answer that comes last in the alphabet",
            "max(answers) compares the words: compare how often they occur.",
        ),
        (
            max(counts.values()) / len(counts),
            "the count is divided by the number of different answers",
            "Divide by the number of all answers, len(answers).",
        ),
        (
            0,
            "the share is 0",
            "// drops what is behind the point: divide with /.",
        ),
    )
    for value, what, hint in explained:
        if share == value:
            fail(what, hint)
    hint = "Counter(answers).most_common(1) is [(the answer, how often it occurs)]."
    expect_close(share, 0.5, "the share for 14 answers, 7 of them '1'", hint)
    seven = ["yes", "no", "no", "yes", "no", "no", "yes"]
    expect_close(answer(seven), 4 / 7, "the share for 'no' 4 times of 7", "Do not round.")
    expect_close(answer(["yes", "no"]), 0.5, "the share for one 'yes' and one 'no'", hint)
    alone = answer(["no", "no", "no"])
    expect_close(alone, 1.0, "the share when all answers are 'no'", hint)
    expect(not isinstance(alone, bool), "the share is True, not a number", "Return the quotient.")


def _share(answers: Sequence[str], given: str) -> float:
    return list(answers).count(given) / len(answers)


def _sorted_in_place(answers: list[str]) -> float:
    answers.sort()
    return _share(answers, statistics.mode(answers))


def _by_count(answers: Sequence[str]) -> float:
    return max(_share(answers, given) for given in set(answers))


def _by_dict(answers: Sequence[str]) -> float:
    counts: dict[str, int] = {}
    for given in answers:
        counts[given] = counts.get(given, 0) + 1
    return max(counts.values()) / len(answers)


def _by_max_with_key(answers: Sequence[str]) -> float:
    best = max(set(answers), key=list(answers).count)
    return sum(given == best for given in answers) / len(answers)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="overview.blind_accuracy",
        title="What does a guesser get?",
        minutes=5,
        difficulty=1,
        reference=blind_accuracy,
        check=_check_blind_accuracy,
        hints=(
            "The guesser always says one and the same thing. Which, and how often is it right?",
            "collections.Counter counts how often each answer occurs: you need the largest count.",
            "Counter(answers).most_common(1)[0][1] / len(answers)",
        ),
        wrong=(
            Wrong("every answer equally often", lambda a: 1 / len(set(a)), "most frequent"),
            Wrong("a count, not a share", lambda a: max(Counter(a).values()), "Divide by"),
            Wrong("the rarest answer", lambda a: min(Counter(a).values()) / len(a), "most_common"),
            Wrong("the first answer", lambda a: _share(a, a[0]), "wherever it stands"),
            Wrong("the last in the alphabet", lambda a: _share(a, max(a)), "compares the words"),
            Wrong("sorted in place", _sorted_in_place, "in place"),
            Wrong("in percent", lambda a: 100 * blind_accuracy(a), "do not multiply by 100"),
            Wrong("rounded", lambda a: round(blind_accuracy(a), 1), "Do not round"),
            Wrong(
                "divided without a remainder",
                lambda a: max(Counter(a).values()) // len(a),
                "divide with /",
            ),
            Wrong(
                "divided by the different answers",
                lambda a: max(Counter(a).values()) / len(set(a)),
                "the number of all answers",
            ),
            Wrong("the answer itself", lambda a: Counter(a).most_common()[0][0], "the second"),
        ),
        right=(
            Right("count of each", _by_count),
            Right("a dictionary", _by_dict),
            Right("max with key", _by_max_with_key),
            Right("the mode", lambda a: _share(a, statistics.mode(a))),
        ),
    ),
)
