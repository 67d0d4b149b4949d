"""Answers to "clip.bpe_merge" as students write them, right ones and wrong ones."""

from __future__ import annotations

from collections import Counter, defaultdict

from vlcourse.tokenizers.byte_bpe import merge

Pair = tuple[str, str]
Words = dict[tuple[str, ...], int]


def _counts(words: Words) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in zip(symbols, symbols[1:], strict=False):
            pairs[pair] += count
    return pairs


def _best(pairs: Counter[Pair]) -> Pair:
    return min(pairs, key=lambda pair: (-pairs[pair], pair))


def _merged(words: Words, best: Pair) -> tuple[Pair, Words]:
    return best, {merge(symbols, best): count for symbols, count in words.items()}


def max_of_sorted(words: Words) -> tuple[Pair, Words]:
    pairs: dict[Pair, int] = {}
    for symbols in words:
        for i in range(len(symbols) - 1):
            pair = symbols[i], symbols[i + 1]
            pairs[pair] = pairs.get(pair, 0) + words[symbols]
    best = max(sorted(pairs), key=lambda pair: pairs[pair])  # max keeps the first of equals
    return _merged(words, best)


def sorted_list(words: Words) -> tuple[Pair, Words]:
    pairs: defaultdict[Pair, int] = defaultdict(int)
    for symbols, count in words.items():
        for left, right in zip(symbols[:-1], symbols[1:], strict=True):
            pairs[left, right] += count
    best = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[0][0]
    return _merged(words, best)


def merged_by_hand(words: Words) -> tuple[Pair, Words]:
    best, new = _best(_counts(words)), {}
    for symbols, count in words.items():
        out: list[str] = []
        previous_is_free = False  # may the last symbol of `out` still be joined?
        for symbol in symbols:
            if previous_is_free and (out[-1], symbol) == best:
                out[-1] += symbol
                previous_is_free = False
            else:
                out.append(symbol)
                previous_is_free = True
        new[tuple(out)] = count
    return best, new


def counts_ignored(words: Words) -> tuple[Pair, Words]:
    best = _best(_counts(dict.fromkeys(words, 1)))
    return _merged(words, best)


def pairs_as_a_set(words: Words) -> tuple[Pair, Words]:
    pairs: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in set(zip(symbols, symbols[1:], strict=False)):
            pairs[pair] += count
    best = _best(pairs)
    return _merged(words, best)


def first_seen_wins(words: Words) -> tuple[Pair, Words]:
    best = _counts(words).most_common(1)[0][0]
    return _merged(words, best)


def first_place_only(words: Words) -> tuple[Pair, Words]:
    best = _best(_counts(words))
    merged = {}
    for symbols, count in words.items():
        for i in range(len(symbols) - 1):
            if symbols[i : i + 2] == best:
                symbols = (*symbols[:i], "".join(best), *symbols[i + 2 :])
                break
        merged[symbols] = count
    return best, merged


def overlapping(words: Words) -> tuple[Pair, Words]:
    best = _best(_counts(words))
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


def by_letters(words: Words) -> tuple[Pair, Words]:
    best = _best(_counts(words))
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


def ties_by_length(words: Words) -> tuple[Pair, Words]:
    pairs = _counts(words)
    return _merged(words, min(pairs, key=lambda p: (-pairs[p], len("".join(p)), p)))


def ties_to_the_longest(words: Words) -> tuple[Pair, Words]:
    pairs = _counts(words)
    return _merged(words, min(pairs, key=lambda p: (-pairs[p], -len("".join(p)), p)))


def ties_by_joined_string(words: Words) -> tuple[Pair, Words]:
    pairs = _counts(words)
    return _merged(words, min(pairs, key=lambda p: (-pairs[p], "".join(p))))


def ties_to_the_last(words: Words) -> tuple[Pair, Words]:
    pairs = _counts(words)
    return _merged(words, max(pairs, key=lambda p: (pairs[p], p)))


def counted_as_joined_strings(words: Words) -> tuple[Pair, Words]:
    joined: Counter[str] = Counter()
    for pair, count in _counts(words).items():
        joined["".join(pair)] += count
    pairs = Counter({pair: joined["".join(pair)] for pair in _counts(words)})
    return _merged(words, _best(pairs))


def overlaps_counted_once(words: Words) -> tuple[Pair, Words]:
    pairs: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in set(zip(symbols, symbols[1:], strict=False)):
            pairs[pair] += count * (len(symbols) - len(merge(symbols, pair)))
    return _merged(words, _best(pairs))


def replaced_in_joined_strings(words: Words) -> tuple[Pair, Words]:
    best = _best(_counts(words))
    return best, {
        tuple(" ".join(symbols).replace(" ".join(best), "".join(best)).split()): count
        for symbols, count in words.items()
    }


def lower_cased(words: Words) -> tuple[Pair, Words]:
    lower: Counter[tuple[str, ...]] = Counter()
    for symbols, count in words.items():
        lower[tuple(symbol.lower() for symbol in symbols)] += count
    return _merged(lower, _best(_counts(lower)))


def a_list_as_the_pair(words: Words) -> tuple[list[str], Words]:
    best, merged = _merged(words, _best(_counts(words)))
    return list(best), merged


def a_string_as_the_pair(words: Words) -> tuple[str, Words]:
    best, merged = _merged(words, _best(_counts(words)))
    return "".join(best), merged


def a_list_of_both(words: Words) -> list[Pair | Words]:
    return list(_merged(words, _best(_counts(words))))


def strings_as_words(words: Words) -> tuple[Pair, dict[str, int]]:
    best, merged = _merged(words, _best(_counts(words)))
    return best, {" ".join(symbols): count for symbols, count in merged.items()}


def a_list_of_words(words: Words) -> tuple[Pair, list[tuple[str, ...]]]:
    best, merged = _merged(words, _best(_counts(words)))
    return best, list(merged)


def words_without_it_dropped(words: Words) -> tuple[Pair, Words]:
    best, merged = _merged(words, _best(_counts(words)))
    return best, {symbols: count for symbols, count in merged.items() if "".join(best) in symbols}


def changed_in_place(words: Words) -> tuple[Pair, Words]:
    best = _best(_counts(words))
    for symbols in list(words):
        words[merge(symbols, best)] = words.pop(symbols)
    return best, words
