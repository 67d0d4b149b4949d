"""One step of learning byte-pair encoding: find the most frequent pair, and join it everywhere."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_equal, fail
from vlcourse.teach.clip.exercises import merges_answers as answers
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
        {("h", "o"): 9, ("o", "n", "e"): 2, ("o", "n"): 3},
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
    (
        "two equally frequent pairs, the longer of which sorts first",
        {("b", "y"): 4, ("aa", "zz"): 4},
        "Lengths do not matter: ties go to the pair that sorts first, ('aa', 'zz').",
    ),
    (
        "two equally frequent pairs, the shorter of which sorts first",
        {("bb", "yy"): 4, ("a", "z"): 4},
        "Lengths do not matter: ties go to the pair that sorts first, ('a', 'z').",
    ),
    (
        "two equally frequent pairs that sort otherwise when they are joined",
        {("ab", "c"): 4, ("a", "bd"): 4},
        "Compare the pairs themselves: ('a', 'bd') sorts before ('ab', 'c'), 'abd' after 'abc'.",
    ),
    (
        "two pairs that look the same when they are joined",
        {("a", "bc"): 3, ("ab", "c"): 3, ("x", "y"): 5},
        "Count pairs, not joined strings: ('a', 'bc') and ('ab', 'c') are two different pairs.",
    ),
    (
        "a word of three equal letters",
        {("a", "a", "a"): 3, ("b", "c"): 5},
        "a a a holds the pair (a, a) twice, at places 0 and 1: count both, though they overlap.",
    ),
    (
        "capital letters",
        {("T", "h"): 3, ("t", "h"): 2, ("i", "n"): 4},
        "Symbols stay as they are: T and t are two of them, do not lower the case here.",
    ),
    (
        "words of a single symbol",
        {("a</w>",): 9, ("i", "n</w>"): 2},
        "A word of one symbol has no pair, and is counted nowhere.",
    ),
)
_MERGES: tuple[tuple[str, Words, str], ...] = (
    (
        "words without the pair, one of them a single symbol",
        {("i", "n</w>"): 4, ("a</w>",): 3, ("o", "f</w>"): 2},
        "Words without the pair stay as they are, with their counts.",
    ),
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
    (
        "symbols that end or begin like the pair",
        {("o", "t"): 9, ("lo", "t"): 1, ("o", "to"): 1},
        "Do not replace inside a joined string: in “lo t” the pair (o, t) does not occur.",
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
    answer = call(candidate, dict(words))
    if isinstance(answer, list) and len(answer) == 2:
        fail("the two results come as a list", "End with `return best, merged`, which is a tuple.")
    if not isinstance(answer, tuple) or len(answer) != 2:
        fail(
            "two things are wanted: the pair, and the words after the merge",
            "End with `return best, merged`.",
        )
    pair, merged = answer
    if isinstance(pair, list):
        fail(
            f"the pair is a list, {pair}",
            "A tuple is wanted, tuple(pair): only that is equal to one, and can be a key.",
        )
    if isinstance(pair, str):
        fail(
            f"the pair is a string, {pair!r}",
            "Keep its two symbols apart, as a tuple: the joined string is what they become.",
        )
    if not isinstance(merged, dict):
        kind = type(merged).__name__
        fail(
            f"the words come back as a {kind}",
            "A dictionary is wanted, symbols → count, as it came in: the next step starts from it.",
        )
    if any(not isinstance(symbols, tuple) for symbols in merged):
        fail(
            "the words are no longer tuples of symbols",
            "Keep each word cut into symbols, a tuple: the next step counts their pairs.",
        )
    return answer


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
            Wrong("words counted once", answers.counts_ignored, "add the word's count"),
            Wrong("a pair counted once a word", answers.pairs_as_a_set, "the second one"),
            Wrong("ties to the first seen", answers.first_seen_wins, "sorts first"),
            Wrong("only the first place merged", answers.first_place_only, "every place"),
            Wrong("overlapping merges", answers.overlapping, "step over both symbols"),
            Wrong("letters instead of symbols", answers.by_letters, "Compare symbols"),
            Wrong("ties to the shortest", answers.ties_by_length, "Lengths do not matter"),
            Wrong("ties to the longest", answers.ties_to_the_longest, "Lengths do not matter"),
            Wrong("ties by joined string", answers.ties_by_joined_string, "pairs themselves"),
            Wrong("ties to the last", answers.ties_to_the_last, "sorts first"),
            Wrong("joined strings counted", answers.counted_as_joined_strings, "Count pairs"),
            Wrong("aaa counted once", answers.overlaps_counted_once, "count both"),
            Wrong(
                "replaced in a joined string",
                answers.replaced_in_joined_strings,
                "inside a joined string",
            ),
            Wrong("lower-cased", answers.lower_cased, "do not lower the case"),
            Wrong("the pair as a list", answers.a_list_as_the_pair, "A tuple is wanted"),
            Wrong("the pair as a string", answers.a_string_as_the_pair, "symbols apart"),
            Wrong("a list of both", answers.a_list_of_both, "return best, merged"),
            Wrong("words as strings", answers.strings_as_words, "cut into symbols"),
            Wrong("words as a list", answers.a_list_of_words, "A dictionary is wanted"),
            Wrong("other words dropped", answers.words_without_it_dropped, "stay as they are"),
            Wrong("changed in place", answers.changed_in_place, "in place"),
        ),
        right=(
            Right("max of the sorted pairs", answers.max_of_sorted),
            Right("a sorted list", answers.sorted_list),
            Right("merged by hand", answers.merged_by_hand),
        ),
    ),
)
