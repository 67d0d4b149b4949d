"""Encode a text as SentencePiece does: mark the spaces, merge by score, fall back to bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from vlcourse.teach.checking import Exercise, Wrong, expect, expect_equal, fail
from vlcourse.tokenizers.sentence_bpe import SPECIAL, Piece, SentenceBPE

Scores = dict[str, float]


def encode_bpe(text: str, scores: Scores) -> list[str]:
    """The reference: the library's tokenizer with this vocabulary, as pieces instead of ids."""
    tokenizer = SentenceBPE([*SPECIAL, *(Piece(piece, score) for piece, score in scores.items())])
    return [tokenizer.piece(i) for i in tokenizer.encode(text)]


class _Patient(Scores):
    """The scores, which lose patience with a loop that never ends."""

    looked_up = 0

    def _count(self) -> None:
        self.looked_up += 1
        if self.looked_up > 20_000:
            fail("your loop never ends", "Stop when no two neighbours make a piece.")

    def __contains__(self, piece: object) -> bool:
        self._count()
        return super().__contains__(piece)

    def __getitem__(self, piece: str) -> float:
        self._count()
        return super().__getitem__(piece)

    def get(self, piece: str, default: Any = None) -> Any:
        self._count()
        return super().get(piece, default)


def _vocabulary(learned: str, characters: str) -> Scores:
    """Merged pieces in the order they were learned, then characters: 0, -1, -2, …"""
    return {piece: -float(i) for i, piece in enumerate((*learned.split(), *characters))}


_RING = _vocabulary("in ▁r ing ▁ring ▁a", "▁aeginrdt")
_BANANA = _vocabulary("an ▁b ▁ban ana", "▁abn")
_OTHER = _vocabulary("he ▁t er her ▁th the", "▁theor")
_BEST = (
    "Of all neighbours that make a piece, join those with the highest score; then look again at"
    " all neighbours."
)
_MARK = 'First of all: "▁" + text.replace(" ", "▁").'
_BYTES = 'A character that is no piece becomes its bytes: symbol.encode("utf-8"), each as <0xNN>.'
_AGAIN = "Go on until no two neighbours make a piece: one pair may stand at several places."

# What is tried, the text, the vocabulary, and what to look at when the pieces are wrong.
_CASES: tuple[tuple[str, str, Scores, str], ...] = (
    ("a word", "ring", _RING, _BEST),
    ("two words", "a ring", _RING, _MARK),
    ("a word in which neighbours compete", "other", _OTHER, _BEST),
    ("a word whose long pieces cannot be reached", "the", _OTHER, _BEST),
    ("a word in which a pair stands twice", "banan", _BANANA, _AGAIN),
    (
        "letters that are all the same",
        "aaa",
        _vocabulary("aa", "▁a"),
        "Of equal scores the leftmost wins: max over (score, -place).",
    ),
    ("an unknown letter", "tréd", _RING, _BYTES),
    ("an unknown character between known ones", "a 红ring", _RING, _BYTES),
    ("an unknown ASCII letter and a tab", "Z\t", _RING, _BYTES),
)


def _check(candidate: Any) -> None:
    for what, text, scores, hint in _CASES:
        given = _Patient(scores)
        pieces = candidate(text, given)
        expect(given == scores, "your code changes the scores", "Only look them up.")
        if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
            fail("a list of pieces is wanted, each a string", "Return the list of symbols.")
        right = encode_bpe(text, scores)
        if pieces != right:
            _check_marks(pieces, text)
            _check_bytes(pieces, right, text)
        expect_equal(pieces, right, f"the list of pieces for {what} ({text!r})", hint)


def _check_marks(pieces: list[str], text: str) -> None:
    joined = "".join(pieces)
    expect(" " not in joined, f"a space is left in the pieces of {text!r}", _MARK)
    expect(
        joined.startswith("▁"),
        f"the pieces of {text!r} begin without ▁, so a word at the beginning of a text is another"
        " one than inside it",
        _MARK,
    )


def _check_bytes(pieces: list[str], right: list[str], text: str) -> None:
    expect("<unk>" not in pieces, f"{text!r} has an <unk>, and the text is lost", _BYTES)
    shown = [piece for piece in pieces if re.fullmatch(r"<.*>", piece)]
    wanted = [piece for piece in right if re.fullmatch(r"<.*>", piece)]
    unknown = "".join(symbol for symbol in text if symbol in pieces and symbol not in right)
    expect(not (unknown and wanted), f"{unknown!r} is no piece of the vocabulary", _BYTES)
    if shown == wanted:
        return
    if [piece.upper() for piece in shown] == [piece.upper() for piece in wanted]:
        fail(
            f"the byte pieces are written {shown}, the vocabulary has {wanted}",
            "Two digits in capitals: f'<0x{byte:02X}>'.",
        )
    if wanted and len(shown) > len(wanted):
        fail(f"more than the unknown characters of {text!r} became bytes", f"Only that. {_BYTES}")
    if wanted:
        fail(f"{text!r} should give the byte pieces {wanted}, you give {shown}", _BYTES)


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


