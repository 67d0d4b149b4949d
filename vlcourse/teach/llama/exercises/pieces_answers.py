"""Answers to "llama.bpe" as students write them, right ones and wrong ones."""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Callable, Iterable

from vlcourse.tokenizers.byte_bpe import merge

Scores = dict[str, float]


def _marked(text: str) -> list[str]:
    return list("▁" + text.replace(" ", "▁"))


Choice = Callable[[list[tuple[float, int]]], int]


def _merged(symbols: list[str], scores: Scores, choose: Choice, rounds: int = 1000) -> list[str]:
    """Join neighbours as long as there are (score, place) to ``choose`` a place from."""
    for _ in range(rounds):
        pairs = enumerate(zip(symbols, symbols[1:], strict=False))
        places = [(scores[a + b], i) for i, (a, b) in pairs if a + b in scores]
        if not places:
            break
        i = choose(places)
        symbols = [*symbols[:i], symbols[i] + symbols[i + 1], *symbols[i + 2 :]]
    return symbols


def _best(places: list[tuple[float, int]]) -> int:
    return max(places, key=lambda place: (place[0], -place[1]))[1]


def _with_bytes(symbols: Iterable[str], scores: Scores) -> list[str]:
    out: list[str] = []
    for symbol in symbols:
        known = symbol in scores
        out += [symbol] if known else [f"<0x{byte:02X}>" for byte in symbol.encode()]
    return out


def by_scanning(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    while True:
        best, best_score = None, float("-inf")
        for i in range(len(symbols) - 1):
            joined = symbols[i] + symbols[i + 1]
            score = scores.get(joined, float("-inf"))
            if score > best_score:  # not >=: the leftmost of equals
                best, best_score = i, score
        if best is None:
            return _with_bytes(symbols, scores)
        symbols = symbols[:best] + [symbols[best] + symbols[best + 1]] + symbols[best + 2 :]


def everywhere_at_once(text: str, scores: Scores) -> list[str]:
    symbols = tuple(_marked(text))
    while pairs := [p for p in zip(symbols, symbols[1:], strict=False) if "".join(p) in scores]:
        symbols = merge(symbols, max(pairs, key=lambda pair: scores["".join(pair)]))
    return _with_bytes(symbols, scores)


def by_recursion(text: str, scores: Scores) -> list[str]:
    def joined(symbols: list[str]) -> list[str]:
        places = [i for i in range(1, len(symbols)) if symbols[i - 1] + symbols[i] in scores]
        if not places:
            return symbols
        i = min(places, key=lambda i: (-scores[symbols[i - 1] + symbols[i]], i))
        return joined([*symbols[: i - 1], symbols[i - 1] + symbols[i], *symbols[i + 1 :]])

    pieces = []
    for symbol in joined(_marked(text)):
        if symbol in scores:
            pieces.append(symbol)
        else:
            pieces.extend("<0x" + format(byte, "02X") + ">" for byte in bytes(symbol, "utf-8"))
    return pieces


def by_a_heap(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    after = [*range(1, len(symbols) + 1)]
    before = [*range(-1, len(symbols) - 1)]
    heap: list[tuple[float, int, str]] = []

    def push(left: int) -> None:
        right = after[left] if left >= 0 else len(symbols)
        if right < len(symbols) and symbols[left] + symbols[right] in scores:
            joined = symbols[left] + symbols[right]
            heapq.heappush(heap, (-scores[joined], left, joined))

    for i in range(len(symbols)):
        push(i)
    while heap:
        _, left, joined = heapq.heappop(heap)
        right = after[left]
        if not symbols[left] or right >= len(symbols) or symbols[left] + symbols[right] != joined:
            continue  # one of the two has been joined with another one since
        symbols[left], symbols[right] = joined, ""
        after[left] = after[right]
        if after[left] < len(symbols):
            before[after[left]] = left
        push(before[left])
        push(left)
    return _with_bytes([symbol for symbol in symbols if symbol], scores)


def leftmost(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, lambda places: places[0][1]), scores)


def worst_first(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, lambda places: min(places)[1]), scores)


def ties_to_the_right(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, lambda places: max(places)[1]), scores)


def longest_match(text: str, scores: Scores) -> list[str]:
    rest, out = "".join(_marked(text)), []
    while rest:
        ends = [n for n in range(len(rest), 0, -1) if rest[:n] in scores] or [1]
        out.append(rest[: ends[0]])
        rest = rest[ends[0] :]
    return _with_bytes(out, scores)


def one_merge(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, _best, rounds=1), scores)


def each_piece_once(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        symbols = _merged(symbols, {piece: 0.0}, _best, rounds=1)
    return _with_bytes(symbols, scores)


def no_prefix(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text)[1:], scores, _best), scores)


def spaces_left(text: str, scores: Scores) -> list[str]:
    symbols = _merged(list("▁" + text), scores, _best)
    return [s if s == " " else piece for s in symbols for piece in _with_bytes([s], scores)]


def unknown_piece(text: str, scores: Scores) -> list[str]:
    return [s if s in scores else "<unk>" for s in _merged(_marked(text), scores, _best)]


