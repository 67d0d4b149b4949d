"""A small CCNet (Wenzek et al. 2020): repeated lines, other languages and poor text go.

LLaMA's largest source, CommonCrawl, was cleaned in these three steps (Touvron et al. 2023,
section 2.1). The real ones are hashes over billions of lines, fastText and a 5-gram model of
Wikipedia; these are the same ideas at the size of a notebook. Pages to try them on, with the truth
about each line, are in :mod:`vlcourse.teach.llama.cleaning_pages`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from vlcourse.teach.llama.cleaning_pages import Page


def normalised(line: str) -> str:
    """The line as it is compared: lower case, no punctuation, each number as 0."""
    words = re.sub(r"[^\w\s]", " ", line.lower()).split()
    return " ".join(re.sub(r"\d+", "0", word) for word in words)


def without_repeats(pages: Iterable[Page]) -> list[Page]:
    """Each line only where it occurs first among all pages; pages left empty go."""
    seen: set[str] = set()
    kept = []
    for page in pages:
        lines = []
        for line in page.lines:
            key = normalised(line.text)
            if key not in seen:
                seen.add(key)
                lines.append(line)
        if lines:
            kept.append(Page(tuple(lines)))
    return kept


def pages_where(pages: Iterable[Page], good: Callable[[str], bool]) -> list[Page]:
    """The pages whose whole text passes."""
    return [page for page in pages if good(page.text)]


class LanguageFilter:
    """Which language is it? Naive Bayes over the text's runs of one to three characters.

    P(language | text) ∝ ∏ P(run | language), all languages being equally likely beforehand.

    Args:
        examples: language → sentences.
        alpha: added to each count, so that no run is impossible.
    """

    def __init__(self, examples: Mapping[str, Iterable[str]], alpha: float = 0.1) -> None:
        counts = {name: Counter(_grams(" ".join(texts))) for name, texts in examples.items()}
        kinds = len(set().union(*counts.values())) + 1  # all n-grams, and one for the unknown
        self.log_p: dict[str, dict[str, float]] = {}
        self.log_unknown: dict[str, float] = {}
        for name, found in counts.items():
            total = found.total() + alpha * kinds
            self.log_p[name] = {g: math.log((n + alpha) / total) for g, n in found.items()}
            self.log_unknown[name] = math.log(alpha / total)

    def probabilities(self, text: str) -> dict[str, float]:
        """Language → its probability given the text."""
        grams = _grams(text)
        scores = {
            name: sum(known.get(gram, self.log_unknown[name]) for gram in grams)
            for name, known in self.log_p.items()
        }
        best = max(scores.values())
        total = sum(math.exp(score - best) for score in scores.values())
        return {name: math.exp(score - best) / total for name, score in scores.items()}

    def language(self, text: str) -> str:
        """The most probable language."""
        found = self.probabilities(text)
        return max(found, key=lambda name: found[name])


def _grams(text: str) -> list[str]:
    padded = f" {' '.join(text.lower().split())} "
    return [padded[i : i + n] for n in (1, 2, 3) for i in range(len(padded) - n + 1)]


class KneserNey:
    """An n-gram model with interpolated Kneser–Ney smoothing (Chen and Goodman 1999, section 2.7).

    The highest order counts occurrences, the lower ones in how many different contexts a word
    occurs. Every order takes ``discount`` from each count and gives it to the order below; the
    lowest gives it to all words alike, the unknown one included.

    Args:
        sentences: text to count, split at spaces; each line is a sentence.
        order: words in the longest n-gram.
        discount: taken from each count, between 0 and 1.
    """

    START, END = "<s>", "</s>"

    def __init__(self, sentences: Iterable[str], order: int = 3, discount: float = 0.75) -> None:
        self.order, self.discount = order, discount
        seen = [Counter[tuple[str, ...]]() for _ in range(order)]  # by length of the context
        for words in map(self._framed, sentences):
            for end in range(order - 1, len(words)):
                seen[-1][words[end - order + 1 : end + 1]] += 1
        for n in reversed(range(order - 1)):
            seen[n].update(gram[1:] for gram in seen[n + 1])  # a count for each different left word
        self.counts = seen
        self.totals = [Counter[tuple[str, ...]]() for _ in range(order)]  # by context
        self.followers = [Counter[tuple[str, ...]]() for _ in range(order)]  # different next words
        for counts, totals, followers in zip(seen, self.totals, self.followers, strict=True):
            for gram, n in counts.items():
                totals[gram[:-1]] += n
                followers[gram[:-1]] += 1
        self.uniform = 1 / (len(seen[0]) + 1)  # all words that can come next, and an unknown one

    def _framed(self, sentence: str) -> tuple[str, ...]:
        return (*[self.START] * (self.order - 1), *sentence.lower().split(), self.END)

    def probability(self, word: str, context: Sequence[str]) -> float:
        """P(word | context); of a longer context the last ``order`` - 1 words count."""
        p = self.uniform
        for n in range(self.order):  # from the shortest context to the longest
            before = tuple(context[len(context) - n :])
            if not (total := self.totals[n][before]):
                break
            share = max(self.counts[n][(*before, word)] - self.discount, 0) / total
            p = share + self.discount * self.followers[n][before] / total * p
        return p

    def perplexity(self, text: str) -> float:
        """exp of the mean −log P of the words and line ends: 1 when nothing surprises.

        Raises:
            ValueError: when the text is empty.
        """
        surprise, words = 0.0, 0
        for line in filter(None, map(str.strip, text.splitlines())):
            framed = self._framed(line)
            for end in range(self.order - 1, len(framed)):
                surprise -= math.log(
                    self.probability(framed[end], framed[end - self.order + 1 : end])
                )
                words += 1
        if not words:
            raise ValueError("an empty text has no perplexity")
        return math.exp(surprise / words)


def precision_recall(kept: Iterable[Page], pages: Iterable[Page]) -> tuple[float, float]:
    """Of the lines kept, the share worth keeping; of the lines worth keeping, the share kept.

    Raises:
        ValueError: when nothing was kept, or nothing was worth it.
    """
    found = [line.worth_keeping for page in kept for line in page.lines]
    wanted = sum(line.worth_keeping for page in pages for line in page.lines)
    if not found or not wanted:
        raise ValueError("precision and recall need at least one line kept and one worth keeping")
    return sum(found) / len(found), sum(found) / wanted


def limit(model: KneserNey, paragraphs: Sequence[str], share: float = 0.99) -> float:
    """The perplexity below which ``share`` of good pages, of four paragraphs each, stay."""
    pages = ["\n".join(paragraphs[i : i + 4]) for i in range(0, len(paragraphs), 4)]
    known = sorted(map(model.perplexity, pages))
    return known[int(share * len(known))]


def stages(
    pages: Sequence[Page], languages: LanguageFilter, model: KneserNey, limit: float
) -> dict[str, Sequence[Page]]:
    """What is left after each of the three steps, from the pages as they were found."""
    deduped = without_repeats(pages)
    english = pages_where(deduped, lambda text: languages.language(text) == "English")
    good = pages_where(english, lambda text: model.perplexity(text) <= limit)
    return {
        "as found": pages,
        "repeated lines out": deduped,
        "English only": english,
        "low perplexity": good,
    }
