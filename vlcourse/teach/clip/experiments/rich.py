"""Rich captions for `clip.efficiency`: the toy world described as the web describes pictures.

A caption of the toy world is kept, but every name may be replaced by another one for the same
thing, and what has nothing to do with the picture is said before and after it: names, places,
dates, moods, goods. Some hundreds of words, most of which no picture can tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.world.words import hash_int
from vlcourse.models.clip import TextConfig
from vlcourse.recipes.clip import TOY_TEXT
from vlcourse.teach.clip.experiments.rich_words import AFTER, BEFORE, FILLERS, OTHER_NAMES

_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
_SLOT = re.compile(r"\{(\w)\}")
_PURPOSE = 211


def rich(caption: str, seed: int, clauses: int, renamed: float = 0.6) -> str:
    """A caption in web dress.

    Args:
        caption: of the toy world.
        seed: decides on the words.
        clauses: how many remarks are added, about half of them before the caption.
        renamed: chance of a name to be replaced.
    """
    turn = iter(range(1000))

    def draw(n: int) -> int:
        return (hash_int(seed, _PURPOSE, next(turn)) >> 8) % n

    def name(word: str) -> str:
        if word not in OTHER_NAMES or draw(1000) >= 1000 * renamed:
            return word
        return OTHER_NAMES[word][draw(len(OTHER_NAMES[word]))]

    said = [" ".join(map(name, words_of(caption)))]
    for _ in range(clauses):
        front = draw(2) == 0
        pattern = (BEFORE if front else AFTER)[draw(len(BEFORE if front else AFTER))]
        clause = _SLOT.sub(lambda slot: FILLERS[slot[1]][draw(len(FILLERS[slot[1]]))], pattern)
        said.insert(0 if front else len(said), clause)
    return " , ".join(said)


def words_of(text: str) -> list[str]:
    """A text's words, numbers and signs."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, int]:
    """Ids of all words that a rich caption can have, from 1 on; 0 is the padding."""
    known = {word for names in OTHER_NAMES.values() for word in names} | set(OTHER_NAMES)
    for pool in FILLERS.values():
        known.update(pool)
    for pattern in (*BEFORE, *AFTER):
        known.update(words_of(_SLOT.sub(" ", pattern)))
    # The grammar's own words, from enough scenes to have all of them.
    for scene in world.World("train", 3000).scenes():
        known.update(words_of(scene.caption()))
    for template in world.TEMPLATES:
        known.update(words_of(template.replace("{}", "an")))
    known.add(",")
    return {word: i for i, word in enumerate(sorted(known), start=1)}


def tokens(texts: Sequence[str], context: int = 96) -> Tensor:
    """One id a word, start and end around them: (B, L) int64, padded with 0.

    Longer texts are cut. KeyError for a word that no rich caption has.
    """
    ids = vocabulary()
    start, end = len(ids) + 1, len(ids) + 2
    rows = [[start, *(ids[w] for w in words_of(t))][: context - 1] + [end] for t in texts]
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def text_config() -> TextConfig:
    """The toy text tower's sizes for this vocabulary."""
    return TextConfig(
        vocab_size=len(vocabulary()) + 3, context=96, width=TOY_TEXT.width,
        layers=TOY_TEXT.layers, heads=TOY_TEXT.heads, activation=TOY_TEXT.activation,
    )  # fmt: skip


def collate(samples: Sequence[dict[str, Any]], generator: Any = None) -> dict[str, Any]:
    """Samples → ``{"pixels": (B, 3, S, S) float32, "tokens": (B, L) int64}``."""
    return {
        "pixels": normalise(torch.stack([sample["image"] for sample in samples])),
        "tokens": tokens([str(sample["caption"]) for sample in samples]),
    }
