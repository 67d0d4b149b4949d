"""Runs on films of the toy world: first a language model that reads time told in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlcourse.data.collate.text import TextCollate
from vlcourse.data.corpus.films import NO_FILM_LESSONS, Films, check_films
from vlcourse.data.world.script import LONGEST, check_seconds
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import reading, video
from vlcourse.layers.ranges import check
from vlcourse.recipes.llama import TOY_LLAMA, make_tokenizer
from vlcourse.recipes.recipe import Measure, Part, Recipe, fitting
from vlcourse.tokenizers import TextTokenizer


@dataclass(frozen=True)
class FilmTexts:
    """Texts about films, read by a decoder; ``config`` in the methods is a `LLaMAConfig`."""

    n_train: int = 0
    """Training documents; 0 makes a new one for every place in a batch."""
    seconds: tuple[int, int] = (4, LONGEST)
    """Shortest and longest film."""
    asked: int = 10
    """Most questions about a film."""
    brief: int = 30
    """Of a hundred films, how many are asked about in very few words."""
    lessons: tuple[int, int] = NO_FILM_LESSONS
    """A curriculum: how many documents first are lists, then films with brief questions."""
    still: int = 0
    """Of a hundred documents, how many are about pictures, as those that llm-toy reads."""
    tags: int = 0
    """Of a hundred films after the lessons, how many are told as tags at each second."""
    again: int = 0
    """Of a hundred films after the lessons, how many are told again in other words."""
    tokenizer: str = "toy"
    """toy: the toy corpus's, shipped; else the path of a LLaMA tokenizer.model."""
    context: int = 512
    """Most tokens of a document; longer ones are cut."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), context=(2, 10**6))
        check_films(self.lessons, self.asked, self.brief, self.still, self.tags, self.again)
        check_seconds(self.seconds)

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`vlcourse.recipes.llama.make_tokenizer`."""
        return make_tokenizer(self.tokenizer, config.vocab_size)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Films:
        """The documents of a split, map-style."""
        train = split == "train"
        return Films(
            split, self.n_train or run.steps * run.batch_size, run.seed, self.seconds, self.asked,
            self.brief, self.lessons if train else NO_FILM_LESSONS, self.still, self.tags,
            self.again,
        )  # fmt: skip

    def collate(self, config: Any, train: bool) -> TextCollate:
        """Documents → batch; without the end-of-text token where answers are measured."""
        context = fitting(self.context, config.context)
        return TextCollate(self.make_tokenizer(config), context, end=train)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Questions about films and, as llm-toy, about pictures, on unseen compositions."""
        collate = self.collate(config, train=False)

        def both(model: Any) -> dict[str, float]:
            pictures = reading.comprehension(model, collate)
            tagged = video.reading(model, collate, as_tags=True) if self.tags else {}
            return {
                **video.reading(model, collate),
                **{f"tags: {kind}": value for kind, value in tagged.items()},
                **{f"picture: {kind}": value for kind, value in pictures.items()},
            }

        return both


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="llm-time",
        doc="llm-toy, taught to read what happens in a film: when, in which order, where to, why.",
        model=TOY_LLAMA,
        data=FilmTexts(lessons=(12_000, 12_000), still=25, tags=25, again=12),
        train=TrainConfig(
            steps=4400, batch_size=32, lr=1.5e-3, warmup=50, min_lr=0.05, weight_decay=0.3
        ),
        run=RunConfig(eval_every=800, save_every=400),
        parts=(Part("", "llm-toy"),),
    ),
)