def _leftmost(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, lambda places: places[0][1]), scores)


def _worst_first(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, lambda places: min(places)[1]), scores)


def _ties_to_the_right(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, lambda places: max(places)[1]), scores)


def _longest_match(text: str, scores: Scores) -> list[str]:
    rest, out = "".join(_marked(text)), []
    while rest:
        ends = [n for n in range(len(rest), 0, -1) if rest[:n] in scores] or [1]
        out.append(rest[: ends[0]])
        rest = rest[ends[0] :]
    return _with_bytes(out, scores)


def _one_merge(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text), scores, _best, rounds=1), scores)


def _each_piece_once(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        symbols = _merged(symbols, {piece: 0.0}, _best, rounds=1)
    return _with_bytes(symbols, scores)


def _no_prefix(text: str, scores: Scores) -> list[str]:
    return _with_bytes(_merged(_marked(text)[1:], scores, _best), scores)


def _spaces_left(text: str, scores: Scores) -> list[str]:
    symbols = _merged(list("▁" + text), scores, _best)
    return [s if s == " " else piece for s in symbols for piece in _with_bytes([s], scores)]


def _unknown_piece(text: str, scores: Scores) -> list[str]:
    return [s if s in scores else "<unk>" for s in _merged(_marked(text), scores, _best)]


def _characters_kept(text: str, scores: Scores) -> list[str]:
    return _merged(_marked(text), scores, _best)


def _code_points(text: str, scores: Scores) -> list[str]:
    merged = _merged(_marked(text), scores, _best)
    return [s if s in scores else f"<0x{ord(s):02X}>" for s in merged]


def _small_digits(text: str, scores: Scores) -> list[str]:
    pieces = encode_bpe(text, scores)
    return [p.replace(p[3:5], p[3:5].lower()) if p.startswith("<0x") else p for p in pieces]


def _one_digit(text: str, scores: Scores) -> list[str]:
    return [p.replace("<0x0", "<0x") for p in encode_bpe(text, scores)]


def _all_as_bytes(text: str, scores: Scores) -> list[str]:
    if all(symbol in scores for symbol in _marked(text)):
        return encode_bpe(text, scores)
    return ["▁", *_with_bytes(text, {})]


def _endless(text: str, scores: Scores) -> list[str]:
    symbols = _marked(text)
    while len(symbols) > 1:
        symbols = _merged(symbols, scores, _best, rounds=1)
    return symbols


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="llama.bpe",
        title="A text in pieces, with bytes for the rest",
        minutes=15,
        difficulty=3,
        reference=encode_bpe,
        check=_check,
        hints=(
            "Three steps: the mark, the merges (best score first, one at a time), the bytes.",
            "In each round list (score, -place) of all neighbours whose join is in `scores`, and"
            " take the max; no such neighbours: the rounds are over.",
            "symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]; at the end, for a symbol that is"
            " not in scores: [f'<0x{byte:02X}>' for byte in symbol.encode('utf-8')].",
        ),
        wrong=(
            Wrong("leftmost pair first", _leftmost, "highest score"),
            Wrong("lowest score first", _worst_first, "highest score"),
            Wrong("longest match", _longest_match, "highest score"),
            Wrong("ties to the right", _ties_to_the_right, "leftmost wins"),
            Wrong("a single merge", _one_merge, "look again at all neighbours"),
            Wrong("each pair at one place only", _each_piece_once, "several places"),
            Wrong("never ends", _endless, "Stop when no two neighbours"),
            Wrong("no mark at the beginning", _no_prefix, "begin without ▁"),
            Wrong("spaces not marked", _spaces_left, _MARK),
            Wrong("<unk>", _unknown_piece, _BYTES),
            Wrong("unknown characters kept", _characters_kept, "is no piece"),
            Wrong("code points instead of UTF-8", _code_points, _BYTES),
            Wrong("bytes in small letters", _small_digits, "in capitals"),
            Wrong("bytes with one digit", _one_digit, _BYTES),
            Wrong("the whole text as bytes", _all_as_bytes, "Only that."),
        ),
    ),
)
