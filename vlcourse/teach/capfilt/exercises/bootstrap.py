"""The new data set: both texts of each picture, where they came from, and the filter's verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse.teach.capfilt.exercises.keep import keep
from vlcourse.teach.checking import Exercise, NotAttempted, Right, Wrong, call, expect_equal, fail
from vlcourse.teach.mistakes import Mistake

Rows = list[dict[str, Any]]
COLUMNS = ("picture", "text", "origin", "kept")


def bootstrap(
    web: Sequence[str],
    synthetic: Sequence[str],
    web_logits: Tensor,
    synthetic_logits: Tensor,
    threshold: float = 0.5,
) -> Rows:
    """The rows of the new data set, picture by picture, the web's text first.

    Args:
        web, synthetic: n texts each, of the same pictures; one that is empty makes no row.
        web_logits, synthetic_logits: (n, 2), the filter's.
        threshold: see :func:`keep`.

    Returns:
        A row for each text: "picture" (0 to n - 1), "text", "origin" ("web" or "synthetic") and
        "kept", True or False.
    """
    rows: Rows = []
    sides = (
        ("web", web, keep(web_logits, threshold).tolist()),
        ("synthetic", synthetic, keep(synthetic_logits, threshold).tolist()),
    )
    for picture in range(len(web)):
        for origin, texts, kept in sides:
            row = (picture, texts[picture], origin, kept[picture])
            if texts[picture]:
                rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def _again(rows: Rows, **changed: Callable[[dict[str, Any]], Any]) -> Rows:
    return [{**row, **{name: make(row) for name, make in changed.items()}} for row in rows]


def _swapped_scores(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    return bootstrap(web, synthetic, synthetic_logits, web_logits, threshold)


def _replaced(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    rows = bootstrap(web, synthetic, web_logits, synthetic_logits, threshold)
    good = {row["picture"] for row in rows if row["origin"] == "web" and row["kept"]}
    return [row for row in rows if row["origin"] == "web" or row["picture"] not in good]


def _better_one(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    rows = bootstrap(web, synthetic, web_logits, synthetic_logits, threshold)
    above = web_logits.softmax(-1)[:, 1] >= synthetic_logits.softmax(-1)[:, 1]
    best = ["web" if first else "synthetic" for first in above.tolist()]
    return [row for row in rows if row["origin"] == best[row["picture"]]]


def _one_origin_after_the_other(*args: Any) -> Rows:
    return sorted(bootstrap(*args), key=lambda row: row["origin"] != "web")


_MISTAKES = (
    Mistake(
        "only what is kept",
        lambda *args: [row for row in bootstrap(*args) if row["kept"]],
        "the rows that were dropped are missing",
        'Every text makes a row, with its verdict under "kept": a report needs the dropped, too.',
    ),
    Mistake(
        "the web's texts are not judged",
        lambda *args: _again(bootstrap(*args), kept=lambda r: r["kept"] or r["origin"] == "web"),
        "the web's texts are all kept",
        "The filter judges both texts of a picture, the web's too.",
    ),
    Mistake(
        "the synthetic texts are not judged",
        lambda *args: _again(bootstrap(*args), kept=lambda r: r["kept"] or r["origin"] != "web"),
        "the synthetic texts are all kept",
        "The captioner errs, too: the filter judges both texts of a picture.",
    ),
    Mistake(
        "only the web's texts",
        lambda *args: [row for row in bootstrap(*args) if row["origin"] == "web"],
        "the synthetic texts are missing",
        "Each picture brings up to two rows: the web's text, and the captioner's.",
    ),
    Mistake(
        "a synthetic text only where the web's is dropped",
        _replaced,
        "a synthetic text is left out where the web's text was kept",
        "If both texts are good, both stay: the picture then occurs twice.",
    ),
    Mistake(
        "the better of the two",
        _better_one,
        "only the better text of each picture is there",
        "Each text is judged alone: both may stay, and both may go.",
    ),
    Mistake(
        "the other's score",
        _swapped_scores,
        "each text gets the verdict of the other one",
        "web_logits belong to web, and synthetic_logits to synthetic.",
    ),
    Mistake(
        "origins the other way round",
        lambda *args: _again(
            bootstrap(*args), origin=lambda r: "synthetic" if r["origin"] == "web" else "web"
        ),
        "the origins are the wrong way round",
        '"web" is what came with the picture, "synthetic" is what the captioner wrote.',
    ),
    Mistake(
        "the number of the row",
        lambda *args: [{**row, "picture": i} for i, row in enumerate(bootstrap(*args))],
        '"picture" counts the rows, not the pictures',
        "Both texts of a picture carry its number: enumerate the pictures.",
    ),
    Mistake(
        "one origin after the other",
        _one_origin_after_the_other,
        "all of one origin come first, and then the others",
        "Go picture by picture, and put the web's text before the synthetic one.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    web = ["IMG_1.jpg", "a red star", "", "my holiday", "a ring", "a cross"]
    synthetic = ["a blue ring", "one red star", "a pink square", "a star", "", "a white ring"]
    yes, no, even = [-1.0, 2.0], [3.0, 0.5], [0.7, 0.7]
    web_logits = torch.tensor([no, [-2.0, 2.0], no, no, yes, even])
    synthetic_logits = torch.tensor([yes, yes, [0.0, 0.4], no, no, yes])
    args = (web, synthetic, web_logits, synthetic_logits)
    cases = ((*args, 0.5), (*args, 0.7))
    found = [rows_of(call(candidate, *case)) for case in cases]
    wanted = [bootstrap(*case) for case in cases]
    if found != wanted:
        for mistake in _MISTAKES:
            if found == [mistake.function(*case) for case in cases]:
                fail(mistake.what, mistake.hint)
    for got, right in zip(found, wanted, strict=True):
        expect_rows(got, right)
    if rows_of(candidate([], [], web_logits[:0], synthetic_logits[:0], 0.5)):
        fail("there are rows although there are no pictures", "Begin with an empty list.")


def rows_of(value: Any) -> Rows:
    """What an answer returned, if it is a list of rows; else it is refused."""
    if value is None or value is Ellipsis:
        raise NotAttempted
    kind = type(value).__name__
    if not isinstance(value, list):
        fail(f"a list of rows is wanted, not a {kind}", "rows = [], and rows.append({…}).")
    for row in value:
        if not isinstance(row, dict) or set(row) != set(COLUMNS):
            said = ", ".join(map(repr, row)) if isinstance(row, dict) else type(row).__name__
            fail(f"a row has {said}", f"A row is a dict with the keys {', '.join(COLUMNS)}.")
        if not isinstance(row["kept"], bool):
            kind = type(row["kept"]).__name__
            hint = "keep(…).tolist() gives plain True and False, one for each text."
            fail(f'"kept" is a {kind}, not True or False', hint)
    return value


def expect_rows(rows: Rows, wanted: Rows) -> None:
    """Refuse rows that are not those wanted; the first difference is told."""
    texts = [row["text"] for row in wanted]
    if any(not row["text"] for row in rows):
        fail("an empty text makes a row", "A picture may lack a text: it then has no row for it.")
    if [row["text"] for row in rows] != texts:
        hint = "Picture by picture, the web's text and then the synthetic one."
        expect_equal(len(rows), len(texts), "the number of rows", hint)
        fail("the texts are others, or in another order", hint)
    for got, right in zip(rows, wanted, strict=True):
        for name in COLUMNS:
            what = f'"{name}" of {right["text"]!r}'
            hint = "Above the threshold, not equal to it: use keep." if name == "kept" else ""
            expect_equal(got[name], right[name], what, hint)


def _with_empty(web: Any, synthetic: Any, *rest: Any) -> Rows:
    web = [text or "\0" for text in web]
    synthetic = [text or "\0" for text in synthetic]
    return _again(bootstrap(web, synthetic, *rest), text=lambda row: row["text"].strip("\0"))


def _tensors(*args: Any) -> Rows:
    return _again(bootstrap(*args), kept=lambda row: torch.tensor(row["kept"]))


def _a_dict(*args: Any) -> Any:
    return {row["picture"]: row for row in bootstrap(*args)}


def _at_least(web: Any, synthetic: Any, *logits_and_threshold: Any) -> Rows:
    first, second, threshold = logits_and_threshold
    return bootstrap(web, synthetic, first, second, threshold - 1e-6)


def _ignores_threshold(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    return bootstrap(web, synthetic, web_logits, synthetic_logits)


def _by_zip(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    rows = []
    first, second = (keep(x, threshold).tolist() for x in (web_logits, synthetic_logits))
    for i, (w, s, a, b) in enumerate(zip(web, synthetic, first, second, strict=True)):
        if w:
            rows.append({"picture": i, "text": w, "origin": "web", "kept": a})
        if s:
            rows.append({"picture": i, "text": s, "origin": "synthetic", "kept": b})
    return rows


def _in_one_expression(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    texts = {"web": web, "synthetic": synthetic}
    both = torch.stack([web_logits, synthetic_logits]).softmax(dim=-1)[..., 1] > threshold
    return [
        {"picture": i, "text": texts[origin][i], "origin": origin, "kept": bool(both[side, i])}
        for i in range(len(web))
        for side, origin in enumerate(texts)
        if texts[origin][i] != ""
    ]


def _sorted_at_the_end(
    web: Any, synthetic: Any, web_logits: Tensor, synthetic_logits: Tensor, threshold: float = 0.5
) -> Rows:
    rows = []
    pairs = (("web", web, web_logits), ("synthetic", synthetic, synthetic_logits))
    for origin, texts, logits in pairs:
        for i, kept in enumerate(keep(logits, threshold).tolist()):
            rows.append(dict(picture=i, text=texts[i], origin=origin, kept=kept))
    return sorted((row for row in rows if row["text"]), key=lambda row: row["picture"])


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="capfilt.bootstrap",
        title="The new data set",
        minutes=8,
        difficulty=1,
        reference=bootstrap,
        check=_check,
        hints=(
            "Each picture brings up to two rows, and each text is judged by its own logits.",
            "keep(web_logits, threshold).tolist() are the verdicts on the web's texts, in order.",
            "for i, (w, s, a, b) in enumerate(zip(web, synthetic, kept_web, kept_synthetic)): …",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("a row for an empty text", _with_empty, "it then has no row for it"),
            Wrong("tensors as verdicts", _tensors, ".tolist() gives plain True and False"),
            Wrong("a dict of rows", _a_dict, "rows.append"),
            Wrong("equal is enough", _at_least, "not equal to it"),
            Wrong("always 0.5", _ignores_threshold, "use keep"),
        ),
        right=(
            Right("zip", _by_zip),
            Right("one expression", _in_one_expression),
            Right("sorted at the end", _sorted_at_the_end),
        ),
    ),
)
