"""One step of learning byte-pair encoding: find the most frequent pair, and join it everywhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vlcourse.teach.checking import Exercise, Wrong, expect, expect_equal, fail
from vlcourse.tokenizers import byte_bpe

Pair = tuple[str, str]
Words = dict[tuple[str, ...], int]


def bpe_merge(words: Words) -> tuple[Pair, Words]:
    """The reference: count the pairs, take the best, and merge it in each word."""
    best = _best(_pair_counts(words))
    return best, {byte_bpe.merge(symbols, best): count for symbols, count in words.items()}


def _pair_counts(words: Words) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in zip(symbols, symbols[1:], strict=False):
            pairs[pair] += count
    return pairs


def _best(pairs: Counter[Pair]) -> Pair:
    return min(pairs, key=lambda pair: (-pairs[pair], pair))


# What is tried, the words, and what to look at when the pair is wrong.
_PAIRS: tuple[tuple[str, Words, str], ...] = (
    (
        "a frequent word and two rare ones",
        {("h", "o", "t"): 9, ("o", "n", "e"): 2, ("o", "n"): 3},
        "A pair in a word that occurs nine times counts nine times: add the word's count.",
    ),
    (
        "a word that holds the same pair twice",
        {("t", "o", "t", "o"): 2, ("n", "e"): 3},
        "Count each place where the pair stands, also the second one in the same word.",
    ),
    (
        "two pairs that are equally frequent",
        {("z", "o"): 4, ("b", "y"): 4},
        "Ties go to the pair that sorts first: min over (-count, pair).",
    ),
)
_MERGES: tuple[tuple[str, Words, str], ...] = (
    (
        "a pair that overlaps itself",
        {("a", "a", "a", "b"): 5},
        "Go from left to right, and after a merge step over both symbols: a a a is aa a.",
    ),
    (
        "a pair that stands twice in a word",
        {("t", "o", "t", "o"): 2, ("n", "e"): 3},
        "Merge every place where the pair stands, not only the first.",
    ),
    (
        "longer symbols",
        {("lo", "w</w>"): 6, ("l", "ow</w>"): 1, ("s", "lo", "w</w>"): 2},
        "Compare symbols, not letters: ('l', 'ow</w>') is another pair than ('lo', 'w</w>').",
    ),
)


def _check(candidate: Any) -> None:
    for what, words, hint in _PAIRS:
        expect_equal(_answer(candidate, words)[0], bpe_merge(words)[0], f"the pair of {what}", hint)
    for what, words, hint in _MERGES:
        pair, merged = _answer(candidate, words)
        expect_equal(pair, bpe_merge(words)[0], f"the pair of {what}")
        expect_equal(merged, bpe_merge(words)[1], f"the words after merging {what}", hint)


def _answer(candidate: Any, words: Words) -> tuple[Pair, Words]:
    given = dict(words)
    answer = candidate(given)
    if not isinstance(answer, tuple) or len(answer) != 2:
        fail(
            "two things are wanted: the pair, and the words after the merge",
            "End with `return best, merged`.",
        )
    expect(
        given == words,
        "your code changes the words it is given",
        "Build a new dictionary: {merge(symbols, best): count for …}.",
    )
    return answer


def _counts_ignored(words: Words) -> tuple[Pair, Words]:
    best = _best(_pair_counts(dict.fromkeys(words, 1)))
    return best, {byte_bpe.merge(symbols, best): count for symbols, count in words.items()}


def _pairs_as_a_set(words: Words) -> tuple[Pair, Words]:
    pairs: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in set(zip(symbols, symbols[1:], strict=False)):
            pairs[pair] += count
    best = _best(pairs)
    return best, {byte_bpe.merge(symbols, best): count for symbols, count in words.items()}


def _first_seen_wins(words: Words) -> tuple[Pair, Words]:
    best = _pair_counts(words).most_common(1)[0][0]
    return best, {byte_bpe.merge(symbols, best): count for symbols, count in words.items()}


def _first_place_only(words: Words) -> tuple[Pair, Words]:
    best = _best(_pair_counts(words))
    merged = {}
    for symbols, count in words.items():
        for i in range(len(symbols) - 1):
            if symbols[i : i + 2] == best:
                symbols = (*symbols[:i], "".join(best), *symbols[i + 2 :])
                break
        merged[symbols] = count
    return best, merged


def _overlapping(words: Words) -> tuple[Pair, Words]:
    best = _best(_pair_counts(words))
    merged = {}
    for symbols, count in words.items():
        out: list[str] = []
        for i, symbol in enumerate(symbols):
            if symbols[i : i + 2] == best:
                out.append("".join(best))
            elif symbols[max(i - 1, 0) : i + 1] != best:
                out.append(symbol)
        merged[tuple(out)] = count
    return best, merged


def _by_letters(words: Words) -> tuple[Pair, Words]:
    best = _best(_pair_counts(words))
    joined = "".join(best)
    return best, {
        tuple(" ".join(symbols).replace(" ".join(best), joined).split())
        if joined not in "".join(symbols)
        else tuple(
            part
            for piece in "".join(symbols).replace(joined, f" {joined} ").split()
            for part in ([piece] if piece == joined else list(piece))
        ): count
        for symbols, count in words.items()
    }


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.bpe_merge",
        title="One step of learning a tokenizer",
        minutes=12,
        difficulty=2,
        reference=bpe_merge,
        check=_check,
        hints=(
            "Count all neighbouring pairs, each as often as its word occurs; then join the best.",
            "A word's neighbours are zip(symbols, symbols[1:]); a Counter adds up their counts.",
            "best = min(pairs, key=lambda p: (-pairs[p], p)); then byte_bpe.merge on each word.",
        ),
        wrong=(
            Wrong("words counted once", _counts_ignored, "add the word's count"),
            Wrong("a pair counted once a word", _pairs_as_a_set, "the second one"),
            Wrong("ties to the first seen", _first_seen_wins, "sorts first"),
            Wrong("only the first place merged", _first_place_only, "every place"),
            Wrong("overlapping merges", _overlapping, "step over both symbols"),
            Wrong("letters instead of symbols", _by_letters, "Compare symbols"),
        ),
    ),
)
