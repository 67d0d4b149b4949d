"""Encode a text as SentencePiece does: mark the spaces, merge by score, fall back to bytes."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import combining, normalize

from vlcourse.teach.checking import Exercise, Right, Wrong, expect, expect_equal, fail
from vlcourse.teach.llama.exercises import pieces_answers as answers
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

_SPACES = _vocabulary("in ▁▁ ▁a in▁a ring", "▁aginr")
_ACCENTS = _vocabulary("", "▁eé")
_CASE = "Capitals stay as they are: the text must come back exactly, so no .lower()."
_SPLIT = (
    "Spaces and tabs are characters like all others, and a piece may hold several ▁ or one inside:"
    " do not split the text, no .strip()."
)
_AS_IT_IS = "Nothing is normalised: each character stays, or becomes its own bytes."

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
    ("a capital that is another one than its small letter", "Ring", _RING, _CASE),
    ("two spaces and a piece for them", "a  ring", _SPACES, _SPLIT),
    ("a piece that holds a space inside", "in a", _SPACES, _SPLIT),
    ("spaces at both ends", " a ", _SPACES, _SPLIT),
    ("a ligature and a small 2, which look like other characters", "ﬁ²", _RING, _AS_IT_IS),
    ("a letter and its accent as two characters", "e\u0301", _ACCENTS, _AS_IT_IS),
    (
        "a word whose best piece can only be made at the end",
        "ring",
        {"ring": 0.0, "ing": -1.0, "in": -2.0} | dict.fromkeys("▁ring", -9.0),
        "The scores alone decide, in any table: after each join look again at all neighbours, not"
        " one pass through the pieces.",
    ),
)


def _check(candidate: Any) -> None:
    without = {piece: score for piece, score in _RING.items() if score != 0}
    expect(
        candidate("ring", _Patient(_RING)) != encode_bpe("ring", without),
        "the best piece of all, 'in' with a score of 0, is never made",
        "A score is no truth value, a score may be 0: test `piece in scores`.",
    )
    for what, text, scores, hint in _CASES:
        given = _Patient(scores)
        pieces = candidate(text, given)
        expect(given == scores, "your code changes the scores", "Only look them up.")
        _check_list(pieces)
        right = encode_bpe(text, scores)
        if pieces != right:
            _check_marks(pieces, text)
            _check_text(pieces, text)
            _check_bytes(pieces, right, text)
        expect_equal(pieces, right, f"the list of pieces for {what} ({text!r})", hint)


def _check_list(pieces: Any) -> None:
    if isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces):
        return
    hint = "Return the list of symbols."
    if isinstance(pieces, tuple):
        hint = "Return list(symbols)."
    elif isinstance(pieces, list) and any(isinstance(piece, list) for piece in pieces):
        hint = "Several bytes are several pieces: add them with `pieces += [...]`, not append."
    elif isinstance(pieces, list):
        hint = "The pieces themselves, not their numbers."
    fail("a list of pieces is wanted, each a string", hint)


def _check_marks(pieces: list[str], text: str) -> None:
    joined = "".join(pieces)
    expect(" " not in joined, f"a space is left in the pieces of {text!r}", _MARK)
    expect(
        joined.startswith("▁"),
        f"the pieces of {text!r} begin without ▁, so a word at the beginning of a text is another"
        " one than inside it",
        _MARK,
    )
    if joined.startswith("▁▁") and not text.startswith(" "):
        fail(f"the pieces of {text!r} begin with two ▁", "There is one ▁ in front of the text.")


def _check_text(pieces: list[str], text: str) -> None:
    """Refuse pieces that spell a text which was rewritten first."""
    spelled = re.sub("(?:<0x[0-9A-F]{2}>)+", _characters, "".join(pieces))
    bare = "".join(c for c in normalize("NFD", text) if not combining(c))
    forms = (normalize("NFC", text), normalize("NFD", text), normalize("NFKC", text), bare)
    spaces = (text.strip(), " ".join(text.split()))
    rewritten = {other: _AS_IT_IS for other in forms} | {other: _SPLIT for other in spaces}
    for other, hint in (*rewritten.items(), (text.lower(), _CASE)):
        if other != text and spelled == "▁" + other.replace(" ", "▁"):
            alike = normalize("NFC", other) == normalize("NFC", text)
            show = ascii if alike else repr  # the same on the screen, other characters
            fail(f"your pieces of {show(text)} spell {show(other)}", hint)


def _characters(found: re.Match[str]) -> str:
    """What "<0xC3><0xA9>" stand for."""
    numbers = re.findall("x(..)", found[0])
    return bytes(int(number, 16) for number in numbers).decode("utf-8", "replace")


def _check_bytes(pieces: list[str], right: list[str], text: str) -> None:
    expect("<unk>" not in pieces, f"{text!r} has an <unk>, and the text is lost", _BYTES)
    shown = [piece for piece in pieces if re.fullmatch(r"<.*>", piece)]
    wanted = [piece for piece in right if re.fullmatch(r"<.*>", piece)]
    unknown = "".join(symbol for symbol in text if symbol in pieces and symbol not in right)
    expect(not (unknown and wanted), f"{unknown!r} is no piece of the vocabulary", _BYTES)
    if wanted and sorted(pieces) == sorted(right):
        fail(
            f"the bytes of {text!r} do not stand where their character stood",
            "Each character stays in its own place.",
        )
    if shown == wanted:
        return
    if [piece.upper() for piece in shown] == [piece.upper() for piece in wanted]:
        fail(
            f"the byte pieces are written {shown}, the vocabulary has {wanted}",
            "Two digits in capitals: f'<0x{byte:02X}>'.",
        )
    if [piece.lower() for piece in shown] == [f"<0x{int(w[3:5], 16):02d}>" for w in wanted]:
        fail(
            "your byte pieces are written in decimal", "Two hexadecimal digits: f'<0x{byte:02X}>'."
        )
    if wanted and len(shown) > len(wanted):
        fail(f"more than the unknown characters of {text!r} became bytes", f"Only that. {_BYTES}")
    if wanted:
        fail(f"{text!r} should give the byte pieces {wanted}, you give {shown}", _BYTES)


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
            Wrong("leftmost pair first", answers.leftmost, "highest score"),
            Wrong("lowest score first", answers.worst_first, "highest score"),
            Wrong("longest match", answers.longest_match, "highest score"),
            Wrong("ties to the right", answers.ties_to_the_right, "leftmost wins"),
            Wrong("a single merge", answers.one_merge, "look again at all neighbours"),
            Wrong("each pair at one place only", answers.each_piece_once, "several places"),
            Wrong("never ends", answers.endless, "Stop when no two neighbours"),
            Wrong("no mark at the beginning", answers.no_prefix, "begin without ▁"),
            Wrong("spaces not marked", answers.spaces_left, _MARK),
            Wrong("<unk>", answers.unknown_piece, _BYTES),
            Wrong("unknown characters kept", answers.characters_kept, "is no piece"),
            Wrong("code points instead of UTF-8", answers.code_points, _BYTES),
            Wrong("bytes in small letters", answers.small_digits, "in capitals"),
            Wrong("bytes with one digit", answers.one_digit, _BYTES),
            Wrong("the whole text as bytes", answers.all_as_bytes, "Only that."),
            Wrong("split at the spaces", answers.split_at_spaces, "do not split"),
            Wrong("words of split()", answers.words_of_split, "do not split"),
            Wrong("stripped", answers.stripped, "no .strip()"),
            Wrong("one pass in the order of scores", answers.one_pass, "not one pass"),
            Wrong("normalised by NFKC", answers.normalised, "Nothing is normalised"),
            Wrong("composed by NFC", answers.composed, "Nothing is normalised"),
            Wrong("without accents", answers.without_accents, "Nothing is normalised"),
            Wrong("lower-cased", answers.lower_cased, "Capitals stay"),
            Wrong("two marks in front", answers.mark_twice, "There is one ▁"),
            Wrong("the mark at the end", answers.mark_at_the_end, "begin without ▁"),
            Wrong("decimal bytes", answers.decimal_bytes, "hexadecimal"),
            Wrong("bytes without <0x>", answers.bare_hex, _BYTES),
            Wrong("all bytes in one piece", answers.bytes_in_one, _BYTES),
            Wrong("bytes at the end", answers.bytes_at_the_end, "in its own place"),
            Wrong("unknown characters dropped", answers.unknown_dropped, _BYTES),
            Wrong("longest join first", answers.longest_pair_first, "highest score"),
            Wrong("a score of 0 is no piece", answers.only_negative, "a score may be 0"),
            Wrong("the scores changed", answers.changed_scores, "Only look them up"),
            Wrong("a string", answers.as_a_string, "Return the list of symbols"),
            Wrong("a tuple", answers.as_a_tuple, "list("),
            Wrong("lists in the list", answers.nested, "+="),
            Wrong("ids", answers.as_places, "not their numbers"),
        ),
        right=(
            Right("scanned for the best", answers.by_scanning),
            Right("all places of a pair at once", answers.everywhere_at_once),
            Right("by recursion", answers.by_recursion),
            Right("by a heap", answers.by_a_heap),
        ),
    ),
)
