"""The small CCNet: what each filter keeps, and the n-gram model as a distribution."""

from __future__ import annotations

import math
import random

import pytest

from vlcourse.teach.llama import cleaning
from vlcourse.teach.llama.cleaning_pages import EXAMPLES, KINDS, Line, Page, sentences_in, toy_web

COLOURS, SHAPES = ("red", "blue", "green", "white"), ("circle", "star", "ring", "cross")


def clean_sentences(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)

    def thing() -> str:
        return f"a {rng.choice(('small', 'large'))} {rng.choice(COLOURS)} {rng.choice(SHAPES)}"

    return [f"there is {thing()} left of {thing()}" for _ in range(n)]


def page(*texts: str) -> Page:
    return Page(tuple(Line(text, "clean") for text in texts))


def test_lines_are_compared_without_case_punctuation_and_numbers() -> None:
    assert cleaning.normalised("Page 3 of 12!") == cleaning.normalised("page 27 of 5")
    assert cleaning.normalised("a red circle") != cleaning.normalised("a red ring")


def test_a_repeated_line_stays_once_and_an_empty_page_goes() -> None:
    kept = cleaning.without_repeats([page("Menu", "one"), page("two", "MENU"), page("menu.")])
    assert [p.text for p in kept] == ["Menu\none", "two"]


@pytest.mark.parametrize("language", EXAMPLES)
def test_the_language_of_new_sentences(language: str) -> None:
    model = cleaning.LanguageFilter(EXAMPLES)
    texts = sentences_in(language)
    assert not set(texts) & set(EXAMPLES[language])
    assert sum(model.language(text) == language for text in texts) >= 0.98 * len(texts)
    assert sum(model.probabilities(texts[0]).values()) == pytest.approx(1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_kneser_ney_is_a_distribution_after_any_context(order: int) -> None:
    model = cleaning.KneserNey(["a b a", "b b c", "a c"], order=order)
    words = ["a", "b", "c", model.END, "never seen"]  # the last stands for all other words
    for context in ((), ("a",), ("a", "b"), ("c", "c"), ("?", "b"), ("b", "?")):
        assert math.isclose(sum(model.probability(w, context) for w in words), 1, rel_tol=1e-9)


def test_kneser_ney_by_hand() -> None:
    # Bigrams (<s>, a), (a, b), (b, </s>) once each: every word follows one word, so 1/3 below.
    model = cleaning.KneserNey(["a b"], order=2, discount=0.5)
    below = (1 - 0.5) / 3 + 0.5 * 3 / 3 * (1 / 4)  # 3 words and the unknown one
    assert model.probability("b", ("a",)) == pytest.approx((1 - 0.5) / 1 + 0.5 * below)
    assert model.probability("a", ("a",)) == pytest.approx(0.5 * below)


def test_continuation_counts_prefer_a_word_that_follows_many() -> None:
    # "francisco" is the more frequent word, but it only ever follows "san".
    model = cleaning.KneserNey(["san francisco"] * 6 + ["x tea", "y tea", "z tea"], order=2)
    assert model.probability("tea", ("?",)) > model.probability("francisco", ("?",))


def test_perplexity_rises_when_words_are_scrambled() -> None:
    model = cleaning.KneserNey(clean_sentences(500))
    text = clean_sentences(1, seed=9)[0]
    scrambled = " ".join(random.Random(0).sample(text.split(), len(text.split())))
    assert 1 < model.perplexity(text) < model.perplexity(scrambled) / 3
    with pytest.raises(ValueError, match="empty text"):
        model.perplexity(" \n")


def test_the_toy_web_has_all_kinds_and_depends_on_its_seed_alone() -> None:
    web = toy_web(clean_sentences(1000), 100, seed=1)
    assert {line.kind for p in web for line in p.lines} == set(KINDS)
    assert web == toy_web(clean_sentences(1000), 100, seed=1)
    assert web != toy_web(clean_sentences(1000), 100, seed=2)
    with pytest.raises(ValueError, match="clean sentences ended"):
        toy_web(clean_sentences(5), 100)


def test_each_step_of_the_pipeline_raises_precision() -> None:
    web = toy_web(clean_sentences(4000), 400)
    found = cleaning.LanguageFilter(EXAMPLES)
    model = cleaning.KneserNey(clean_sentences(2000, seed=5))
    stages = [web, cleaning.without_repeats(web)]
    stages.append(cleaning.pages_where(stages[-1], lambda t: found.language(t) == "English"))
    stages.append(cleaning.pages_where(stages[-1], lambda t: model.perplexity(t) < 30))
    precision = [cleaning.precision_recall(stage, web)[0] for stage in stages]
    assert precision == sorted(precision) and precision[0] < 0.5 < 0.97 < precision[-1]
    kinds = {line.kind for p in stages[-1] for line in p.lines}
    assert "scrambled" not in kinds and "other language" not in kinds
    assert "other topic" not in kinds  # good English, lost because the reference knows only shapes


def test_precision_and_recall_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        cleaning.precision_recall([], [page("a")])


def test_stages_drop_repeats_then_other_languages_then_what_surprises() -> None:
    german, mixed = "der rote ring ist klein und rund", "ring a a red red a ring"
    texts = ("a red ring", "a red ring", german, mixed)
    pages = [Page((Line(text, "clean"),)) for text in texts]
    model = cleaning.KneserNey(["a red ring", "a red star"] * 9)
    top = cleaning.limit(model, ["a red ring", "a red star"] * 8, share=0.9)
    languages = cleaning.LanguageFilter(EXAMPLES)
    left = cleaning.stages(pages, languages, model, top)
    assert [len(found) for found in left.values()][:2] == [4, 3]
    assert [page.text for page in left["low perplexity"]] == ["a red ring"]
    assert german not in [page.text for page in left["English only"]]


def test_the_limit_lets_the_share_pass() -> None:
    model = cleaning.KneserNey(["a red ring", "a red star"] * 9)
    pages = ["a red ring"] * 36 + ["ring a"] * 4
    assert cleaning.limit(model, pages, share=0.5) < cleaning.limit(model, pages, share=0.95)