def characters_kept(text: str, scores: Scores) -> list[str]:
    return _merged(_marked(text), scores, _best)


def code_points(text: str, scores: Scores) -> list[str]:
    merged = _merged(_marked(text), scores, _best)
    return [s if s in scores else f"<0x{ord(s):02X}>" for s in merged]


def small_digits(text: str, scores: Scores) -> list[str]:
    pieces = _with_bytes(_merged(_marked(text), scores, _best), scores)
    return [p.replace(p[3:5], p[3:5].lower()) if p.startswith("<0x") else p for p in pieces]


def one_digit(text: str, scores: Scores) -> list[str]:
    return [
        p.replace("<0x0", "<0x") for p in _with_bytes(_merged(_marked(text), scores, _best), scores)
    ]


def all_as_bytes(text: str, scores: Scores) -> list[str]:
    if all(symbol in scores for symbol in _marked(text)):
        return _with_bytes(_merged(_marked(text), scores, _best), scores)
    return ["▁", *_with_bytes(text, {})]


def endless(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    while len(symbols) > 1:
        symbols = _merged(symbols, scores, _best, rounds=1)
    return symbols


def split_at_spaces(text: str, scores: Scores) -> list[str]:
    words = ["▁" + word for word in text.split(" ")]
    return [p for word in words for p in _with_bytes(_merged(list(word), scores, _best), scores)]


def words_of_split(text: str, scores: Scores) -> list[str]:
    marked = "".join("▁" + word for word in text.split())
    return _with_bytes(_merged(list(marked), scores, _best), scores)


def stripped(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text.strip()), scores, _best), scores)


def one_pass(text: str, scores: Scores) -> list[str]:
    symbols = tuple(_marked(text))
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        for k in range(1, len(piece)):
            symbols = merge(symbols, (piece[:k], piece[k:]))
    return _with_bytes(symbols, scores)


def normalised(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(unicodedata.normalize("NFKC", text)), scores, _best), scores)


def composed(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(unicodedata.normalize("NFC", text)), scores, _best), scores)


def without_accents(text: str, scores: Scores) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return _with_bytes(_merged(_marked(plain), scores, _best), scores)


def lower_cased(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text.lower()), scores, _best), scores)


def mark_twice(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(" " + text), scores, _best), scores)


def mark_at_the_end(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(list(text.replace(" ", "▁") + "▁"), scores, _best), scores)


def decimal_bytes(text: str, scores: Scores) -> list[str]:
    merged = _merged(_marked(text), scores, _best)
    pieces = [[s] if s in scores else [f"<0x{b:02d}>" for b in s.encode()] for s in merged]
    return [piece for part in pieces for piece in part]


def bare_hex(text: str, scores: Scores) -> list[str]:
    merged = _merged(_marked(text), scores, _best)
    pieces = [[s] if s in scores else [f"{b:02X}" for b in s.encode()] for s in merged]
    return [piece for part in pieces for piece in part]


def bytes_in_one(text: str, scores: Scores) -> list[str]:
    merged = _merged(_marked(text), scores, _best)
    return [s if s in scores else f"<0x{s.encode().hex().upper()}>" for s in merged]


def bytes_at_the_end(text: str, scores: Scores) -> list[str]:
    merged = _merged(_marked(text), scores, _best)
    known = [s for s in merged if s in scores]
    return known + _with_bytes([s for s in merged if s not in scores], scores)


def unknown_dropped(text: str, scores: Scores) -> list[str]:
    return [s for s in _merged(_marked(text), scores, _best) if s in scores]


def longest_pair_first(text: str, scores: Scores) -> list[str]:
    lengths = {piece: float(len(piece)) for piece in scores}
    return _with_bytes(_merged(_marked(text), lengths, _best), scores)


def only_negative(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    while True:
        pairs = [scores.get(a + b, 0) for a, b in zip(symbols, symbols[1:], strict=False)]
        known = [score or float("-inf") for score in pairs]
        if not known or max(known) == float("-inf"):
            return _with_bytes(symbols, scores)
        i = known.index(max(known))
        symbols[i : i + 2] = ["".join(symbols[i : i + 2])]


def changed_scores(text: str, scores: Scores) -> list[str]:
    for byte in range(256):
        scores[f"<0x{byte:02X}>"] = 0.0
    return _with_bytes(_merged(_marked(text), scores, _best), scores)


def as_a_string(text: str, scores: Scores) -> str:
    return " ".join(_with_bytes(_merged(_marked(text), scores, _best), scores))


def as_a_tuple(text: str, scores: Scores) -> tuple[str, ...]:
    return tuple(_with_bytes(_merged(_marked(text), scores, _best), scores))


def nested(text: str, scores: Scores) -> list[list[str]]:
    return [_with_bytes([s], scores) for s in _merged(_marked(text), scores, _best)]


def as_places(text: str, scores: Scores) -> list[int]:
    ids = {piece: i for i, piece in enumerate(scores)}
    return [ids.get(s, -1) for s in _merged(_marked(text), scores, _best)]
