"""The capstone: a whole round of CapFilt, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.teach.capfilt.exercises.bootstrap import Rows, bootstrap, expect_rows, rows_of
from vlcourse.teach.checking import Exercise, Right, Wrong, call, fail

Write = Callable[[Sequence[Any], list[int]], list[str]]
Match = Callable[[Sequence[Any], Sequence[str]], Tensor]


def capfilt(
    pictures: Sequence[Any], texts: Sequence[str], write: Write, match: Match, batch: int = 32
) -> Rows:
    """One round: a new text for each picture, and a verdict on both.

    Args:
        pictures, texts: n pictures, and what the web says of them.
        write: the captioner: (pictures, seeds) → a text each.
        match: the filter: (pictures, texts) → (m, 2) logits.
        batch: pictures at a time.

    Returns:
        The rows of :func:`bootstrap`, "picture" counted from 0 to n - 1. A picture's number is also
        the seed of its text, so that the result does not depend on ``batch``.
    """
    rows: Rows = []
    for start in range(0, len(pictures), batch):
        some, web = pictures[start : start + batch], texts[start : start + batch]
        synthetic = write(some, list(range(start, start + len(some))))
        judged = bootstrap(web, synthetic, match(some, web), match(some, synthetic))
        rows += [{**row, "picture": start + row["picture"]} for row in judged]
    return rows


class _Machine:
    """A captioner and a filter made of arithmetic, which notice how they are used."""

    def __init__(self, batch: int) -> None:
        self.batch, self.largest = batch, 0
        self.seeds: dict[int, int] = {}

    def write(self, pictures: Sequence[int], seeds: Any) -> list[str]:
        if not isinstance(seeds, list | range) or len(seeds) != len(pictures):
            fail(
                "write gets seeds that are not one for each picture",
                "write(some, seeds): seeds is a list of as many numbers as there are pictures.",
            )
        self.largest = max(self.largest, len(pictures))
        self.seeds.update(zip(pictures, seeds, strict=True))
        return [f"picture {picture}, drawn" for picture in pictures]

    def match(self, pictures: Sequence[int], texts: Sequence[str]) -> Tensor:
        if len(pictures) != len(texts):
            fail(
                f"match gets {len(pictures)} pictures and {len(texts)} texts",
                "Cut both alike: pictures[start : start + batch], texts[start : start + batch].",
            )
        self.largest = max(self.largest, len(pictures))
        fits = [f"picture {p}," in text for p, text in zip(pictures, texts, strict=True)]
        good = [fit and not text.endswith("lie") for fit, text in zip(fits, texts, strict=True)]
        signs = torch.tensor([[1.0 if yes else -1.0] for yes in good])
        return torch.cat([-signs, signs], dim=1) if len(signs) else torch.zeros(0, 2)


NUMBERS = (30, 31, 32, 33, 34, 35, 36)  # the "pictures"
TEXTS = [f"picture {i}, seen" if i % 3 else f"picture {i}, a lie" for i in NUMBERS]


def _check(candidate: Callable[..., Any]) -> None:
    for batch in (3, 7, 20):  # the last one short, exactly one, more than there are
        machine = _Machine(batch)
        pictures = list(NUMBERS)
        rows = rows_of(call(candidate, pictures, TEXTS, machine.write, machine.match, batch))
        wanted = capfilt(pictures, TEXTS, _Machine(batch).write, _Machine(batch).match, batch)
        _expect_pictures(rows, wanted)
        if machine.largest > batch:
            fail(
                f"{machine.largest} pictures go through a model at once, with batch = {batch}",
                "range(0, len(pictures), batch) gives the start of each batch.",
            )
        seeds = [machine.seeds[picture] for picture in pictures]
        if seeds != list(range(len(NUMBERS))):
            fail(
                f"the seeds are {seeds}, so that texts depend on how the pictures are batched",
                "A picture's seed is its number in the whole set: start + its place in the batch.",
            )
        expect_rows(rows, wanted)


def _expect_pictures(rows: Rows, wanted: Rows) -> None:
    """Refuse what is wrong with pictures as such, in words of its own."""
    found, right = ([row["picture"] for row in each] for each in (rows, wanted))
    if found == right:
        return
    if [row["text"] for row in rows] == [row["text"] for row in wanted]:
        fail(
            '"picture" starts again at 0 in each batch',
            'bootstrap counts within its batch: add start to row["picture"].',
        )
    if rows and not any(not row["kept"] for row in rows):
        fail(
            "the rows that were dropped are missing",
            'Leave them in: "kept" says what became of each text.',
        )
    if len(rows) > len(wanted):
        fail("there are too many rows", "Each picture is in one batch: step by `batch`.")
    if found == right[: len(found)]:
        fail(
            "the last pictures are missing",
            "The last batch may be shorter: range(0, len(pictures), batch) gets there.",
        )
    if len(set(found)) == len(found):
        fail(
            "each picture has one row",
            "bootstrap returns up to two rows a picture, the web's and the synthetic one.",
        )


def _numbers_of_the_batch(
    pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32
) -> Rows:
    rows: Rows = []
    for start in range(0, len(pictures), batch):
        some, web = pictures[start : start + batch], texts[start : start + batch]
        synthetic = write(some, list(range(start, start + len(some))))
        rows += bootstrap(web, synthetic, match(some, web), match(some, synthetic))
    return rows


def _seeds_of_the_batch(
    pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32
) -> Rows:
    return capfilt(
        pictures, texts, lambda some, seeds: write(some, list(range(len(some)))), match, batch
    )


def _one_seed(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    return capfilt(pictures, texts, lambda some, seeds: write(some, [0] * len(some)), match, batch)


def _a_single_seed(pictures: Any, texts: Any, write: Any, match: Match, batch: int = 32) -> Rows:
    return capfilt(pictures, texts, lambda some, seeds: write(some, seeds[0]), match, batch)


def _whole_batches_only(
    pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32
) -> Rows:
    whole = len(pictures) // batch * batch
    return capfilt(pictures[:whole], texts[:whole], write, match, batch)


def _at_once(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    return capfilt(pictures, texts, write, match, max(len(pictures), 1))


def _only_kept(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    return [row for row in capfilt(pictures, texts, write, match, batch) if row["kept"]]


def _all_texts(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    rows: Rows = []
    for start in range(0, len(pictures), batch):
        some = pictures[start : start + batch]
        synthetic = write(some, list(range(start, start + len(some))))
        rows += bootstrap(texts, synthetic, match(some, texts), match(some, synthetic))
    return rows


def _judged_once(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    rows: Rows = []
    for start in range(0, len(pictures), batch):
        some, web = pictures[start : start + batch], texts[start : start + batch]
        logits = match(some, web)
        synthetic = write(some, list(range(start, start + len(some))))
        judged = bootstrap(web, synthetic, logits, logits)
        rows += [{**row, "picture": start + row["picture"]} for row in judged]
    return rows


def _by_one(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    rows: Rows = []
    for i, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        said = write([picture], [i])
        for row in bootstrap([text], said, match([picture], [text]), match([picture], said)):
            rows.append({**row, "picture": i})
    return rows


def _all_written_first(
    pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32
) -> Rows:
    starts = range(0, len(pictures), batch)
    said: list[str] = []
    for start in starts:
        some = pictures[start : start + batch]
        said += write(some, list(range(start, start + len(some))))
    logits = [
        torch.cat([match(pictures[s : s + batch], each[s : s + batch]) for s in starts])
        for each in (texts, said)
    ]
    return bootstrap(texts, said, logits[0], logits[1])


def _with_while(pictures: Any, texts: Any, write: Write, match: Match, batch: int = 32) -> Rows:
    rows: Rows = []
    done = 0
    while done < len(pictures):
        end = min(done + batch, len(pictures))
        said = write(pictures[done:end], [*range(done, end)])
        web = texts[done:end]
        first, second = match(pictures[done:end], web), match(pictures[done:end], said)
        for row in bootstrap(web, said, first, second):
            rows.append(dict(row, picture=row["picture"] + done))
        done = end
    return rows


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="capfilt.round",
        title="A whole round",
        minutes=12,
        difficulty=2,
        reference=capfilt,
        check=_check,
        hints=(
            "For each batch: write, match the web's texts, match the new texts, bootstrap.",
            "Numbers and seeds are those of the whole set: start + the place in the batch.",
            "for start in range(0, len(pictures), batch): some = pictures[start : start + batch]",
        ),
        wrong=(
            Wrong("numbers of the batch", _numbers_of_the_batch, "add start"),
            Wrong("seeds of the batch", _seeds_of_the_batch, "its number in the whole set"),
            Wrong("one seed for all", _one_seed, "its number in the whole set"),
            Wrong("a single seed", _a_single_seed, "seeds is a list"),
            Wrong("whole batches only", _whole_batches_only, "The last batch may be shorter"),
            Wrong("everything at once", _at_once, "the start of each batch"),
            Wrong("only what is kept", _only_kept, "what became of each text"),
            Wrong("all texts with each batch", _all_texts, "Cut both alike"),
            Wrong("one verdict for both", _judged_once, "of 'picture"),
        ),
        right=(
            Right("one by one", _by_one),
            Right("all written first", _all_written_first),
            Right("while", _with_while),
        ),
    ),
)
