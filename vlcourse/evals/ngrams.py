"""How alike a text and its references are, in n-grams: BLEU and CIDEr.

Both are written here because the usual package (pycocoevalcap) weighs 100 MB and its tokenizer, the
Penn Treebank's, needs Java. Words are lower-case runs of letters and digits instead, which is what
that tokenizer makes of plain sentences; on the same words the numbers are the package's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from vlcourse.evals.metrics import MetricError

LONGEST = 4  # words of an n-gram
WIDTH = 6.0  # of CIDEr's penalty for another length than the reference's, in words
Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def grams(text: str, n: int) -> Grams:
    """How often each run of n words occurs."""
    found = words(text)
    return Counter(zip(*(found[i:] for i in range(n)), strict=False))


def bleu(
    texts: Sequence[str], references: Sequence[Sequence[str]], longest: int = LONGEST
) -> float:
    """BLEU of a whole set (Papineni et al. 2002), in [0, 1]; BLEU-4 by default.

    The geometric mean of the shares of a text's 1- to 4-grams that one of its references has, each
    n-gram counted as often as in the reference with most of it at most; over the set, not text by
    text. A set that is shorter than its references (of each text the one nearest in length) loses a
    factor of exp(1 - references / texts).

    Raises:
        MetricError: without texts, or where a text has no reference.
    """
    _check(texts, references)
    right, all_of, length, wanted = [0] * longest, [0] * longest, 0, 0
    for text, several in zip(texts, references, strict=True):
        for n in range(1, longest + 1):
            said, most = grams(text, n), Grams()
            for reference in several:
                most |= grams(reference, n)
            right[n - 1] += (said & most).total()
            all_of[n - 1] += said.total()
        own = len(words(text))
        length += own
        wanted += min((len(words(r)) for r in several), key=lambda size: (abs(size - own), size))
    if not all(right):
        return 0.0
    mean = sum(math.log(r / a) for r, a in zip(right, all_of, strict=True)) / longest
    return math.exp(mean + min(0.0, 1 - wanted / length))


def cider(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
    """CIDEr-D of each text (Vedantam et al. 2015, section 6), from 0 to 10: float64 (N,).

    For 1- to 4-grams: the cosine of the text's and a reference's vectors of tf · idf, the text's
    numbers clipped to the reference's, times a Gaussian of the difference in length; the mean over
    both, times 10. Rare n-grams weigh more: idf = log(N / items with the n-gram in a reference), so
    that scores compare among the same N items only, and one item alone has 0.

    Raises:
        MetricError: as :func:`bleu`.
    """
    _check(texts, references)
    found = torch.zeros(len(texts), dtype=torch.float64)
    for n in range(1, LONGEST + 1):
        counted = [[grams(reference, n) for reference in several] for several in references]
        items = Counter(gram for several in counted for gram in set().union(*several))
        for i, (text, several) in enumerate(zip(texts, references, strict=True)):
            mine = _weighed(grams(text, n), items, len(texts))
            for reference, those in zip(several, counted[i], strict=True):
                theirs = _weighed(those, items, len(texts))
                apart = len(words(text)) - len(words(reference))
                near = math.exp(-(apart**2) / (2 * WIDTH**2))
                found[i] += 10 * near * _clipped(mine, theirs) / (LONGEST * len(several))
    return found


def _weighed(
    counts: Grams, items: Counter[tuple[str, ...]], n: int
) -> dict[tuple[str, ...], float]:
    """tf · idf of each n-gram; one that no reference has counts as if one item had it."""
    return {gram: c * math.log(n / max(1, items[gram])) for gram, c in counts.items()}


def _clipped(mine: dict[tuple[str, ...], float], theirs: dict[tuple[str, ...], float]) -> float:
    """The cosine, with no number of mine larger than theirs."""
    lengths = math.hypot(*mine.values()) * math.hypot(*theirs.values())
    dot = sum(min(v, theirs[gram]) * theirs[gram] for gram, v in mine.items() if gram in theirs)
    return dot / lengths if lengths else 0.0


def _check(texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not texts or len(texts) != len(references) or not all(references):
        raise MetricError(
            f"{len(texts)} texts and {len(references)} lists of references: each text needs one "
            "reference at least"
        )
