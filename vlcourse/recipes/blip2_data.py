"""What BLIP-2's runs read: pictures with captions for the first stage, and texts for the second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vlcourse.data.collate.captioned import CaptionedCollate
from vlcourse.data.collate.pictured import PicturedCollate, PrefixPicturedCollate
from vlcourse.data.told import WorldTexts, check_mixture
from vlcourse.data.world import World
from vlcourse.engine.config import TrainConfig
from vlcourse.evals import pictured
from vlcourse.models.base import Trainable
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.recipes import llama
from vlcourse.recipes.blip_data import TEST_PAIRS, BLIPData, loss_on, with_ids, words
from vlcourse.recipes.pairs import Pairs, Pictures
from vlcourse.recipes.recipe import Measure, RecipeError
from vlcourse.tokenizers import TextTokenizer, TokenizerError, theirs
from vlcourse.tokenizers.med import MEDTokenizer


@dataclass(frozen=True)
class BLIP2Data(BLIPData):
    """Pictures with captions. ``config`` in its methods is a `BLIP2Config`."""

    def known(self, config: Any) -> MEDTokenizer:
        """The tokenizer of that name, with the ids of the Q-Former, which has no [ENC]."""
        found = words(self.tokenizer)
        found = replace(found, vocab_size=found.dec + 1)
        return with_ids(self.tokenizer, found, config.qformer, ("vocab_size", "cls", "sep", "dec"))


@dataclass(frozen=True)
class TextsData(Pictures):
    """The toy world's pictures, each with a text as a language model goes on after a telling.

    ``config`` in its methods is a `BLIP2LLMConfig`.
    """

    mixture: tuple[int, int, int] = (20, 0, 80)
    """Of a hundred texts: the picture said again ("in other words: …"), told, and facts that
    follow. None is a question."""
    tokenizer: str = "toy"
    """toy: the toy language models', shipped; else the path of a LLaMA tokenizer.model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixture(self.mixture)

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """The language model's tokenizer; RecipeError when there is no such file, or its ids are
        others than the model's."""
        return llama.make_tokenizer(self.tokenizer, config.llm.vocab_size)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> WorldTexts:
        """The map-style dataset of a split: ``n_train`` pictures, over and over with new texts."""
        samples, size = run.steps * run.batch_size, config.image.image_size
        pictures = self.n_train or samples
        return WorldTexts(
            World(split, pictures, size, self.objects, seed=run.seed), samples, self.mixture
        )

    def collate(self, config: Any, train: bool) -> PicturedCollate:
        """Samples → batch; augmented only for training."""
        augment = self.augment if train else "none"
        size, context = config.image.image_size, self.context
        tokenizer = self.make_tokenizer(config)
        if config.encodes:
            return PrefixPicturedCollate(tokenizer, size, context, augment, start=config.llm.start)
        return PicturedCollate(tokenizer, size, context, augment)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Questions and captions on unseen compositions."""
        tokenizer = self.make_tokenizer(config)
        return lambda model: pictured.zero_shot(as_llm(model), tokenizer, self.objects)


@dataclass(frozen=True)
class CaptionTexts(Pairs):
    """Pictures with captions for a language model. ``config`` in its methods is a
    `BLIP2LLMConfig`."""

    source: str = ""
    tokenizer: str = ""
    """A folder with the language model's tokenizer, as transformers reads it, or a hub id that this
    machine has; toy: the toy language models'."""
    prompt: str = ""
    """Words before each caption, which the model is given and does not learn to write."""
    stop: str = ""
    """What ends a caption, such as a new line, in the place of the tokenizer's end of text."""

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """The language model's tokenizer; RecipeError when it is not here, or has more ids than the
        model."""
        return language_tokenizer(self.tokenizer, config.llm.vocab_size)

    def collate(self, config: Any, train: bool) -> CaptionedCollate:
        """Samples → batch; augmented only for training."""
        return CaptionedCollate(
            self.make_tokenizer(config), config.image.image_size, self.context,
            self.augment if train else "none", not self.stop, self.prompt, self.stop,
            config.llm.start if config.encodes else None,
        )  # fmt: skip

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """The loss on a test split."""
        test, collate = self.dataset(config, run, "test"), self.collate(config, train=False)
        return loss_on(test, collate, run.batch_size, TEST_PAIRS)


def language_tokenizer(name: str, most: int) -> TextTokenizer:
    """A language model's tokenizer: "toy", a folder as transformers reads it, or a hub id.

    Raises:
        RecipeError: when it is not here, or has more ids than ``most``, the model's.
    """
    if name == "toy":
        return llama.make_tokenizer("toy", most)
    try:
        found = theirs.load(name)
    except TokenizerError as error:
        raise RecipeError(f"{error}; or name a folder with data.tokenizer=…") from error
    if found.vocab_size > most:
        raise RecipeError(
            f"data.tokenizer={name} has {found.vocab_size} ids, but the language model has {most}: "
            "they do not belong together"
        )
    return found


def as_llm(model: Trainable) -> BLIP2LLM:
    """The same model, known to be a BLIP-2 that a language model writes for; else TypeError."""
    if not isinstance(model, BLIP2LLM):
        raise TypeError(f"this measurement needs a BLIP2LLM, not a {type(model).__name__}")
    return model
