"""Reading captions: a sentence of the world's grammar → the facts that it states.

With it a text that a model wrote can be checked against a scene: ``scene.is_true(read(text))``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from vlcourse.data.world.captions import (
    GRAMMAR,
    RELATION_WORDS,
    Caption,
    Content,
    Pattern,
    compose,
)
from vlcourse.data.world.facts import NUMBERS, SPATIAL, Count, Thing
from vlcourse.data.world.words import COLOURS, SHAPES, SIZES


def read(text: str) -> Caption | None:
    """The caption that a text is, with its facts; None for a text outside the grammar.

    Upper case, repeated spaces, spaces before a comma (tokenizers write them) and a full stop at
    the end do not matter; everything else does, "a orange star" is not read.
    """
    text = re.sub(r"\s+(?=,)", "", " ".join(text.lower().split())).removesuffix(".").strip()
    for pattern, expression in _expressions():
        if match := expression.fullmatch(text):
            said = compose(pattern, _content(pattern, match.groupdict()))
            if said == text:  # articles and plurals, too
                return said
    return None


def _content(pattern: Pattern, slots: dict[str, str]) -> Content:
    """What stands in a pattern's slots."""
    named = [slots[slot] for slot in "ab" if slot in slots]
    things = tuple(_things(slots.get("all") or ", ".join(named)))
    total = NUMBERS.index(slots["N"].split()[0]) if "N" in slots else len(things)
    relation, wording = _relations()[slots["r"]] if "r" in slots else (None, 0)
    tally = None
    if "t" in slots:
        number, _, noun = slots["t"].partition(" ")
        tally = Count(next(_things(noun)), NUMBERS.index(number))
    return Content(things, total, relation, wording, tally)


def _things(text: str) -> Iterator[Thing]:
    for match in re.finditer(_NOUN, text):
        size, colour, shape = match.groups()
        yield Thing(colour, None if shape == "object" else shape, size)


def _relations() -> dict[str, tuple[str, int]]:
    """Words → the relation, and which of its wordings they are."""
    return {
        words: (relation, i)
        for relation, several in RELATION_WORDS.items()
        for i, words in enumerate(several)
    }


def _any(words: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(words)})"


_NOUN = rf"\b(?:({'|'.join(SIZES)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|object)"
_THING = rf"an? (?:{_any(SIZES)} )?{_any(COLOURS)} {_any(SHAPES)}"
_MANY = (
    rf"{_any(NUMBERS)} (?:{_any(SIZES)} )?(?:{_any(COLOURS)} )?{_any((*SHAPES, 'object'))}(?:e?s)?"
)


@lru_cache(maxsize=1)
def _expressions() -> list[tuple[Pattern, re.Pattern[str]]]:
    """Each pattern of the grammar as a regular expression, a group for each slot."""
    found = []
    for pattern in GRAMMAR:
        relations = SPATIAL if pattern.kind == "relation" else ("bigger than",)
        words = tuple(words for relation in relations for words in RELATION_WORDS[relation])
        slots = {
            "a": _THING,
            "b": _THING,
            "all": rf"{_THING}(?:, {_THING}){{0,2}} and {_THING}",  # a scene has four at most
            "N": rf"{_any(NUMBERS)} objects?",
            "t": _MANY,
            "r": _any(words),
        }
        expression = re.escape(pattern.text)
        for slot, inside in slots.items():
            expression = expression.replace(re.escape(f"{{{slot}}}"), f"(?P<{slot}>{inside})")
        found.append((pattern, re.compile(expression)))
    return found
